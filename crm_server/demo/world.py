"""Generates the made-up world as rows, chunk by chunk. The same chunk and day always give the same rows.

A chunk is self-contained (accounts with their contacts, opportunities, activities, cases and leads), so chunks can
be made by several processes in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from crm_server.demo import names
from crm_server.demo.names import REGIONS, WEIGHTS, Region

if TYPE_CHECKING:
    from collections.abc import Sequence

CHUNK = 10_000
"""Contacts in a chunk."""

HISTORY_DAYS = 3 * 365
# Business over the year: a weak August, a strong last quarter.
SEASON = (0.9, 0.95, 1.15, 1.0, 1.0, 1.1, 0.85, 0.6, 1.1, 1.15, 1.25, 1.3)
GROWTH_A_YEAR = 0.18
# A share of everything is of the last weeks, so that lists of open things have something to show.
LATELY, RECENT_DAYS = 0.12, 45

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the sales pipeline, as it stands in the database."""

    id: str
    kind: str
    probability: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the rows refer to and does not belong to a chunk."""

    today: date
    owners: Sequence[str]
    teams: Sequence[str]
    territories: dict[str, str]
    pipeline: str
    stages: Sequence[Stage]
    products: Sequence[str]


@dataclass(slots=True)
class Chunk:
    """Rows by table, in the order of `COLUMNS`, and the audit events that tell of their creation."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {table: [] for table in COLUMNS})


_COMMON = ("id", "event_id", "created_at", "updated_at", "created_by", "updated_by")
_OWNED = (*_COMMON, "owner_id")
COLUMNS: dict[str, tuple[str, ...]] = {
    "crm.data_subject": _COMMON,
    "crm.account": (
        *_OWNED,
        "name",
        "kind",
        "parent_id",
        "industry",
        "lifecycle_stage",
        "grade",
        "website",
        "phone",
        "email",
        "billing_street",
        "billing_postal_code",
        "billing_city",
        "billing_region",
        "billing_country",
        "employees",
        "annual_revenue",
        "currency",
        "external_id",
        "team_id",
        "territory_id",
    ),
    "crm.contact": (
        *_OWNED,
        "subject_id",
        "account_id",
        "salutation",
        "given_name",
        "family_name",
        "name",
        "job_title",
        "department",
        "email",
        "phone",
        "mobile",
        "city",
        "country",
        "language",
        "lifecycle_stage",
        "source",
        "external_id",
        "team_id",
        "territory_id",
    ),
    "crm.lead": (
        *_OWNED,
        "subject_id",
        "given_name",
        "family_name",
        "name",
        "company",
        "job_title",
        "email",
        "phone",
        "city",
        "country",
        "status",
        "rating",
        "source",
        "language",
        "territory_id",
    ),
    "crm.opportunity": (
        *_OWNED,
        "name",
        "account_id",
        "contact_id",
        "pipeline_id",
        "stage_id",
        "amount",
        "currency",
        "probability",
        "close_date",
        "status",
        "forecast",
        "lost_reason",
        "source",
        "closed_at",
        "stage_since",
        "team_id",
        "territory_id",
    ),
    "crm.contact_role": (*_COMMON, "contact_id", "opportunity_id", "role", "influence", "is_primary"),
    "crm.stage_change": (
        "id",
        "opportunity_id",
        "from_stage_id",
        "to_stage_id",
        "amount",
        "currency",
        "changed_at",
        "changed_by",
    ),
    "crm.case": (
        *_OWNED,
        "number",
        "title",
        "status",
        "priority",
        "origin",
        "account_id",
        "contact_id",
        "subject_id",
        "resolved_at",
        "closed_at",
    ),
    "crm.activity": (
        *_OWNED,
        "kind",
        "title",
        "body",
        "status",
        "priority",
        "direction",
        "due_at",
        "starts_at",
        "ends_at",
        "done_at",
        "account_id",
        "contact_id",
        "opportunity_id",
        "subject_id",
    ),
    "audit.event": (
        "event_id",
        "occurred_at",
        "event_class",
        "action",
        "outcome",
        "actor_ref",
        "auth_method",
        "origin",
        "object_type",
        "object_ref",
        "subject_ref",
        "meta",
    ),
}
NUMBERS = {
    "crm.data_subject": 24,
    "crm.account": 1,
    "crm.contact": 2,
    "crm.lead": 3,
    "crm.opportunity": 4,
    "crm.contact_role": 16,
    "crm.case": 14,
    "crm.activity": 12,
}


