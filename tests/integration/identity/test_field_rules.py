"""Field rules by role hold in API, pages, search, export, import and change feed, custom fields included (AUTH-18)."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from webtest import TestApp

from crm_server.app import main
from crm_server.kernel import rowrules
from crm_server.permissions import Action
from crm_server.settings import Settings
from tests.conftest import close
from tests.integration.identity.conftest import World
from tests.integration.identity.test_identity_pages import csrf_of
from tests.integration.identity.test_roles import a_role, browser_of, give

pytestmark = pytest.mark.usefixtures("identity_search")

MAIL = "lena.lampe@example.com"
PHONE = "+49 30 901820123"
SIZE = "a secret of this person"
EVERY = tuple(f"crm:contact:{action}" for action in Action)


@pytest.fixture(scope="module")
def application(identity_settings: Settings) -> Iterator[object]:
    made = main(identity_settings)
    made.registry.identity.login._refusal_seconds = 0
    yield made
    close(made)


@pytest.fixture(scope="module")
def field(application: object, world: World) -> str:
    """A custom field of contacts with personal free text."""
    browser = browser_of(application, world.user("System administrator"))
    name = f"size_{uuid4().hex[:8]}"
    policy = {"handling": "person_note"}
    body = {"name": name, "label_en": "Size", "semantic": "text", "policy": policy}
    browser.post_json(
        "/api/v1/contacts/custom-fields", body, headers=csrf_of(browser.get("/profile/security")), status=201
    )
    return name


@pytest.fixture(scope="module")
def contact(application: object, world: World, field: str) -> str:
    browser = browser_of(application, world.user("Manager"))
    body = {
        "given_name": "Lena", "family_name": "Lampe", "email": MAIL, "phone": PHONE, "birth_date": "1980-02-03",
        "job_title": "Buyer", "custom": {field: SIZE},
    }  # fmt: skip
    made = browser.post_json("/api/v1/contacts", body, headers=csrf_of(browser.get("/profile/security")))
    return str(made.json["id"])


def somebody(application: object, world: World, personal: str) -> TestApp:
    """Somebody who may do everything with contacts and sees personal fields as far as said."""
    role = a_role(
        world,
        permissions=(*EVERY, "integration:changes:read"),
        fields={"general": "write", "personal": personal},
        scopes=rowrules.everything(),
    )
    user = world.user()
    give(world, user, role)
    return browser_of(application, user)


class TestMasked:
    @pytest.fixture
    def browser(self, application: object, world: World, contact: str) -> TestApp:
        return somebody(application, world, "masked")

    def test_the_api_masks_by_what_a_value_is(self, browser: TestApp, contact: str, field: str) -> None:
        row = browser.get(f"/api/v1/contacts/{contact}").json
        assert row["email"] == "l***@example.com"
        assert row["phone"] == "***23"
        assert row["family_name"] == "L***"
        assert row["birth_date"] == "1980-**-**"
        assert row["custom"][field] == "***"
        listed = browser.get("/api/v1/contacts?limit=200").json["data"]
        assert MAIL not in str(listed)
        assert SIZE not in str(listed)

    @pytest.mark.parametrize("path", ["/contacts", "/contacts/{key}", "/search?q=Lampe", "/contacts?q=Lampe"])
    def test_pages_show_no_more(self, browser: TestApp, contact: str, path: str) -> None:
        text = browser.get(path.format(key=contact)).text
        assert MAIL not in text
        assert SIZE not in text
        assert "901820" not in text

    def test_what_is_masked_is_neither_filtered_nor_sorted_nor_found_by(
        self, browser: TestApp, contact: str, field: str
    ) -> None:
        for query in (
            f"filter[email]={MAIL}", "sort=email", f"filter[custom.{field}][contains]=secret", "sort=family_name",
        ):  # fmt: skip
            browser.get(f"/api/v1/contacts?{query}", status=400)
        found = browser.get("/api/v1/contacts?q=Lampe", expect_errors=True)
        assert found.status_int != 200 or contact not in [row["id"] for row in found.json["data"]]

    def test_exports_mask_too(self, browser: TestApp, contact: str) -> None:
        body = browser.get("/api/v1/contacts/export?format=csv").body.decode()
        assert "l***@example.com" in body
        assert MAIL not in body
        assert SIZE not in body

    def test_what_is_masked_is_not_written(self, browser: TestApp, contact: str, field: str) -> None:
        token = csrf_of(browser.get("/profile/security")) | {"If-Match": '"1"'}
        for body in ({"email": "x@example.com"}, {"custom": {field: "x"}}):
            refused = browser.patch_json(f"/api/v1/contacts/{contact}", body, headers=token, status=422)
            assert refused.json["errors"][0]["code"] == "not_allowed"

    def test_no_import_writes_it(self, browser: TestApp, contact: str, field: str) -> None:
        token = csrf_of(browser.get("/profile/security"))
        made = browser.post(
            "/api/v1/imports?entity=contact&filename=x.csv",
            f"Job title,Mail,Size\nBuyer,a@example.com,{SIZE}\n".encode(),
            headers=token | {"Content-Type": "text/csv"},
            status=201,
        )
        mapping = dict(made.json["mapping"])
        offered = str(mapping)
        assert "email" not in [column.get("field") for column in mapping.get("columns", [])]
        assert f"custom.{field}" not in offered

    def test_the_change_feed_names_records_and_no_values(self, browser: TestApp, contact: str) -> None:
        feed = browser.get("/api/v1/changes?limit=500").json["data"]
        assert contact in [one["id"] for one in feed]
        assert all(set(one) == {"entity", "id", "operation", "version", "changed_at"} for one in feed)


class TestHidden:
    def test_what_is_hidden_is_nowhere(
        self, application: object, world: World, contact: str, field: str
    ) -> None:
        browser = somebody(application, world, "hidden")
        row = browser.get(f"/api/v1/contacts/{contact}").json
        assert "email" not in row
        assert field not in row.get("custom", {})
        assert "job_title" in row
        text = browser.get(f"/contacts/{contact}").text
        assert "example.com" not in text
        exported = browser.get("/api/v1/contacts/export?format=csv").body.decode()
        assert "example.com" not in exported
        browser.get("/api/v1/contacts?fields=email", status=400)
        (meta,) = [one for one in browser.get("/api/v1/meta").json["entities"] if one["name"] == "contact"]
        assert "email" not in [one["name"] for one in meta["fields"]]
        assert field not in [one["name"] for one in meta["custom_fields"]]


@pytest.fixture(scope="module")
def board(application: object, world: World) -> str:
    """The address of the board in the API, on which a deal of a telling amount lies."""
    browser = browser_of(application, world.user("Manager"))
    token = csrf_of(browser.get("/profile/security"))
    pipelines = browser.get("/api/v1/pipelines").json["data"]
    stages = browser.get("/api/v1/stages?limit=50").json["data"]
    stage = next(one for one in stages if one["pipeline_id"] == pipelines[0]["id"] and one["kind"] == "open")
    body = {
        "name": "Lighthouse", "amount": 7654321000, "currency": "EUR",
        "pipeline_id": pipelines[0]["id"], "stage_id": stage["id"],
    }  # fmt: skip
    browser.post_json("/api/v1/opportunities", body, headers=token, status=201)
    return f"/api/v1/pipelines/{pipelines[0]['id']}/board"


class TestFigures:
    """Sums over a field are as closed as the field."""

    @pytest.mark.parametrize("level,shown", [("read", True), ("masked", False), ("hidden", False)])
    def test_the_board_and_home_sum_what_may_be_read_alone(
        self, application: object, world: World, board: str, level: str, shown: bool
    ) -> None:
        role = a_role(
            world,
            permissions=tuple(f"crm:{name}:read" for name in ("opportunity", "stage", "pipeline")),
            fields={"general": "write", "financial": level},
            scopes=rowrules.everything(),
        )
        user = world.user()
        give(world, user, role)
        browser = browser_of(application, user)
        for path in ("/opportunities/board", "/opportunities", "/api/v1/opportunities", board):
            text = browser.get(path).text
            assert "Lighthouse" in text
            assert any(amount in text for amount in ("76,543,210", "7654321000")) is shown, path
        home = browser.get("/").text
        assert shown or "76,543" not in home
