"""The pages of sinks for a person who proved who they are: set up, refuse, try out. # SIEM-8"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crm_server.app import main
from crm_server.settings import Settings
from tests.conftest import close
from tests.integration.identity.conftest import World
from tests.integration.identity.test_identity_pages import Browser, csrf_of, form, having, log_in, new_browser


@pytest.fixture(scope="module")
def application(identity_settings: Settings) -> Iterator[object]:
    made = main(identity_settings)
    made.registry.identity.login._refusal_seconds = 0
    yield made
    close(made)


@pytest.fixture
def browser(application: object, world: World) -> Browser:
    made = new_browser(application)
    assert log_in(made, world.user("Audit administrator").login).status_int == 303
    return made


class TestSinks:
    def test_a_file_sink_is_set_up_tried_enabled_and_removed(self, browser: Browser) -> None:
        filled = having(browser.get("/audit-sinks/new"), "message_limit")
        filled["name"], filled["transport"], filled["format"] = "Archive", "file", "ocsf"
        filled["address"] = "../outside"
        refused = filled.submit(status=422)
        assert "A plain name" in refused.html.select_one("#address-error").get_text()
        filled = having(refused, "message_limit")
        filled["address"] = "pages.log"
        page = filled.submit(status=303).follow()
        tried = form(page, "/test").submit(status=200)
        assert '"metadata"' in tried.html.select_one("main pre").get_text()
        enabled = form(page, "/enable").submit(status=303).follow()
        assert "Not begun" in enabled.text
        assert "Archive" in browser.get("/audit-sinks").text
        moved = having(browser.get(enabled.request.path + "/edit"), "message_limit")
        moved["address"] = "elsewhere.log"
        assert "second person" in moved.submit(status=422).html.select_one("#address-error").get_text()
        stop = form(enabled, "/stop")
        assert "Give a reason" in stop.submit("act", value="remove", status=422).html.get_text()
        stop["reason"] = "The receiver is switched off for good"
        asked = stop.submit("act", value="remove", status=303)
        assert "/approvals/" in asked.location, "a second person has to say yes"
        assert "Archive" in browser.get("/audit-sinks").text

    def test_a_sink_that_is_not_enabled_is_removed_at_once(self, browser: Browser) -> None:
        filled = having(browser.get("/audit-sinks/new"), "message_limit")
        filled["name"], filled["transport"], filled["address"] = "Draft", "file", "draft.log"
        page = filled.submit(status=303).follow()
        form(page, "/stop").submit(status=303)
        assert "Draft" not in browser.get("/audit-sinks").text

    def test_a_milder_rule_is_asked_for(self, browser: Browser) -> None:
        rule = form(browser.get("/audit-alerts"), "/audit-alerts/mass_reads")
        rule["threshold"] = "90000"
        refused = rule.submit(status=422)
        assert "Give a reason" in refused.html.select_one("#mass_reads-reason-error").get_text()
        rule["reason"] = "A migration reads everything tonight"
        asked = rule.submit(status=303)
        assert "/approvals/" in asked.location
        assert "2,000 → 90000" in asked.follow().text or "2000 → 90000" in asked.follow().text
        assert 'value="2000"' in browser.get("/audit-alerts").text

    def test_a_rule_is_set_and_the_retention_is_asked_for(self, browser: Browser) -> None:
        page = browser.get("/audit-alerts")
        rule = form(page, "/audit-alerts/denials")
        rule["threshold"] = "0"
        assert "A whole number" in rule.submit(status=422).text
        rule["threshold"] = "7"
        assert 'value="7"' in rule.submit(status=303).follow().text
        page = browser.get("/audit-retention")
        kept = form(page, "/audit-retention/set")
        kept["read"] = "24"
        assert "Give a reason" in kept.submit(status=422).text
        kept["reason"] = "A shorter time was agreed with the works council"
        asked = kept.submit(status=303)
        assert "/approvals/" in asked.location, "a second person has to say yes"


class TestApi:
    def test_audit_administrators_alone_set_sinks_up_and_no_answer_holds_a_secret(
        self, application: object, world: World, browser: Browser
    ) -> None:
        token, base = csrf_of(browser.get("/audit-sinks/new")), "/api/v1/audit/sinks"
        body = {
            "name": "splunk",
            "transport": "hec",
            "address": "https://127.0.0.1:1/",
            "format": "ocsf",
            "token": "11111111-aaaa",
        }
        for role in ("Manager", "System administrator", "Security administrator"):
            other = new_browser(application)
            assert log_in(other, world.user(role).login).status_int == 303
            other.get(base, status=403)
        made = browser.post_json(base, body, headers=token, status=201)
        assert "11111111-aaaa" not in made.text
        assert made.json["has_secrets"] is True
        path = f"{base}/{made.json['id']}"
        changed = browser.patch_json(path, {"policy": "minimal", "enabled": True}, headers=token)
        assert (changed.json["policy"], changed.json["enabled"]) == ("minimal", True)
        for wrong in ({"policy": "everything"}, {"colour": "red"}, {"address": "https://127.0.0.1:2/"}):
            browser.patch_json(path, wrong, headers=token, status=422)
        tried = browser.post_json(f"{path}/test", {}, headers=token).json
        assert tried["taken"] is False
        assert "no connection" in tried["error"]
        refused = browser.delete(path, headers=token, status=403)
        assert refused.json["code"] == "approval_required"
        asked = {"act": "remove", "reason": "The collector is gone"}
        assert browser.post_json(f"{path}/release", asked, headers=token, status=201).json["id"]
        rule = browser.patch_json("/api/v1/audit/rules/honey", {"threshold": 1}, headers=token).json
        assert rule["threshold"] == 1
        browser.patch_json("/api/v1/audit/rules/honey", {"enabled": False}, headers=token, status=403)
