# ruff: noqa: DTZ001, E501 - tables of real-life cells are read across; spreadsheets have wall-clock times
"""Files as other systems write them: their headers, quoting, dates and numbers, 10,000 rows, with the dirt
of real life.

Deterministic: the same call always gives the same bytes and the same ``Expected``. All people are made up;
their addresses lie below ``example`` domains and their numbers in ranges kept free for fiction where there
are any.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import xlsxwriter

GIVEN_EN = [
    "James",
    "Mary",
    "John",
    "Linda",
    "Robert",
    "Patricia",
    "Michael",
    "Susan",
    "David",
    "Karen",
    "Sean",
    "O'Neil",
    "Zoë",
    "Renée",
    "Ana",
    "José",
    "Chloë",
]
FAMILY_EN = [
    "Smith",
    "Johnson",
    "O'Brien",
    "Williams",
    "Brown",
    "Jones",
    "Garcia",
    "Miller",
    "Davis",
    "Martinez",
    "Nuñez",
    "McDonald",
    "Smith-Jones",
]
GIVEN_DE = [
    "Anna",
    "Jürgen",
    "Käthe",
    "Björn",
    "Heike",
    "Günther",
    "Sabine",
    "Wolfgang",
    "Ulrike",
    "Jörg",
    "Franziska",
    "Lukas",
]
FAMILY_DE = [
    "Müller",
    "Schmidt",
    "Schäfer",
    "Weiß",
    "Köhler",
    "Großmann",
    "Jäger",
    "Böhm",
    "Vogel",
    "Krüger",
    "Möller-Lüdenscheidt",
]
FAMILY_ZH = ["王", "李", "张", "刘", "陈", "杨", "黄", "赵", "吴", "周", "欧阳", "司马", "诸葛", "上官"]
GIVEN_ZH = [
    "伟",
    "芳",
    "娜",
    "秀英",
    "敏",
    "静",
    "丽",
    "强",
    "磊",
    "军",
    "洋",
    "勇",
    "艳",
    "杰",
    "娟",
    "涛",
    "明",
    "超",
    "秀兰",
    "霞",
    "建国",
    "子涵",
    "梓萱",
    "浩然",
]
COMPANIES = [f"{word} {form}" for word in ("Acme", "Globex", "Initech", "Umbrella, Ltd", 'Stark "Best"', "Wayne", "Hooli", "Vandelay")
             for form in ("Inc.", "LLC", "GmbH", "& Sons", "Group")]  # fmt: skip
COMPANIES_ZH = [
    f"{city}{word}有限公司"
    for city in ("北京", "上海", "深圳", "广州", "杭州")
    for word in ("示例科技", "演示贸易", "样本制造", "测试软件")
]
TITLES = ["CEO", "Buyer", "Head of IT", "Sales Manager, EMEA", "Engineer", 'VP "Growth"', ""]
SOURCES_SF = ["Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other", ""]


@dataclass
class Expected:
    """What an importer must make of the file: rows, those that must fail by reason, and repeated keys."""

    rows: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    bad_rows: set[int] = field(default_factory=set)
    repeated: int = 0

    def count(self, reason: str, row: int) -> None:
        self.bad[reason] = self.bad.get(reason, 0) + 1
        self.bad_rows.add(row)

    @property
    def good(self) -> int:
        return self.rows - len(self.bad_rows)


def _dirt(rng: random.Random, share: float) -> bool:
    return rng.random() < share


SALESFORCE_HEADER = [
    "Salutation", "First Name", "Last Name", "Title", "Account Name", "Mailing Street", "Mailing City",
    "Mailing State/Province", "Mailing Zip/Postal Code", "Mailing Country", "Phone", "Mobile", "Email", "Birthdate",
    "Lead Source", "Contact Owner", "Contact ID", "Last Activity", "Custom Score (legacy)",
]  # fmt: skip


def salesforce_contacts(rows: int = 10_000, seed: int = 7) -> tuple[bytes, Expected]:
    """A Salesforce report as "Details Only" CSV: Windows-1252, every cell quoted, US dates, a footer below
    blank lines."""
    rng = random.Random(seed)
    expected = Expected()
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(SALESFORCE_HEADER)
    for index in range(rows):
        given, family = rng.choice(GIVEN_EN), rng.choice(FAMILY_EN)
        mail = f"{_plain(given)}.{_plain(family)}.{index}@{rng.choice(['acme', 'globex', 'initech'])}.example.com"
        born = dt.date(1950, 1, 1) + dt.timedelta(days=rng.randrange(18_000))
        birth = f"{born.month}/{born.day}/{born.year}" if rng.random() < 0.6 else ""
        identity = f"003{index:012d}AAA"
        if index and _dirt(rng, 0.01):
            # The same person twice, as joined reports have it.
            identity = f"003{rng.randrange(index):012d}AAA"
            expected.repeated += 1
        if _dirt(rng, 0.01):
            mail = rng.choice(
                ["none", "n/a@", f"{_plain(given)}@", "a@b@c.example.com", "missing-at.example.com"]
            )
            expected.count("email.invalid", index)
        if _dirt(rng, 0.005):
            birth = "2/30/1985"
            expected.count("date.impossible", index)
        if _dirt(rng, 0.005):
            family = ""
            expected.count("required", index)
        writer.writerow([
            rng.choice(["Mr.", "Ms.", "Dr.", ""]), given, family, rng.choice(TITLES), rng.choice(COMPANIES),
            rng.choice(["1 Main St", "12 High Street\nSuite 400", "Av. de la Constitución 5", "5, Elm"]),
            rng.choice(["Springfield", "San José", "Montréal"]), rng.choice(["CA", "NY", ""]), f"{rng.randrange(501, 99951):05d}",
            rng.choice(["United States", "USA", "Canada", ""]), f"(212) 555-{rng.randrange(100, 200):04d}",
            f"+1 646 555 {rng.randrange(100, 200):04d}" if rng.random() < 0.3 else "", mail, birth,
            rng.choice(SOURCES_SF), rng.choice(["Alice Admin", "Bob Broker"]), identity,
            f"{rng.randrange(1, 13)}/{rng.randrange(1, 29)}/2026", rng.choice(["", "17", "3.5"]),
        ])  # fmt: skip
        expected.rows += 1
    out.write("\n\n")
    for line in ("Contacts by account", "Copyright (c) 2000-2026 salesforce.com, inc. All rights reserved.",
                 "Confidential Information - Do Not Distribute", "Generated By:  Alice Admin  11/20/2026 9:12 AM"):  # fmt: skip
        out.write(f'"{line}"\n')
    return out.getvalue().encode("cp1252"), expected


HUBSPOT_HEADER = [
    "Record ID", "First Name", "Last Name", "Email", "Phone Number", "Mobile Phone Number", "Job Title", "Company Name",
    "Street Address", "City", "Postal Code", "Country/Region", "Preferred language", "Lifecycle Stage", "Lead Status",
    "Original Source", "Create Date", "Contact owner", "Marketing contact status",
]  # fmt: skip


def hubspot_contacts(rows: int = 10_000, seed: int = 11) -> tuple[bytes, Expected]:
    """A HubSpot export: UTF-8 with byte-order mark, minimal quoting, ISO dates; blank lines at the end."""
    rng = random.Random(seed)
    expected = Expected()
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(HUBSPOT_HEADER)
    for index in range(rows):
        given, family = rng.choice(GIVEN_DE), rng.choice(FAMILY_DE)
        identity = str(51_000_000_000 + index)
        mail = f"{_plain(given)}.{_plain(family)}.{index}@firma-{rng.randrange(400)}.example.de"
        country = rng.choice(["Germany", "Deutschland", "Austria", "Switzerland", "DE", ""])
        phone = (
            rng.choice(["030 23125", "+49 30 23125", "0049 (30) 23125", "+49 (0)30 23125"])
            + f"{index % 1000:03d}"
        )
        extra = []
        if index and _dirt(rng, 0.02):
            identity = str(51_000_000_000 + rng.randrange(index))
            expected.repeated += 1
        if _dirt(rng, 0.01):
            mail = mail.replace("@", " at ")
            expected.count("email.invalid", index)
        if _dirt(rng, 0.005):
            phone = rng.choice(["call me", "12", "n. v."])
            expected.count("phone", index)
        if _dirt(rng, 0.003):
            country = "Absurdistan"
            expected.count("country.unknown", index)
        if _dirt(rng, 0.002):
            extra = ["", "surplus"]
            expected.count("row.too_many_cells", index)
        writer.writerow([
            identity, given, family, mail, phone, f"0151 2312{index % 10000:04d}" if rng.random() < 0.4 else "",
            rng.choice(["Geschäftsführer", "Einkauf", "IT-Leitung", ""]), f"Firma {rng.randrange(400)} GmbH",
            rng.choice(["Hauptstraße 1", "Am Ring 5", ""]), rng.choice(["Berlin", "München", "Köln", "Wien"]),
            f"{rng.randrange(10000, 99999)}", country, rng.choice(["de", "German", "en", ""]),
            rng.choice(["Subscriber", "Lead", "Marketing Qualified Lead", "Sales Qualified Lead", "Opportunity", "Customer",
                        "Evangelist", "Other", ""]),
            rng.choice(["NEW", "OPEN", ""]), rng.choice(["Organic Search", "Direct Traffic", "Offline Sources", "Email marketing", ""]),
            f"2024-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d} 09:{rng.randrange(60):02d}",
            rng.choice(["Inès Moreau", ""]), rng.choice(["Marketing contact", "Non-marketing contact"]), *extra,
        ])  # fmt: skip
        expected.rows += 1
    out.write("\r\n,,,,,\r\n\r\n")
    return b"\xef\xbb\xbf" + out.getvalue().encode(), expected


ZOHO_HEADER = [
    "Record Id", "Contact Owner.id", "Contact Owner", "Lead Source", "First Name", "Last Name", "Account Name.id",
    "Account Name", "Email", "Title", "Department", "Phone", "Mobile", "Date of Birth", "Created Time", "Mailing Street",
    "Mailing City", "Mailing State", "Mailing Zip", "Mailing Country", "Description", "Email Opt Out", "Tag",
]  # fmt: skip


def zoho_contacts(rows: int = 10_000, seed: int = 13) -> tuple[bytes, Expected]:
    """A Zoho export saved again by a Chinese Excel: GB18030, Chinese people and companies, ISO times."""
    rng = random.Random(seed)
    expected = Expected()
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(ZOHO_HEADER)
    for index in range(rows):
        family, given = rng.choice(FAMILY_ZH), rng.choice(GIVEN_ZH)
        born = dt.date(1960, 1, 1) + dt.timedelta(days=rng.randrange(15_000))
        mail = f"user{index}@gongsi{rng.randrange(20)}.example.cn"
        mobile = f"1380013{index % 10000:04d}"
        birth = rng.choice(
            [
                born.isoformat(),
                f"{born.year}/{born.month}/{born.day}",
                f"{born.year}年{born.month}月{born.day}日",
                "",
            ]
        )
        identity = f"zcrm_{4876876000000000000 + index}"
        if index and _dirt(rng, 0.01):
            identity = f"zcrm_{4876876000000000000 + rng.randrange(index)}"
            expected.repeated += 1
        if _dirt(rng, 0.01):
            mail = mail.replace("@", "#")
            expected.count("email.invalid", index)
        if _dirt(rng, 0.005):
            family = ""
            expected.count("required", index)
        if _dirt(rng, 0.005):
            birth = "1985-02-31"
            expected.count("date.impossible", index)
        writer.writerow([
            identity, "zcrm_4876876000000045001", rng.choice(["陈管理", "Admin"]), rng.choice(["展会", "Trade Show", "Web Research", "转介绍", ""]),
            given, family, f"zcrm_487687600000{rng.randrange(20):07d}", rng.choice(COMPANIES_ZH), mail,
            rng.choice(["总经理", "采购经理", "工程师", ""]), rng.choice(["技术部", "采购部", ""]), f"010-8888{index % 10000:04d}", mobile, birth,
            f"2025-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d} 10:{rng.randrange(60):02d}:00",
            rng.choice(["长安街1号", "人民路 88 号, 3 楼", ""]), rng.choice(["北京", "上海", "深圳"]), rng.choice(["北京市", "广东省", ""]),
            f"{rng.randrange(100000, 600000)}", rng.choice(["中国", "China", "CN"]), rng.choice(["重要客户，优先联系", "老客户\n请联系", ""]),
            rng.choice(["true", "false"]), rng.choice(["VIP", ""]),
        ])  # fmt: skip
        expected.rows += 1
    return out.getvalue().encode("gb18030"), expected


DYNAMICS_HEADER = [
    "(Do Not Modify) Contact", "(Do Not Modify) Row Checksum", "(Do Not Modify) Modified On", "Full Name", "Email",
    "Company Name", "Business Phone", "Mobile Phone", "Job Title", "Address 1: Street 1", "Address 1: Street 2",
    "Address 1: City", "Address 1: ZIP/Postal Code", "Address 1: Country/Region", "Birthday", "Status",
]  # fmt: skip


def dynamics_contacts(rows: int = 10_000, seed: int = 17) -> tuple[bytes, Expected]:
    """A Dynamics 365 export: XLSX, three hidden columns first, real date cells, numbers stored as numbers."""
    rng = random.Random(seed)
    expected = Expected()
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"constant_memory": True})
    lists = book.add_worksheet("hiddenSheet")
    lists.write_string(0, 0, "hiddenSheet")
    lists.hide()
    sheet = book.add_worksheet("My Active Contacts")
    sheet.activate()
    sheet.set_column(0, 2, 10, None, {"hidden": True})
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    for column, name in enumerate(DYNAMICS_HEADER):
        sheet.write_string(0, column, name)
    for index in range(rows):
        chinese = rng.random() < 0.3
        name = (
            (rng.choice(FAMILY_ZH) + rng.choice(GIVEN_ZH))
            if chinese
            else f"{rng.choice(GIVEN_EN)} {rng.choice(FAMILY_EN)}"
        )
        mail = f"dyn{index}@contoso.example.com"
        if _dirt(rng, 0.01):
            mail = "not an address"
            expected.count("email.invalid", index)
        if _dirt(rng, 0.004):
            name = ""
            expected.count("required", index)
        identity = f"{rng.getrandbits(128):032x}"
        values = [
            f"{identity[:8]}-{identity[8:12]}-4{identity[13:16]}-a{identity[17:20]}-{identity[20:]}", f"x{index:06d}==", dt.datetime(2026, 11, 1, 9, 30),
            name, mail, rng.choice(COMPANIES), f"+1 212-555-{rng.randrange(100, 200):04d}",
            16_465_550_100 + index % 100 if rng.random() < 0.2 else None, rng.choice(TITLES), "1 Main St",
            rng.choice(["Floor 3", None]), "Seattle", 98_101, rng.choice(["U.S.", "United States", "Germany"]),
            dt.datetime(1970, 1, 1) + dt.timedelta(days=rng.randrange(9000)) if rng.random() < 0.5 else None, "Active",
        ]  # fmt: skip
        for column, value in enumerate(values):
            if isinstance(value, dt.datetime):
                sheet.write_datetime(index + 1, column, value, day)
            elif isinstance(value, int):
                sheet.write_number(index + 1, column, value)
            elif value:
                sheet.write_string(index + 1, column, value)
        expected.rows += 1
    book.close()
    return out.getvalue(), expected


def _plain(name: str) -> str:
    table = str.maketrans("äöüßéèëñóíá", "aouseeenoia", "' ")
    return name.lower().translate(table)


def all_files() -> Iterator[tuple[str, bytes, Expected]]:
    """(name, bytes, expectation) of the four files at full size."""
    for name, make in (("salesforce.csv", salesforce_contacts), ("hubspot.csv", hubspot_contacts),
                       ("zoho.csv", zoho_contacts), ("dynamics.xlsx", dynamics_contacts)):  # fmt: skip
        data, expected = make()
        yield name, data, expected
