"""Columns to fields: proposals, presets, and what a mapping makes of a row."""

from __future__ import annotations

import io
import time

import pytest

from compliance.datamap import DataMap
from crm_server.importing.detect import inspect_file
from crm_server.importing.errors import ImportFileError
from crm_server.importing.mapping import (
    Feed,
    ImportMapping,
    ReferenceText,
    check_mapping,
    compile_mapping,
    surveyed,
)
from crm_server.importing.presets import PRESETS, find_preset
from crm_server.importing.propose import propose_mapping
from crm_server.importing.readers import open_rows
from crm_server.importing.rows import SourceRow
from crm_server.importing.values.convert import Options, survey
from tests.data.importing import generate


def proposed(entities: DataMap, entity: str, text: str) -> dict[str, str]:
    file = io.BytesIO(text.encode())
    profile = inspect_file(file)
    mapping, _all = propose_mapping(entities[entity], profile.columns, open_rows(file, profile))
    return {feed.columns[0]: feed.field for feed in mapping.feeds}


class TestProposals:
    def test_german_headers(self, entities: DataMap) -> None:
        text = "Anrede;Vorname;Nachname;E-Mail-Adresse;Telefon;Handy;Firma;PLZ;Ort;Straße;Geburtsdatum;Bemerkung\n"
        text += "Frau;Anna;Weiß;a@example.de;030 123456;0151 1234567;Muster GmbH;10115;Berlin;Am Ring 1;1.2.1980;x\n"
        assert proposed(entities, "contact", text) == {
            "Anrede": "salutation", "Vorname": "given_name", "Nachname": "family_name", "E-Mail-Adresse": "email",
            "Telefon": "phone", "Handy": "mobile", "Firma": "account_id", "PLZ": "postal_code", "Ort": "city",
            "Straße": "street", "Geburtsdatum": "birth_date", "Bemerkung": "description",
        }  # fmt: skip

    def test_chinese_headers_with_one_column_for_the_whole_name(self, entities: DataMap) -> None:
        text = "姓名,手机,邮箱,公司,职位\n王伟,13800138000,w@example.cn,示例公司,经理\n"
        assert proposed(entities, "contact", text) == {
            "姓名": "@full_name", "手机": "mobile", "邮箱": "email", "公司": "account_id", "职位": "job_title",
        }  # fmt: skip

    def test_unclear_headers_are_helped_by_what_the_cells_hold(self, entities: DataMap) -> None:
        text = "Surname,Kontakt-Mail,x17\nSmith,s@example.com,foo\nJones,j@example.com,bar\n"
        found = proposed(entities, "contact", text)
        assert found["Kontakt-Mail"] == "email"
        assert "x17" not in found

    def test_cells_that_do_not_fit_veto_a_likely_name(self, entities: DataMap) -> None:
        text = "Last name,Phone notes\nSmith,prefers mornings\nJones,never\n"
        assert proposed(entities, "contact", text).get("Phone notes") != "phone"

    def test_accounts_and_opportunities(self, entities: DataMap) -> None:
        accounts = proposed(
            entities,
            "account",
            'Company,Industry,Employees,Annual revenue,City,VAT\nAcme,IT,50,"1,000,000",Bern,X1\n',
        )
        assert accounts == {
            "Company": "name", "Industry": "industry", "Employees": "employees", "Annual revenue": "annual_revenue",
            "City": "billing_city", "VAT": "tax_number",
        }  # fmt: skip
        deals = proposed(
            entities,
            "opportunity",
            "Deal,Customer Company,Value,Close date,Stage\nBig,Acme,1000,2026-03-01,New\n",
        )
        assert {
            "Deal": "name",
            "Value": "amount",
            "Close date": "close_date",
            "Stage": "stage_id",
        }.items() <= deals.items()


