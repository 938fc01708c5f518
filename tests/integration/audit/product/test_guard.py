"""Privileged acts are closed while the log can't prove them. # AUD-12"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crm_server.app import main
from crm_server.domain.audit import guard
from crm_server.domain.audit.guard import AuditState, AuditStopped
from crm_server.settings import load
from tests.conftest import close
from tests.integration.api.conftest import Client
from tests.integration.audit.product.conftest import Site
from tests.integration.audit.product.test_trail import work

OLD_EVENT = (
    "insert into audit.event (event_id, occurred_at, event_class, action, outcome, actor_ref, origin) "
    "values (kontor.uuid7(), now() - interval '2 minutes', 'x', 'x', 'success', gen_random_uuid(), 'web')"
)


@pytest.fixture
def registry(site: Site) -> Iterator[Any]:
    made = main(load({name: text for name, text in site.environment.items() if name.startswith("KONTOR_")}))
    yield made.registry
    close(made)


class TestGuard:
    def test_it_closes_when_events_wait_for_their_seal_and_opens_when_they_have_it(
        self, site: Site, registry: Any, login: Callable[..., Client]
    ) -> None:
        registry.audit_guard.require()  # Before the sealer's first start nothing is closed.
        sealer = site.start_sealer()
        work(login("Manager"))
        site.wait_until_sealed()
        sealer.terminate()
        sealer.wait(90)
        registry.audit_guard.forget()
        registry.audit_guard.require()
        site.run(OLD_EVENT)
        registry.audit_guard.forget()
        with pytest.raises(AuditStopped) as refused:
            registry.audit_guard.require()
        assert refused.value.status == 503
        assert registry.audit_guard.state().reason == "lag"
        told = json.loads(site.kontor("doctor", "--json").stdout)["findings"]
        assert {"level": "error", "check": "guard"}.items() <= next(
            item for item in told if item["check"] == "guard"
        ).items()
        site.start_sealer()
        site.wait_until_sealed()
        registry.audit_guard.forget()
        registry.audit_guard.require()

    def test_it_closes_when_the_space_for_the_log_ends(
        self, site: Site, registry: Any, login: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.start_sealer()
        work(login("Manager"))
        site.wait_until_sealed()
        monkeypatch.setattr(guard, "free_part", lambda _folder: 0.04)
        registry.audit_guard.forget()
        assert registry.audit_guard.state().reason == "space"

    def test_it_closes_when_the_log_cannot_be_read(self, site: Site, registry: Any) -> None:
        site.run("revoke select on audit.log from kontor_app")
        with pytest.raises(AuditStopped):
            registry.audit_guard.require()
        assert registry.audit_guard.state().reason == "unknown"


@pytest.mark.parametrize(
    "state, reason",
    [
        (AuditState(0.0, 0.5), None),
        (AuditState(30.0, 0.05), None),
        (AuditState(30.1, 0.5), "lag"),
        (AuditState(0.0, 0.049), "space"),
        (AuditState(0.0, None), None),
        (AuditState(None, 0.5), "unknown"),
        (AuditState(9999.0, None, sealed=False), None),
    ],
)
def test_the_limits(state: AuditState, reason: str | None) -> None:
    assert state.reason == reason
