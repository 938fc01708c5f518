"""What a file is, by its bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import BinaryIO

import pytest
import xlsxwriter

from crm_server.importing.detect import FileProfile, inspect_file, redo_profile
from crm_server.importing.errors import ImportFileError
from crm_server.importing.readers import open_rows

AsFile = Callable[..., BinaryIO]

GERMAN = (
    "Vorname;Nachname;Straße;Ort\nJürgen;Müller;Große Straße 1;Köln\nKäthe;Schäfer;Am Bühl 3;Düsseldorf\n" * 3
)
CHINESE = (
    "姓名,公司,职位,备注\n王伟,北京示例科技有限公司,总经理,重要客户\n李娜,上海演示贸易有限公司,采购经理,老客户\n"
    * 3
)


class TestEncoding:
    @pytest.mark.parametrize(
        "text, encoding, found",
        [
            (GERMAN, "utf-8", "utf-8"),
            (GERMAN, "utf-8-sig", "utf-8-sig"),
            (GERMAN, "cp1252", "cp1252"),
            (GERMAN, "utf-16", "utf-16"),
            (GERMAN, "utf-16-le", "utf-16-le"),
            (GERMAN, "utf-16-be", "utf-16-be"),
            (CHINESE, "utf-8", "utf-8"),
            (CHINESE, "gb18030", "gb18030"),
            (CHINESE, "gbk", "gb18030"),
            (CHINESE, "utf-16", "utf-16"),
            ("name,city\nJosé,Málaga\nChloë,Orléans\n", "cp1252", "cp1252"),
            ("name,mail\nAnn,ann@example.com\n", "ascii", "utf-8"),
        ],
    )
    def test_is_found_and_the_text_survives(
        self, text: str, encoding: str, found: str, as_file: AsFile
    ) -> None:
        file = as_file(text, encoding)
        profile = inspect_file(file)
        assert profile.encoding == found
        assert 0 < profile.confidence <= 1
        first = next(open_rows(file, profile))
        assert next(iter(first.values.values())) == text.splitlines()[1].replace(";", ",").split(",")[0]

    def test_a_few_broken_bytes_in_utf_8_are_named_by_line_and_not_taken_for_another_encoding(
        self, as_file: AsFile
    ) -> None:
        lines = CHINESE.encode() + "赵敏,".encode() + b"\xff\xfe,x,y\n"
        profile = inspect_file(as_file(lines))
        assert profile.encoding == "utf-8"
        assert profile.warnings == (("encoding.broken", 10),)
        assert profile.confidence < 0.8

    def test_can_be_overridden_by_hand(self, as_file: AsFile) -> None:
        file = as_file("name;x\nŁódź;1\n", "cp1250")
        profile = redo_profile(file, inspect_file(file), encoding="cp1250")
        assert next(open_rows(file, profile)).values["name"] == "Łódź"


class TestLayout:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_the_delimiter_is_found_although_others_stand_in_the_cells(
        self, delimiter: str, as_file: AsFile
    ) -> None:
        other = "," if delimiter != "," else ";"
        rows = [
            ["Name", "Note", "Amount"],
            ["Ann", f"a{other} b{other} c", "1.234"],
            ["Bob", f"x{other}y", "5"],
        ] * 5
        text = "\n".join(delimiter.join(row) for row in rows)
        assert inspect_file(as_file(text)).delimiter == delimiter

    def test_decimal_commas_do_not_make_the_comma_the_delimiter(self, as_file: AsFile) -> None:
        text = "Firma;Umsatz\n" + "".join(f"Firma {n};{n}.000,50\n" for n in range(1, 20))
        profile = inspect_file(as_file(text))
        assert (profile.delimiter, profile.columns) == (";", ("Firma", "Umsatz"))

    def test_excels_sep_line_is_obeyed_and_is_no_row(self, as_file: AsFile) -> None:
        file = as_file("sep=|\na|b\n1,2|3,4\n")
        profile = inspect_file(file)
        assert profile.columns == ("a", "b")
        assert [row.values for row in open_rows(file, profile)] == [{"a": "1,2", "b": "3,4"}]

    def test_titles_above_the_header_are_passed_over(self, as_file: AsFile) -> None:
        file = as_file("Customer list\n\nName,Mail,City\nAnn,ann@example.com,Bern\n")
        profile = inspect_file(file)
        assert (profile.columns, profile.header_line, profile.first_line) == (("Name", "Mail", "City"), 3, 4)

    def test_a_file_without_a_header_gets_numbered_columns_and_keeps_its_first_row(
        self, as_file: AsFile
    ) -> None:
        file = as_file("Ann,ann@example.com\nBob,bob@example.com\n")
        profile = inspect_file(file)
        assert profile.columns == ("Column 1", "Column 2")
        assert len(list(open_rows(file, profile))) == 2

    def test_repeated_and_blank_headers_become_distinct(self, as_file: AsFile) -> None:
        profile = inspect_file(as_file("Mail,Name,Mail,,City\na@example.com,A,b@example.com,x,Bern\n"))
        assert profile.columns == ("Mail", "Name", "Mail (2)", "Column 4", "City")

    def test_the_profile_survives_storage(self, as_file: AsFile) -> None:
        profile = inspect_file(as_file(GERMAN))
        assert FileProfile.from_json(profile.to_json()) == profile


class TestRefusals:
    @pytest.mark.parametrize(
        "content, code",
        [
            (b"", "file.empty"),
            (b"\xef\xbb\xbf\r\n \r\n", "file.empty"),
            (b"<html><table><tr><td>Name</td></tr></table>", "file.html"),
            (b'\xef\xbb\xbf<?xml version="1.0"?><Workbook/>', "file.xml"),
            (b'[{"name": "Ann"}]', "file.json"),
            (b"%PDF-1.7 ...", "file.foreign"),
            (b"\x1f\x8b\x08\x00abc", "file.foreign"),
            (b"PK\x03\x04 broken archive", "file.damaged"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 broken", "file.damaged"),
        ],
    )
    def test_names_what_it_is_instead(self, content: bytes, code: str, as_file: AsFile) -> None:
        with pytest.raises(ImportFileError) as caught:
            inspect_file(as_file(content))
        assert caught.value.code == code
        assert str(caught.value).endswith(".")

    def test_zero_bytes_are_reported_with_their_line(self, as_file: AsFile) -> None:
        with pytest.raises(ImportFileError) as caught:
            inspect_file(as_file(b"name,mail\nAnn,a@example.com\nBo\0b,b@example.com\n"))
        assert (caught.value.code, caught.value.line) == ("file.binary", 3)

    def test_an_archive_without_a_workbook_is_refused(self) -> None:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("contacts.csv", "a,b")
        with pytest.raises(ImportFileError, match=r"file\.archive|archive"):
            inspect_file(file)

    def test_a_zip_bomb_is_refused_before_it_is_unpacked(self) -> None:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/workbook.xml", b"\0" * (32 << 20))
        with pytest.raises(ImportFileError) as caught:
            inspect_file(file)
        assert caught.value.code == "file.bomb"

    def test_a_csv_that_calls_itself_xlsx_is_read_as_csv(self, as_file: AsFile) -> None:
        assert inspect_file(as_file("a,b\n1,2\n")).kind == "csv"

    def test_an_unknown_sheet_is_refused_with_the_names_of_the_others(self) -> None:
        file = io.BytesIO()
        book = xlsxwriter.Workbook(file)
        book.add_worksheet("List").write_row(0, 0, ["Name", "City"])
        book.close()
        with pytest.raises(ImportFileError, match="List"):
            inspect_file(file, sheet="Other")