class TestPresets:
    @pytest.mark.parametrize(
        "header, name",
        [
            (generate.SALESFORCE_HEADER, "salesforce-contacts"),
            (generate.HUBSPOT_HEADER, "hubspot-contacts"),
            (generate.ZOHO_HEADER, "zoho-contacts"),
            (generate.DYNAMICS_HEADER, "dynamics-contacts"),
            (
                ["Id", "IsDeleted", "AccountId", "LastName", "FirstName", "MailingPostalCode"],
                "salesforce-contacts",
            ),
            (["Record ID", "Company name", "Company owner", "Website URL"], "hubspot-companies"),
            (["Record ID", "Deal Name", "Deal Stage", "Amount", "Close Date"], "hubspot-deals"),
            (["Record Id", "Account Name", "Account Owner.id", "Billing Code"], "zoho-accounts"),
            (["Record Id", "Deal Owner.id", "Deal Name", "Stage", "Closing Date"], "zoho-deals"),
            (
                ["(Do Not Modify) Account", "(Do Not Modify) Row Checksum", "Account Name", "Main Phone"],
                "dynamics-accounts",
            ),
            (
                ["(Do Not Modify) Opportunity", "(Do Not Modify) Row Checksum", "Topic", "Est. Revenue"],
                "dynamics-opportunities",
            ),
            (["Account Name", "Billing Zip/Postal Code", "Type"], "salesforce-accounts"),
            (["Opportunity Name", "Stage", "Close Date", "Amount"], "salesforce-opportunities"),
        ],
    )
    def test_are_recognised_by_their_headers(self, header: list[str], name: str) -> None:
        preset = find_preset(header)
        assert preset is not None
        assert preset.name == name

    def test_a_homemade_list_is_nobodys_export(self) -> None:
        assert find_preset(["First Name", "Last Name", "Email", "Company"]) is None

    @pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
    def test_name_only_fields_that_exist_and_may_be_written(self, preset: object, entities: DataMap) -> None:
        entity = entities[preset.entity]  # type: ignore[attr-defined]
        headers = [names[0] for names in preset.fields.values()]  # type: ignore[attr-defined]
        mapping = preset.mapping(headers, entity)  # type: ignore[attr-defined]
        assert [
            problem
            for problem in check_mapping(mapping, entity, headers)
            if problem.code != "mapping.required"
        ] == []
        unknown = [name for name in preset.fields if name not in entity.fields and not name.startswith("@")]  # type: ignore[attr-defined]
        assert unknown == []


class TestRealFiles:
    @pytest.mark.parametrize(
        "make, country, preset, encoding",
        [
            (generate.salesforce_contacts, "US", "salesforce-contacts", "cp1252"),
            (generate.hubspot_contacts, "DE", "hubspot-contacts", "utf-8-sig"),
            (generate.zoho_contacts, "CN", "zoho-contacts", "gb18030"),
            (generate.dynamics_contacts, "US", "dynamics-contacts", "utf-8"),
        ],
    )
    def test_of_ten_thousand_rows_give_exactly_the_errors_that_were_put_in(
        self, make: object, country: str, preset: str, encoding: str, entities: DataMap
    ) -> None:
        data, expected = make()  # type: ignore[operator]
        file, entity = io.BytesIO(data), entities["contact"]
        started = time.perf_counter()
        profile = inspect_file(file)
        assert profile.encoding == encoding
        mapping, _all = propose_mapping(entity, profile.columns, (), options=Options(country=country))
        assert mapping.preset == preset
        assert check_mapping(mapping, entity, profile.columns) == []
        read = compile_mapping(
            mapping, entity, survey(open_rows(file, profile), surveyed(mapping, entity), mapping.options)
        )
        bad = set()
        count = 0
        for count, row in enumerate(open_rows(file, profile), start=1):
            values, problems = read(row)
            if (
                row.problem
                or any(not problem.warning for problem in problems)
                or not values.get("family_name")
            ):
                bad.add(count - 1)
        assert count == expected.rows
        assert bad == expected.bad_rows
        # Ten seconds are fifty times what it takes on an idle machine of one's own; a slip to quadratic time
        # shows.
        assert time.perf_counter() - started < 30

    def test_names_are_chinese_where_they_were_written_so(self, entities: DataMap) -> None:
        data, _expected = generate.zoho_contacts(rows=50)
        file = io.BytesIO(data)
        profile = inspect_file(file)
        assert all("一" <= (row.values["Last Name"] or "一")[0] <= "鿿" for row in open_rows(file, profile))


