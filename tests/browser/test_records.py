"""Working with records in a browser: the path of a person through the pages."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener

SAVE = "main form button[type=submit] >> text=Save"


def first_row(page: Page, collection: str) -> str:
    page.goto(f"/{collection}")
    return page.locator("td.k-title-cell a").first.get_attribute("href") or ""


def save(page: Page) -> None:
    page.locator(".k-form-bar button[type=submit]").click()


class TestRecords:
    def test_nobody_sees_a_page_before_logging_in_and_comes_back_to_it_afterwards(
        self, open_as: Opener, site
    ) -> None:
        page = open_as("", "/contacts?q=a")
        expect(page).to_have_url(re.compile(r"/login\?next="))
        page.fill("#login", "sales1")
        page.fill("#password", site.password)
        page.click("main button[type=submit]")
        expect(page).to_have_url(re.compile(r"/contacts\?q=a$"))

    def test_a_contact_is_created_found_changed_deleted_and_restored(self, open_as: Opener) -> None:
        page = open_as("sales1", "/contacts/new")
        page.fill("#f-given_name", "Ottilie")
        page.fill("#f-family_name", "Browsertest")
        page.fill("#f-email", "ottilie@browser.example")
        save(page)
        expect(page.get_by_role("heading", level=1)).to_have_text("Ottilie Browsertest")
        expect(page.locator(".k-toast")).to_contain_text("Created")
        page.fill("#search", "ottilie@browser.example")
        page.press("#search", "Enter")
        page.click("main >> text=Ottilie Browsertest")
        page.click("text=Edit")
        page.fill("#f-job_title", "Head of Tests")
        save(page)
        expect(page.locator(".k-toast")).to_contain_text("Saved")
        expect(page.locator("main")).to_contain_text("Head of Tests")
        page.get_by_role("button", name="Delete").click()
        expect(page.locator(".k-toast")).to_contain_text("Moved to the bin")
        page.locator(".k-toast").get_by_role("button", name="Undo").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Ottilie Browsertest")
        page.get_by_role("button", name="Delete").click()
        expect(page.locator(".k-toast")).to_contain_text("Moved to the bin")
        page.goto("/bin?kind=contact")
        page.locator("tr", has_text="Ottilie Browsertest").get_by_role("button", name="Restore").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Ottilie Browsertest")

    def test_a_form_with_mistakes_comes_back_with_everything_that_was_typed(self, open_as: Opener) -> None:
        page = open_as("sales1", "/contacts/new")
        page.fill("#f-given_name", "Nothing lost")
        page.fill("#f-email", "this is no address")
        page.fill("#f-description", "Two\nlines")
        save(page)
        expect(page.locator("#problems")).to_be_visible()
        expect(page.locator("#f-family_name-error")).to_be_visible()
        expect(page.locator("#f-email-error")).to_contain_text("e-mail address")
        expect(page.locator("#f-given_name")).to_have_value("Nothing lost")
        expect(page.locator("#f-email")).to_have_value("this is no address")
        expect(page.locator("#f-description")).to_have_value("Two\nlines")
        expect(page.locator("#f-email")).to_have_attribute("aria-invalid", "true")

    def test_a_reference_is_chosen_by_typing_and_by_keyboard_alone(self, open_as: Opener) -> None:
        page = open_as("sales1", "/accounts")
        name = page.locator("td.k-title-cell a").first.inner_text()
        page.goto("/contacts/new")
        page.fill("#f-family_name", "Picker")
        page.locator("#f-account_id").press_sequentially(name[:12])
        expect(page.locator("#f-account_id-list [role=option]").first).to_be_visible()
        option = page.locator("#f-account_id-list [role=option]").first
        chosen = option.get_attribute("data-name") or ""
        page.press("#f-account_id", "Enter")
        expect(page.locator("#f-account_id")).to_have_value(chosen)
        save(page)
        expect(page.locator("main dl").get_by_role("link", name=chosen)).to_be_visible()

    def test_two_windows_change_one_record_and_nothing_is_lost(self, open_as: Opener) -> None:
        one = open_as("sales1")
        path = first_row(one, "accounts")
        one.goto(f"{path}/edit")
        two = open_as("sales2", f"{path}/edit")
        two.fill("#f-tax_number", "THEIRS-1")
        two.fill("#f-employees", "1,234")
        save(two)
        expect(two.locator("main")).to_contain_text("1,234")
        one.fill("#f-tax_number", "MINE-1")
        one.fill("#f-legal_name", "Mine Ltd")
        save(one)
        expect(one.get_by_role("heading", level=1)).to_contain_text("Two changes")
        table = one.locator(".k-conflict")
        expect(table.locator("tr", has_text="Tax number")).to_contain_text("THEIRS-1")
        expect(table.locator("tr", has_text="Tax number")).to_contain_text("MINE-1")
        expect(table.locator("tr", has_text="Tax number")).to_contain_text("changed by both")
        table.locator("input[name='choice.tax_number'][value=theirs]").check()
        one.locator(".k-form-bar button[type=submit]").click()
        expect(one.locator("main")).to_contain_text("Mine Ltd")
        expect(one.locator("main")).to_contain_text("THEIRS-1")
        expect(one.locator("main")).to_contain_text("1,234")

    def test_money_is_typed_and_shown_in_the_custom_of_the_language(self, open_as: Opener) -> None:
        page = open_as("sales1", "/opportunities/new")
        page.fill("#f-name", "Money test")
        page.fill("#f-amount", "12,345.6")
        page.select_option("#f-stage_id", index=1)
        save(page)
        expect(page.locator("main")).to_contain_text("€12,345.60")
        page.click("text=Edit")
        expect(page.locator("#f-amount")).to_have_value("12,345.60")
        page.fill("#f-amount", "12,345.678")
        save(page)
        expect(page.locator("#f-amount-error")).to_be_visible()
        expect(page.locator("#f-amount")).to_have_value("12,345.678")

    def test_leaving_a_changed_form_asks_first(self, open_as: Opener) -> None:
        page = open_as("sales1", "/contacts/new")
        asked: list[str] = []
        page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
        page.fill("#f-family_name", "Unsaved")
        with page.expect_event("dialog"):
            page.locator("#sidebar").get_by_role("link", name="Accounts").click()
        assert asked == ["beforeunload"]
        expect(page.locator("#f-family_name")).to_have_value("Unsaved")


class TestLists:
    def test_a_filter_is_built_shown_as_a_chip_saved_as_a_view_and_removed(self, open_as: Opener) -> None:
        page = open_as("sales1", "/accounts")
        page.get_by_role("button", name="Filter").click()
        page.select_option("#ff", "kind")
        page.locator("select#f-fv").select_option("customer")
        page.locator("#filter-dialog").get_by_role("button", name="Apply").click()
        expect(page.locator(".k-chip")).to_contain_text("Kind is Customer")
        page.wait_for_load_state()
        badges = page.locator("tbody .k-badge-green", has_text="Customer")
        assert badges.count() == page.locator("tbody tr").count() > 0
        page.get_by_role("button", name="Views").click()
        page.fill("#view-name", "Only customers")
        page.locator("#view-dialog").get_by_role("button", name="Save").click()
        expect(page.locator(".k-tabs a[aria-current=page]")).to_have_text("Only customers")
        page.locator(".k-chip a").first.click()
        expect(page.locator(".k-chip")).to_have_count(0)
        page.get_by_role("button", name="Views").click()
        page.get_by_role("button", name="Delete the view: Only customers").click()
        expect(page.locator(".k-toast")).to_contain_text("The view was deleted")

    def test_sorting_and_paging_lead_through_the_whole_list(self, open_as: Opener) -> None:
        page = open_as("sales1", "/contacts")
        page.locator("th").get_by_role("link", name="Name").click()
        expect(page.locator("th[aria-sort=ascending]")).to_have_count(1)
        first = page.locator("td.k-title-cell a").first.inner_text()
        page.get_by_role("link", name="Next").click()
        expect(page.locator("td.k-title-cell a").first).not_to_have_text(first)
        page.get_by_role("link", name="Previous").click()
        expect(page.locator("td.k-title-cell a").first).to_have_text(first)

    def test_rows_are_chosen_and_deleted_together(self, open_as: Opener) -> None:
        page = open_as("manager", "/products/new")
        for number in (1, 2):
            page.goto("/products/new")
            page.fill("#f-name", f"Bulk test {number}")
            save(page)
            expect(page.get_by_role("heading", level=1)).to_have_text(f"Bulk test {number}")
        page.goto("/products?q=Bulk%20test")
        page.get_by_role("checkbox", name="Choose all rows").check()
        expect(page.locator(".k-bulk")).to_contain_text("2 chosen")
        page.locator(".k-bulk").get_by_role("button", name="Delete").click()
        expect(page.locator(".k-toast")).to_contain_text("2 records moved to the bin")

    def test_columns_are_chosen(self, open_as: Opener) -> None:
        page = open_as("sales1", "/accounts")
        page.get_by_role("button", name="Columns").click()
        page.locator("#columns-dialog").get_by_label("Website").check()
        page.locator("#columns-dialog").get_by_role("button", name="Apply").click()
        expect(page.locator("th", has_text="Website")).to_have_count(1)


class TestParts:
    def test_a_call_is_noted_tagged_and_a_file_added_and_taken_back(self, open_as: Opener, tmp_path) -> None:
        page = open_as("sales1")
        path = first_row(page, "contacts")
        page.goto(path)
        page.locator("#timeline").get_by_label("Kind").select_option("call")
        page.locator("#timeline").get_by_label("Subject").fill("Rang twice")
        page.locator("#timeline").get_by_role("button", name="Add").click()
        expect(page.locator("#timeline .k-timeline")).to_contain_text("Rang twice")
        page.get_by_label("Add a tag").fill("Browser tag")
        page.get_by_label("Add a tag").press("Enter")
        expect(page.locator(".k-tagrow")).to_contain_text("Browser tag")
        page.get_by_role("button", name="Remove the tag: Browser tag").click()
        expect(page.locator(".k-tagrow")).not_to_contain_text("Browser tag")
        note = tmp_path / "Angebot 报价.txt"
        note.write_text("Only text.\n", encoding="utf-8")
        page.locator("#files input[type=file]").set_input_files(note)
        page.locator("#files").get_by_role("button", name="Add").click()
        expect(page.locator("#files")).to_contain_text("Angebot 报价.txt")
        with page.expect_download() as loading:
            page.locator("#files").get_by_role("link", name="Angebot 报价.txt").click()
        assert loading.value.path().read_text(encoding="utf-8") == "Only text.\n"
        page.get_by_role("button", name="Remove: Angebot 报价.txt").click()
        expect(page.locator("#files")).not_to_contain_text("Angebot")

    def test_products_are_added_to_a_deal_and_its_amount_follows(self, open_as: Opener) -> None:
        page = open_as("sales1", "/opportunities/new")
        page.fill("#f-name", "With lines")
        page.select_option("#f-stage_id", index=1)
        save(page)
        page.locator("#line-product").press_sequentially("a")
        expect(page.locator("#line-product-list [role=option]").first).to_be_visible()
        page.press("#line-product", "Enter")
        page.fill("#line-quantity", "2.5")
        page.fill("#line-price", "100")
        page.locator("#lines").get_by_role("button", name="Add").click()
        expect(page.locator("#lines tfoot")).to_contain_text("€250.00")
        page.locator("#lines").get_by_role("link", name=re.compile("^Edit")).click()
        expect(page.locator("#f-quantity_milli")).to_have_value("2.5")
        page.fill("#f-discount_percent", "10")
        save(page)
        expect(page.locator("#lines tfoot")).to_contain_text("€225.00")

    def test_a_case_gets_a_comment(self, open_as: Opener) -> None:
        page = open_as("service1")
        page.goto(first_row(page, "cases"))
        page.fill("#comment-body", "We are looking into it.\nTomorrow more.")
        page.locator("#comments").get_by_role("button", name="Comment").click()
        expect(page.locator("#comments")).to_contain_text("We are looking into it.")
        expect(page.locator("#comments")).to_contain_text("Internal")
