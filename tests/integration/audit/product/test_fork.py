"""A log that can't be continued gets a successor that says why, and never a silent one. # AUD-8"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from crm_server.kernel.ids import new_id
from tests.integration.api.conftest import Client
from tests.integration.audit.product.conftest import KONTOR, Site
from tests.integration.audit.product.test_trail import verify, work

NAME = "kontor/after-the-flood"


def fork(
    site: Site, *approvals: str, reason: str = "Restore of 2026-11-21, ticket 4711"
) -> subprocess.CompletedProcess[str]:
    words = [word for key in approvals for word in ("--approved-by", key)]
    command = [KONTOR, "audit", "fork", NAME, "--reason", reason, *words, "--json"]
    return subprocess.run(command, env=site.sealers, capture_output=True, text=True, check=False)


class TestFork:
    def test_after_a_loss_of_signed_leaves_the_new_log_explains_the_break(
        self, site: Site, login: Callable[..., Client], tmp_path: Path
    ) -> None:
        one, two = str(new_id()), str(new_id())
        sealer = site.start_sealer()
        work(login("Manager"))
        size = site.wait_until_sealed()
        assert fork(site, one, two).returncode == 1, "while a sealer runs nobody forks"
        sealer.terminate()
        sealer.wait(20)
        # The database is back at yesterday, and the mirror is gone but for the checkpoint.
        site.run(
            "delete from audit.leaf where index >= 3; update audit.log set size = 3, root = sha256('yesterday')"
        )
        shutil.rmtree(site.state / "audit" / "tile")
        assert site.start_sealer().wait(20) == 1
        assert "Nothing more is signed" in (site.state / "sealer.log").read_text()

        assert fork(site, one).returncode == 1
        assert fork(site, one, one).returncode == 1
        assert fork(site, one, two, reason=" ").returncode == 1
        done = fork(site, one, two)
        assert done.returncode == 0, done.stderr
        assert (Path(json.loads(done.stdout)["old_files"]) / "checkpoint").is_file()

        site.start_sealer(KONTOR_AUDIT_LOG_NAME=NAME)
        work(login("Manager"))
        site.wait_until_signed(NAME)
        assert site.kontor("audit", "export", "--out", str(tmp_path / "new")).returncode == 0
        checked = verify(tmp_path / "new")
        assert checked.returncode == 0, checked.stdout
        first = json.loads((tmp_path / "new" / "events.jsonl").read_text().splitlines()[0])
        assert first["action"] == "log_fork"
        assert first["meta"]["approvals"] == [one, two]
        assert f"\n{size}\n" in first["meta"]["previous_checkpoint"]
        assert "4711" in first["reason"]