class TestRows:
    def read(
        self, entities: DataMap, mapping: ImportMapping, **cells: str | None
    ) -> tuple[dict[str, object], list[str]]:
        reader = compile_mapping(mapping, entities[mapping.entity], {})
        values, problems = reader(SourceRow(2, cells))
        return values, [f"{problem.field} {problem.code}" for problem in problems]

    def test_several_columns_feed_one_field_and_constants_fill_gaps(self, entities: DataMap) -> None:
        mapping = ImportMapping(
            "contact",
            (
                Feed("street", ("a", "b"), separator=", "),
                Feed("phone", ("p", "q"), combine="first"),
                Feed("source", (), constant="event"),
                Feed("city", ("c",), constant="Bern"),
                Feed("account_id", ("firm",), missing="create"),
            ),
            options=Options(country="DE"),
        )
        values, problems = self.read(
            entities, mapping, a="Main 1", b="Floor 3", p=None, q="030 123456", c=None, firm=" Acme  Inc "
        )
        assert problems == []
        assert values == {
            "street": "Main 1, Floor 3", "phone": "+4930123456", "source": "event", "city": "Bern",
            "account_id": ReferenceText("Acme Inc", "name", "create"),
        }  # fmt: skip

    def test_values_can_be_replaced_before_they_are_read(self, entities: DataMap) -> None:
        mapping = ImportMapping("account", (Feed("grade", ("g",), values={"Kalt": "c"}),))
        assert self.read(entities, mapping, g="Kalt") == ({"grade": "c"}, [])

    def test_all_problems_of_a_row_are_told_at_once(self, entities: DataMap) -> None:
        mapping = ImportMapping(
            "contact", (Feed("email", ("m",)), Feed("country", ("c",)), Feed("city", ("t",)))
        )
        assert self.read(entities, mapping, m="x", c="y", t="Bern") == (
            {"city": "Bern"},
            ["email email.invalid", "country country.unknown"],
        )

    @pytest.mark.parametrize("blank, values", [("keep", {}), ("clear", {"city": None})])
    def test_blank_cells_keep_or_clear_what_is_there(
        self, blank: str, values: dict[str, object], entities: DataMap
    ) -> None:
        mapping = ImportMapping("contact", (Feed("city", ("t",)),), blank=blank)  # type: ignore[arg-type]
        assert self.read(entities, mapping, t=None) == (values, [])

    def test_a_mapping_survives_storage_and_nonsense_is_refused(self, entities: DataMap) -> None:
        mapping = ImportMapping(
            "contact",
            (Feed("email", ("m",), values={"a": "b"}),),
            key=("email",),
            options=Options(country="CN"),
        )
        assert ImportMapping.from_json(mapping.to_json()) == mapping

    @pytest.mark.parametrize(
        "nonsense",
        [
            {},
            {"feeds": 3},
            {"feeds": [{"field": 5}]},
            {"feeds": [{"columns": ["a"]}]},
            {"feeds": [], "key": "email"},
            {"feeds": [], "duplicates": "explode"},
            {"feeds": [{"field": "email", "values": "x"}]},
            {"feeds": [{"field": "email", "missing": "invent"}]},
            {"feeds": [], "options": {"zone": "Nowhere/At all"}},
            {"feeds": [], "options": {"zone": "../../etc/passwd"}},
            {"feeds": [{"field": "email"}] * 501},
        ],
    )
    def test_a_mapping_that_makes_no_sense_is_refused_as_such(self, nonsense: dict[str, object]) -> None:
        with pytest.raises(ImportFileError) as caught:
            ImportMapping.from_json({"entity": "contact", **nonsense})
        assert caught.value.code == "mapping.invalid"

    @pytest.mark.parametrize(
        "options, code",
        [
            ({"country": "Germany"}, "mapping.country"),
            ({"country": "ZZ"}, "mapping.country"),
            ({"currency": "XQQ"}, "mapping.currency"),
        ],
    )
    def test_a_country_or_currency_that_there_is_not_is_named(
        self, options: dict[str, str], code: str
    ) -> None:
        with pytest.raises(ImportFileError) as caught:
            ImportMapping.from_json({"entity": "contact", "feeds": [], "options": options})
        assert caught.value.code == code

    def test_mistakes_in_a_mapping_are_found_before_the_first_row(self, entities: DataMap) -> None:
        mapping = ImportMapping(
            "contact",
            (
                Feed("email", ("gone",)),
                Feed("email", ("m",)),
                Feed("nonsense", ("m",)),
                Feed("version", ("m",)),
            ),
            key=("external_id",),
        )
        codes = sorted(problem.code for problem in check_mapping(mapping, entities["contact"], ["m"]))
        assert codes == [
            "mapping.key",
            "mapping.twice",
            "mapping.unknown_column",
            "mapping.unknown_field",
            "mapping.unknown_field",
        ]
        empty = ImportMapping("contact", (Feed("email", ("m",)),))
        assert [problem.field for problem in check_mapping(empty, entities["contact"], ["m"])] == [
            "family_name"
        ]
