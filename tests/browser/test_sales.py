"""Converting leads and moving deals: by mouse, by touch, and by keyboard."""

from __future__ import annotations

import re
from uuid import uuid4

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Opener, lying_still
from tests.browser.test_records import save


def new_deal(page: Page, name: str) -> None:
    page.goto("/opportunities/new")
    page.fill("#f-name", name)
    page.select_option("#f-stage_id", index=1)
    save(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def column(page: Page, name: str) -> Locator:
    return page.locator("[data-stage]", has=page.get_by_role("heading", name=name, exact=True))


def drag(page: Page, card: Locator, goal: Locator) -> None:
    start = lying_still(card)
    target = goal.bounding_box()
    assert target
    page.mouse.move(start["x"] + 20, start["y"] + start["height"] - 8)
    page.mouse.down()
    page.mouse.move(start["x"] + 60, start["y"] + 40, steps=4)
    expect(page.locator(".k-ghost")).to_be_visible()
    # Columns are as high as the highest: beside the card is its column, wherever the page has scrolled to.
    page.mouse.move(target["x"] + target["width"] / 2, start["y"] + start["height"] / 2, steps=8)
    page.mouse.up()
    expect(page.locator(".k-toast")).to_contain_text("Moved to another stage")


class TestSales:
    def test_a_lead_becomes_an_account_a_contact_and_a_deal(self, open_as: Opener) -> None:
        page = open_as("sales1", "/leads/new")
        name = f"Convert{uuid4().hex[:6]}"
        page.fill("#f-given_name", "Carla")
        page.fill("#f-family_name", name)
        page.fill("#f-company", f"{name} AG")
        save(page)
        page.get_by_role("link", name="Convert").click()
        page.fill("#f-name", f"{name} first order")
        page.fill("#f-amount", "5,000")
        page.locator(".k-form-bar button[type=submit]").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"{name} first order")
        expect(page.locator("main")).to_contain_text("€5,000.00")
        page.locator("main dl").get_by_role("link", name=f"{name} AG").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"{name} AG")
        expect(page.locator("#related-contact")).to_contain_text(f"Carla {name}")

    def test_a_deal_is_dragged_to_another_stage_by_mouse(self, open_as: Opener) -> None:
        page = open_as("sales1")
        name = f"Dragged {uuid4().hex[:6]}"
        new_deal(page, name)
        page.goto("/opportunities/board?owner=me")
        card = page.locator("[data-deal]", has_text=name)
        drag(page, card, column(page, "Qualification"))
        expect(column(page, "Qualification")).to_contain_text(name)

    def test_a_deal_is_moved_by_keyboard_through_the_menu_of_its_card(self, open_as: Opener) -> None:
        page = open_as("sales1")
        name = f"By keys {uuid4().hex[:6]}"
        new_deal(page, name)
        page.goto("/opportunities/board?owner=me")
        page.get_by_role("button", name=f"Move: {name}").focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Proposal").locator("visible=true").focus()
        page.keyboard.press("Enter")
        expect(column(page, "Proposal")).to_contain_text(name)

    def test_a_deal_is_dragged_by_touch_after_a_short_press(self, open_as: Opener) -> None:
        page = open_as("sales1", width=390)
        name = f"Touched {uuid4().hex[:6]}"
        new_deal(page, name)
        page.goto("/opportunities/board?owner=me")
        card = page.locator("[data-deal]", has_text=name)
        start = lying_still(card)
        target = column(page, "Qualification").bounding_box()
        assert target
        touch = page.context.new_cdp_session(page)
        x, y = start["x"] + 30, start["y"] + start["height"] - 8
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        expect(page.locator(".k-ghost")).to_be_visible()
        goal = min(target["x"] + 40, 380)
        for step in range(1, 9):
            point = {"x": x + (goal - x) * step / 8, "y": y}
            touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect(page.locator(".k-toast")).to_contain_text("Moved to another stage")

    def test_a_lost_deal_asks_why(self, open_as: Opener) -> None:
        page = open_as("sales1")
        new_deal(page, f"Lost {uuid4().hex[:6]}")
        page.locator(".k-stages").get_by_role("button", name="Lost").click()
        expect(page).to_have_url(re.compile("/move"))
        page.select_option("#f-lost_reason", "price")
        page.locator(".k-form-bar button[type=submit]").click()
        expect(page.locator(".k-stages [aria-current=step]")).to_have_text(re.compile("Lost"))
        expect(page.locator("main")).to_contain_text("Price")

    def test_a_task_is_ticked_off_at_home(self, open_as: Opener) -> None:
        page = open_as("sales1", "/activities/new?kind=task&back=/")
        title = f"Tick {uuid4().hex[:6]}"
        page.fill("#f-title", title)
        page.fill("#f-due_at", "2020-01-02T09:30")
        save(page)
        page.get_by_role("button", name=f"Done: {title}").click()
        expect(page.locator(".k-toast")).to_contain_text("Done")
        expect(page.locator("main")).not_to_contain_text(title)
