"""A log that can't be continued gets a successor that says why, and never a silent one. # AUD-8"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from sqlalchemy import create_engine

from crm_server.domain.approvals.services import ApprovalService
from crm_server.kernel import db
from crm_server.kernel.actor import Actor, Origin
from crm_server.migrations import manage
from crm_server.permissions import Permission
from tests.integration.api.conftest import Client
from tests.integration.audit.product.conftest import KONTOR, Site
from tests.integration.audit.product.test_trail import verify, work

NAME = "kontor/after-the-flood"
REASON = "Restore of 2026-11-21, ticket 4711"


def ask(site: Site, reason: str) -> str:
    done = site.kontor("audit", "fork", NAME, "--reason", reason, "--json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["asked"])


def fork(site: Site, release: str) -> subprocess.CompletedProcess[str]:
    command = [KONTOR, "audit", "fork", NAME, "--release", release, "--json"]
    return subprocess.run(command, env=site.sealers, capture_output=True, text=True, check=False)


@contextmanager
def releasing(site: Site) -> Iterator[Callable[[UUID, str], None]]:
    """`release(person, request)`: somebody who may says yes."""
    engine = create_engine(site.cluster.url_for(manage.APP, site.name))
    factory = db.session_factory(engine)

    def release(person: UUID, request: str) -> None:
        actor = Actor(person, "Auditor", Origin.WEB, permissions=frozenset({str(Permission.AUDIT_RELEASE)}))
        with db.open_session(factory, actor) as session:
            ApprovalService(session).release(UUID(request))
            session.commit()

    yield release
    engine.dispose()


class TestFork:
    def test_after_a_loss_of_signed_leaves_the_new_log_explains_the_break(
        self, site: Site, login: Callable[..., Client], tmp_path: Path
    ) -> None:
        one, two = (login("Audit administrator").user_id for _ in range(2))
        sealer = site.start_sealer()
        work(login("Manager"))
        request = ask(site, REASON)
        size = site.wait_until_sealed()
        sealer.terminate()
        sealer.wait(90)
        # The database is back at yesterday, and the mirror is gone but for the checkpoint.
        site.run(
            "delete from audit.leaf where index >= 3; update audit.log set size = 3, root = sha256('yesterday')"
        )
        shutil.rmtree(site.state / "audit" / "tile")
        assert site.start_sealer().wait(60) == 1
        assert "Nothing more is signed" in (site.state / "sealer.log").read_text()

        with releasing(site) as release:
            release(one, request)
            assert fork(site, request).returncode == 1, "one person is not enough"
            release(two, request)
        done = fork(site, request)
        assert done.returncode == 0, done.stderr
        assert fork(site, request).returncode == 1, "a release is for the log that was open then"
        assert (Path(json.loads(done.stdout)["old_files"]) / "checkpoint").is_file()

        site.start_sealer(KONTOR_AUDIT_LOG_NAME=NAME)
        work(login("Manager"))
        site.wait_until_signed(NAME)
        assert site.kontor("audit", "export", "--out", str(tmp_path / "new")).returncode == 0
        checked = verify(tmp_path / "new")
        assert checked.returncode == 0, checked.stdout
        first = json.loads((tmp_path / "new" / "events.jsonl").read_text().splitlines()[0])
        assert first["action"] == "log_fork"
        assert first["meta"]["approvals"] == [str(one), str(two)]
        assert first["meta"]["release"]["request"] == request
        assert f"\n{size}\n" in first["meta"]["previous_checkpoint"]
        assert first["reason"] == REASON
