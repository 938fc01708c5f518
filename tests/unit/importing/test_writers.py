"""Lists on their way out are safe to open and come back unchanged."""

from __future__ import annotations

import csv
import datetime as dt
import io

import pytest
from python_calamine import CalamineWorkbook

from crm_server.importing.writers.csv_writer import harmless, write_csv
from crm_server.importing.writers.xlsx_writer import write_xlsx


class TestFormulas:
    @pytest.mark.parametrize(
        "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3+cmd", "@SUM(A1)", "\t=1", "\r=1", "＝1+1"]
    )
    def test_are_made_harmless(self, text: str) -> None:
        assert harmless(text) == f"'{text}"

    @pytest.mark.parametrize("text", ["+4930123456", "-12.50", "Ann", "a=b", "", "+49 30 1"])
    def test_numbers_phones_and_words_stay_as_they_are(self, text: str) -> None:
        assert harmless(text) == text


class TestCsv:
    def test_follows_rfc_4180_and_begins_with_the_mark_that_excel_needs(self) -> None:
        rows = [
            [
                "Smith, Ann",
                'say "hi"\nnow',
                None,
                3,
                True,
                dt.date(2026, 3, 4),
                dt.datetime(2026, 3, 4, 5, 6, tzinfo=dt.UTC),
            ]
        ]
        data = b"".join(write_csv(["a", "b", "c", "d", "e", "f", "=g"], rows))
        assert data.startswith(b"\xef\xbb\xbfa,b,c,d,e,f,'=g\r\n")
        (_header, row) = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        assert row == [
            "Smith, Ann",
            'say "hi"\nnow',
            "",
            "3",
            "true",
            "2026-03-04",
            "2026-03-04T05:06:00+00:00",
        ]

    def test_is_written_in_blocks(self) -> None:
        blocks = list(write_csv(["a"], ([f"row {n}"] for n in range(50_000))))
        assert len(blocks) > 5
        assert max(map(len, blocks)) < 80_000


class TestXlsx:
    def test_keeps_types_and_never_writes_a_formula(self) -> None:
        file = io.BytesIO()
        rows = [["王伟", dt.date(2026, 3, 4), 12.5, True, "=1+1", "007"]]
        assert write_xlsx(file, "Contacts: all?", ["a", "b", "c", "d", "e", "f"], rows) == 1
        file.seek(0)
        sheet = CalamineWorkbook.from_filelike(file).get_sheet_by_index(0)
        assert sheet.name == "Contacts all"
        assert sheet.to_python()[1] == ["王伟", dt.date(2026, 3, 4), 12.5, True, "=1+1", "007"]

    def test_an_empty_list_still_has_its_header(self) -> None:
        file = io.BytesIO()
        assert write_xlsx(file, "", ["Name"], []) == 0
        file.seek(0)
        assert CalamineWorkbook.from_filelike(file).get_sheet_by_index(0).to_python() == [["Name"]]