class World:
    """Makes one chunk."""

    def __init__(self, index: int, contacts: int, around: Surroundings, first_case: int) -> None:
        self.random = Random(f"kontor demo {index}")
        self.index = index
        self.contacts = contacts
        self.around = around
        self.case_number = first_case
        self.chunk = Chunk()
        # The evening before, so that nothing has happened in the future.
        self.end = datetime.combine(around.today, time(17), UTC) - timedelta(days=1)

    def make(self) -> Chunk:
        """All rows of the chunk."""
        made = 0
        previous: dict[str, str] = {}
        while made < self.contacts:
            region = self.random.choices(REGIONS, WEIGHTS)[0]
            people = min(self.contacts - made, self.random.randint(1, 9))
            self._account(region, people, previous)
            made += people
        for _ in range(self.contacts // 5):
            self._lead(self.random.choices(REGIONS, WEIGHTS)[0])
        return self.chunk

    # Small tools.

    def _id(self, moment: datetime) -> str:
        bits = self.random.getrandbits(74)
        variant, tail = 8 | (bits >> 60 & 3), bits & (1 << 60) - 1
        text = f"{int(moment.timestamp() * 1000):012x}7{bits >> 62:03x}{variant:x}{tail:015x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _digits(self, pattern: str) -> str:
        return "".join(str(self.random.randrange(10)) if sign == "#" else sign for sign in pattern)

    def _moment(self) -> datetime:
        """A working hour of the last three years, with seasons and growth."""
        while True:
            lately = self.random.random() < LATELY
            age = self.random.random() * (RECENT_DAYS if lately else HISTORY_DAYS)
            day = self.end - timedelta(days=age)
            weight = SEASON[day.month - 1] * (1 - GROWTH_A_YEAR) ** (age / 365)
            if self.random.random() * max(SEASON) < weight and day.weekday() < 5:
                return day.replace(
                    hour=self.random.randint(7, 16),
                    minute=self.random.randrange(60),
                    second=self.random.randrange(60),
                )

    def _common(self, table: str, moment: datetime, owner: str, subject: str | None = None) -> Row:
        key, event = self._id(moment), self._id(moment)
        self.chunk.rows["audit.event"].append(
            (
                event,
                moment,
                "change",
                "create",
                "success",
                owner,
                "demo",
                "demo",
                NUMBERS[table],
                key,
                f"{{{subject}}}" if subject else None,
                '{"demo": true, "version": 1}',
            )
        )
        return (key, event, moment, moment, owner, owner)

    def _add(self, table: str, moment: datetime, owner: str, *values: Any, subject: str | None = None) -> str:
        common = self._common(table, moment, owner, subject)
        owned = () if table in {"crm.data_subject", "crm.contact_role"} else (owner,)
        self.chunk.rows[table].append((*common, *owned, *values))
        return str(common[0])

    # The things of the world.

    def _account(self, region: Region, people: int, previous: dict[str, str]) -> None:
        pick = self.random
        moment, owner = self._moment(), pick.choice(self.around.owners)
        city, state, code = pick.choice(region.cities)
        sector = pick.randrange(len(region.company_tails))
        number = self.index * CHUNK + len(self.chunk.rows["crm.account"]) + 1
        space = "" if region is names.CHINA else " "
        place = city.split()[0]
        name = (
            f"{pick.choice(region.company_heads)}{space}{place}{space}{region.company_tails[sector]} {number}"
        )
        employees = int(pick.lognormvariate(4.2, 1.3)) + 1
        kind = pick.choices(("customer", "prospect", "partner", "supplier", "other"), (45, 38, 8, 6, 3))[0]
        parent = previous.get(region.country) if pick.random() < 0.08 else None
        team, territory = pick.choice(self.around.teams), self.around.territories[region.country]
        account = self._add(
            "crm.account",
            moment,
            owner,
            name,
            kind,
            parent,
            names.INDUSTRIES[sector % len(names.INDUSTRIES)],
            "customer" if kind == "customer" else "lead",
            pick.choices("abcd", (15, 30, 35, 20))[0],
            f"https://www.{region.domain}/{number}",
            self._digits(pick.choice(region.phone)),
            f"info-{number}@{region.domain}",
            f"{pick.choice(region.streets)}{space}{pick.randint(1, 180)}",
            self._digits(code),
            city,
            state,
            region.country,
            employees,
            employees * pick.randint(80, 240) * 100_000,
            region.currency,
            f"A-{number:07d}",
            team,
            territory,
        )
        if parent is None:
            previous[region.country] = account
        persons = [
            self._contact(region, account, owner, moment, city, team, territory) for _ in range(people)
        ]
        deals = pick.choices((0, 1, 2, 3, 5), (38, 30, 17, 10, 5))[0] if people > 1 else pick.randint(0, 1)
        for _ in range(deals):
            self._opportunity(region, account, persons, owner, employees, team, territory)
        for contact, subject in persons:
            for _ in range(pick.choices((0, 1, 2, 4), (35, 40, 18, 7))[0]):
                self._activity(region, account, contact, subject, owner)
            if kind == "customer" and pick.random() < 0.3:
                self._case(region, account, contact, subject)

    def _person(self, region: Region, number: int) -> tuple[str, str, str, str]:
        given, family = self.random.choice(region.given), self.random.choice(region.family)
        if region is names.CHINA:
            return given, family, f"{family}{given}", f"c{number}@{region.domain}"
        plain = f"{given}.{family}".lower().translate(_ASCII)
        return given, family, f"{given} {family}", f"{plain}.{number}@{region.domain}"

    def _contact(  # noqa: PLR0917 - a person has that many sides
        self, region: Region, account: str, owner: str, after: datetime, city: str, team: str, territory: str
    ) -> tuple[str, str]:
        pick = self.random
        moment = after + pick.random() * min(timedelta(days=200), self.end - after)
        number = self.index * CHUNK + len(self.chunk.rows["crm.contact"]) + 1
        given, family, name, mail = self._person(region, number)
        subject = self._add("crm.data_subject", moment, owner)
        contact = self._add(
            "crm.contact",
            moment,
            owner,
            subject,
            account,
            pick.choice(("mr", "ms", "ms", "mr", "dr", None)),
            given,
            family,
            name,
            pick.choice(region.titles),
            pick.choice(region.departments),
            mail,
            self._digits(pick.choice(region.phone)),
            self._digits(pick.choice(region.mobile)) if pick.random() < 0.6 else None,
            city,
            region.country,
            region.language,
            pick.choice(("lead", "sales_qualified", "opportunity", "customer", "customer")),
            pick.choice(("web", "phone", "referral", "event", "partner", "import")),
            f"C-{number:07d}",
            team,
            territory,
            subject=subject,
        )
        return contact, subject

    def _lead(self, region: Region) -> None:
        pick = self.random
        moment, owner = self._moment(), pick.choice(self.around.owners)
        number = self.index * CHUNK + len(self.chunk.rows["crm.lead"]) + 1
        given, family, name, mail = self._person(region, number)
        subject = self._add("crm.data_subject", moment, owner)
        fresh = (self.end - moment).days < 60
        status = pick.choices(
            ("new", "working", "qualified", "unqualified"), (5, 3, 2, 1) if fresh else (1, 2, 2, 6)
        )[0]
        space = "" if region is names.CHINA else " "
        self._add(
            "crm.lead",
            moment,
            owner,
            subject,
            given,
            family,
            name,
            f"{pick.choice(region.company_heads)}{space}{pick.choice(region.company_tails)}",
            pick.choice(region.titles),
            f"lead-{mail}",
            self._digits(pick.choice(region.phone)),
            pick.choice(region.cities)[0],
            region.country,
            status,
            pick.choice(("hot", "warm", "cold")),
            pick.choice(("web", "event", "referral", "advertising")),
            region.language,
            self.around.territories[region.country],
            subject=subject,
        )

    def _opportunity(  # noqa: PLR0917 - a deal has that many sides
        self,
        region: Region,
        account: str,
        persons: list[tuple[str, str]],
        owner: str,
        employees: int,
        team: str,
        territory: str,
    ) -> None:
        pick = self.random
        moment = self._moment()
        contact, _subject = pick.choice(persons)
        amount = int(pick.lognormvariate(9.2, 0.9) * (1 + employees / 400)) * 100
        amount *= {"CNY": 7, "EUR": 1, "GBP": 1, "USD": 1}[region.currency]
        open_stages = [stage for stage in self.around.stages if stage.kind == "open"]
        won = next(stage for stage in self.around.stages if stage.kind == "won")
        lost = next(stage for stage in self.around.stages if stage.kind == "lost")
        wins = pick.random() < 0.27 + 0.08 * (SEASON[moment.month - 1] - 1) + (
            0.05 if amount < 2_000_000 else 0
        )
        reached = len(open_stages) if wins else pick.randint(1, len(open_stages))
        path: list[tuple[Stage, datetime]] = []
        at = moment
        for stage in [*open_stages[:reached], won if wins else lost]:
            if at > self.end:
                break
            path.append((stage, at))
            at += timedelta(days=pick.lognormvariate(3.1, 0.6))
        stage, since = path[-1]
        closed = since if stage.kind != "open" else None
        forecast = "closed" if stage.kind == "won" else "omitted" if stage.kind == "lost" else "pipeline"
        if stage.kind == "open" and stage.probability >= 60:
            forecast = pick.choice(("best_case", "commit"))
        close = (closed or max(at, self.end) + timedelta(days=pick.randint(3, 120))).date()
        key = self._add(
            "crm.opportunity",
            moment,
            owner,
            f"{pick.choice(names.DEALS[region.language])} {moment.year}",
            account,
            contact,
            self.around.pipeline,
            stage.id,
            amount,
            region.currency,
            stage.probability,
            close,
            stage.kind,
            forecast,
            pick.choice(("price", "competitor", "no_budget", "timing")) if stage.kind == "lost" else None,
            pick.choice(("web", "referral", "event", "partner")),
            closed,
            since,
            team,
            territory,
        )
        self._add("crm.contact_role", moment, owner, contact, key, "decision_maker", pick.randint(3, 5), True)
        if len(persons) > 1:
            other = next(item for item, _s in persons if item != contact)
            self._add(
                "crm.contact_role",
                moment,
                owner,
                other,
                key,
                pick.choice(("influencer", "user", "champion")),
                pick.randint(1, 4),
                False,
            )
        before = None
        for step, when in path:
            self.chunk.rows["crm.stage_change"].append(
                (self._id(when), key, before, step.id, amount, region.currency, when, owner)
            )
            before = step.id

    def _activity(self, region: Region, account: str, contact: str, subject: str, owner: str) -> None:
        pick = self.random
        moment = self._moment()
        kind = pick.choices(("task", "call", "meeting", "mail", "note"), (25, 30, 15, 15, 15))[0]
        words = {"task": names.TASKS, "call": names.CALLS, "meeting": names.MEETINGS, "mail": names.TASKS}
        note = pick.choice(names.NOTES[region.language])
        title = pick.choice(words[kind][region.language]) if kind != "note" else note.rstrip(".。")
        recent = (self.end - moment).days < 20
        is_open = kind in {"task", "meeting", "call"} and recent and pick.random() < 0.6
        due = moment + timedelta(days=pick.randint(1, 21)) if kind == "task" else None
        start = (
            moment + timedelta(days=pick.randint(0, 14) if is_open else 0)
            if kind in {"meeting", "call"}
            else None
        )
        self._add(
            "crm.activity",
            moment,
            owner,
            kind,
            title,
            note if pick.random() < 0.4 else None,
            "open" if is_open else "done",
            pick.choices(("low", "normal", "high", "urgent"), (10, 70, 15, 5))[0],
            pick.choice(("in", "out")) if kind in {"call", "mail"} else None,
            due,
            start,
            start + timedelta(minutes=45) if start else None,
            None if is_open else moment + timedelta(hours=2),
            account,
            contact,
            None,
            subject,
            subject=subject,
        )

    def _case(self, region: Region, account: str, contact: str, subject: str) -> None:
        pick = self.random
        moment = self._moment()
        fresh = (self.end - moment).days < 14
        status = (
            pick.choice(("new", "open", "waiting", "resolved"))
            if fresh
            else pick.choice(("resolved", "closed"))
        )
        resolved = (
            moment + timedelta(hours=pick.lognormvariate(2.5, 1))
            if status in {"resolved", "closed"}
            else None
        )
        if resolved is not None:
            resolved = min(resolved, self.end)
        self._add(
            "crm.case",
            moment,
            pick.choice(self.around.owners),
            self.case_number,
            pick.choice(names.CASES[region.language]),
            status,
            pick.choices(("low", "normal", "high", "urgent"), (15, 55, 22, 8))[0],
            pick.choice(("mail", "phone", "web", "portal", "chat")),
            account,
            contact,
            subject,
            resolved,
            resolved + timedelta(days=3) if status == "closed" and resolved else None,
            subject=subject,
        )
        self.case_number += 1


_ASCII = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "é": "e", "ë": "e", "â": "a", "ï": "i", "ô": "o"}
)
