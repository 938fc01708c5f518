"""A file is what its content says and what its name says; when they differ, it is refused."""

from __future__ import annotations

import io
import zipfile

import pytest

from crm_server.domain.documents.filetypes import check_package, media_type
from crm_server.domain.documents.models import Attachment
from crm_server.domain.documents.services import clean_filename, download_headers
from crm_server.kernel.errors import UnsupportedMedia

PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"x" * 100
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 100
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + b"\0" * 50


def archive(*names: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for name in names:
            made.writestr(name, "x")
    return target.getvalue()


class TestAccepted:
    @pytest.mark.parametrize(
        "name,head,kind",
        [
            ("offer.pdf", PDF, "application/pdf"),
            ("Foto.PNG", PNG, "image/png"),
            ("photo.jpeg", JPEG, "image/jpeg"),
            ("notes.txt", "Grüße aus 北京".encode(), "text/plain"),
            ("latin.csv", "Stra\xdfe;Ort".encode("latin-1"), "text/csv"),
            ("gb.csv", "客户,城市".encode("gb18030"), "text/csv"),
            ("card.vcf", b"BEGIN:VCARD\r\nVERSION:3.0\r\n", "text/vcard"),
            ("data.zip", archive("a.txt"), "application/zip"),
            (
                "letter.docx",
                archive("[Content_Types].xml", "word/document.xml"),
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            ),
        ],
    )
    def test_what_offices_send_each_other(self, name: str, head: bytes, kind: str) -> None:
        assert media_type(name, head) == kind


class TestPackages:
    @pytest.mark.parametrize(
        "name,parts",
        [
            ("letter.docx", ("[Content_Types].xml", "word/document.xml")),
            ("web.docx", ("[Content_Types].xml", "word/document2.xml")),
            ("sums.xlsx", ("[Content_Types].xml", "xl/workbook.xml")),
            ("Talk.PPTX", ("[Content_Types].xml", "ppt/presentation.xml")),
            ("data.zip", ("a.txt",)),
        ],
    )
    def test_documents_have_the_parts_of_their_format(self, name: str, parts: tuple[str, ...]) -> None:
        check_package(name, io.BytesIO(archive(*parts)))

    @pytest.mark.parametrize(
        "name,content",
        [
            ("letter.docx", archive("a.txt")),
            ("letter.docx", archive("word/document.xml")),
            ("letter.docx", archive("[Content_Types].xml", "xl/workbook.xml")),
            ("sums.xlsx", archive("[Content_Types].xml", "word/document.xml")),
            ("letter.docx", archive("[Content_Types].xml", "word/document.xml")[:60]),
            ("letter.docx", archive(*(f"{number:0>99}" for number in range(8_000)))),
        ],
        # An archive holds the time at which it was made, so its bytes name no test.
        ids=["no parts", "no types", "of a sheet", "of a letter", "cut off", "far too many"],
    )
    def test_an_archive_that_calls_itself_a_document_is_refused(self, name: str, content: bytes) -> None:
        with pytest.raises(UnsupportedMedia):
            check_package(name, io.BytesIO(content))

    def test_open_documents_begin_with_their_type(self) -> None:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as made:
            made.writestr("mimetype", "application/vnd.oasis.opendocument.text")
            made.writestr("content.xml", "x")
        assert media_type("letter.odt", target.getvalue()) == "application/vnd.oasis.opendocument.text"
        for content in (archive("content.xml"), target.getvalue().replace(b"text", b"xxxx")):
            with pytest.raises(UnsupportedMedia):
                media_type("letter.odt", content)


class TestRefused:
    @pytest.mark.parametrize(
        "name,head",
        [
            ("setup.exe", b"MZ\x90\0" + b"\0" * 100),
            ("page.html", b"<!DOCTYPE html><html></html>"),
            ("logo.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
            ("noextension", PDF),
            ("script.js", b"alert(1)"),
        ],
    )
    def test_kinds_that_are_not_on_the_list(self, name: str, head: bytes) -> None:
        with pytest.raises(UnsupportedMedia):
            media_type(name, head)

    @pytest.mark.parametrize(
        "name,head",
        [
            ("invoice.pdf", b"MZ\x90\0" + b"\0" * 100),
            ("invoice.pdf", b"\x7fELF" + b"\0" * 100),
            ("photo.png", JPEG),
            ("photo.png", b"<html><script>alert(1)</script>"),
            ("notes.txt", b"#!/bin/sh\nrm -rf /\n"),
            ("notes.txt", b"<!DOCTYPE html><html><script>alert(1)</script>"),
            ("data.xml", b"<?xml version='1.0'?><svg onload='alert(1)'/>"),
            ("notes.txt", b"binary\x00content"),
            ("offer.pdf", b"just text"),
        ],
    )
    def test_a_name_that_the_content_contradicts(self, name: str, head: bytes) -> None:
        with pytest.raises(UnsupportedMedia):
            media_type(name, head)


@pytest.mark.parametrize(
    "given,kept",
    [
        ("../../etc/passwd.txt", "passwd.txt"),
        ("C:\\Users\\me\\offer.pdf", "offer.pdf"),
        ("a\u202egnp.exe.txt", "agnp.exe.txt"),
        ("line\nbreak.txt", "linebreak.txt"),
        ("...", "file"),
        ("报价.pdf", "报价.pdf"),
    ],
)
def test_a_file_name_is_cleaned(given: str, kept: str) -> None:
    assert clean_filename(given) == kept


def test_a_long_file_name_keeps_its_extension() -> None:
    cleaned = clean_filename("x" * 500 + ".pdf")
    assert len(cleaned) == 200
    assert cleaned.endswith(".pdf")


def test_a_download_is_never_shown_inside_the_page() -> None:
    headers = download_headers(
        Attachment(filename='报价 "x".pdf', media_type="application/pdf", size=3, sha256=b"\x01" * 32)
    )
    assert headers["Content-Disposition"].startswith(
        "attachment; filename=\"__ _x_.pdf\"; filename*=UTF-8''%E6%8A"
    )
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
