"""The index agrees with a plain reference, whichever way it takes, and forgets what it is told to forget."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from crm_server.models import datamap
from crm_server.search import finding, orders, records, walking
from crm_server.search.engine import Engine
from crm_server.search.fields import indexed
from crm_server.search.folding import fold, forms, plain, sort_key
from crm_server.search.protocol import Every, Find, Hits, Ids, Match, Never, Refused, Some, Tree, Walk
from crm_server.search.protocol import Test as Condition
from crm_server.search.texts import Doc, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

HELD = indexed(datamap()["contact"])
assert HELD is not None
NUMBERS = {item.name: item.number for item in HELD.fields}
NAMES = [
    "Anna Muster",
    "anna  mann",
    "Änne Mühl",
    "Bo",
    "曾伟",
    "王小明",
    "Xu",
    "O'Neil Ann",
    "Zoë",
    "Ł",
    None,
]
CITIES = ["Berlin", "Köln", "上海", None]


def doc(number: int, chance: random.Random, *, deleted: bool = False) -> Doc:
    values = {
        "name": chance.choice(NAMES),
        "city": chance.choice(CITIES),
        "birth_date": chance.choice(["1980-02-01", "1999-12-31", None]),
        "email": chance.choice([f"Nr{number}@firma.example", None]),
    }
    key = chance.randrange(2**127).to_bytes(16, "big")
    return Doc(key, deleted, chance.randrange(40), tuple(values.get(item.name) for item in HELD.fields))


def test_records_are_made_ready_together_as_each_alone() -> None:
    chance = random.Random(3)
    docs = [doc(number, chance, deleted=number % 5 == 0) for number in range(60)]
    together, alone = prepare(HELD, docs), [prepare(HELD, [one]) for one in docs]
    assert together.ids == b"".join(one.ids for one in alone)
    assert together.states == b"".join(one.states for one in alone)
    assert together.values == [value for one in alone for value in one.values]
    assert together.texts == [text for one in alone for text in one.texts]
    assert together.words == dict(sum((Counter(one.words) for one in alone), Counter()))


class World:
    """An engine and, beside it, what it should hold."""

    def __init__(self) -> None:
        chance = random.Random(11)
        self.engine = Engine([HELD])
        loaded = sorted((doc(n, chance, deleted=n % 17 == 0) for n in range(150)), key=lambda one: one.id)
        for start in range(0, 150, 40):
            self.engine.load(HELD.number, [prepare(HELD, loaded[start : start + 40])])
        self.engine.finish()
        self.docs = {one.id: one for one in loaded}
        for field in (HELD.created, NUMBERS["name"], NUMBERS["birth_date"]):
            self.engine.make_order(HELD.number, field)
        for number in range(150, 260):
            self.put(doc(number, chance))
        for one in chance.sample(list(self.docs.values()), 60):
            self.put(Doc(one.id, chance.random() < 0.3, one.created, doc(0, chance).values))
        for key in chance.sample(list(self.docs), 40):
            assert self.engine.drop(HELD.number, [key]) == 1
            del self.docs[key]
        self.reader = frozenset(chance.sample(list(self.docs), 90))

    def put(self, one: Doc) -> None:
        self.engine.put(HELD.number, [one])
        self.docs[one.id] = one

    def value(self, key: bytes, field: int) -> Any:
        if field == HELD.created:
            return self.docs[key].created
        return self.docs[key].values[HELD.place(field) or 0]

    def holds(self, tree: Tree | None, key: bytes) -> bool:  # noqa: PLR0911 - one a condition
        if tree is None:
            return True
        if isinstance(tree, Condition):
            value = self.value(key, tree.field)
            if tree.op == "is_null":
                return (value is None) is tree.value
            if value is None:
                return False
            match tree.op:
                case "contains":
                    return fold(tree.value) in fold(value)
                case "starts_with":
                    return fold(value).startswith(fold(tree.value))
                case "lt":
                    return bool(value < tree.value)
            return bool(value == tree.value)
        if isinstance(tree, Never):
            return not self.holds(tree.item, key)
        assert isinstance(tree, Every | Some)
        return (all if isinstance(tree, Every) else any)(self.holds(item, key) for item in tree.items)

    def ordered(self, field: int, *, descending: bool) -> list[bytes]:
        def place(key: bytes) -> tuple[Any, bytes]:
            value = self.value(key, field)
            return (sort_key(value) if isinstance(value, str) else value), key

        filled = sorted(
            (key for key in self.docs if self.value(key, field) is not None), key=place, reverse=descending
        )
        empty = sorted((key for key in self.docs if self.value(key, field) is None), reverse=descending)
        return filled + empty


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orders, "_BLOCK", 8)
        patch.setattr(records, "_WASTE", 500)
        made = World()
        yield made
        made.engine.close()


parts = st.sampled_from(
    [
        "a",
        "an",
        "nn",
        "mus",
        "mann",
        "ö",
        "曾",
        "小明",
        " ",
        "x",
        "o'n",
        "ł",
        "firma",
        "nr1",
        "ä",
        "Ü",
        "na ",
        " m",
    ]
)
conditions = st.one_of(
    st.builds(
        Condition,
        st.sampled_from([NUMBERS[name] for name in ("name", "city", "email")]),
        st.sampled_from(["contains", "starts_with"]),
        parts,
    ),
    st.builds(Condition, st.just(NUMBERS["birth_date"]), st.just("lt"), st.just("1990-01-01")),
    st.builds(
        Condition,
        st.sampled_from([NUMBERS["name"], NUMBERS["birth_date"]]),
        st.just("is_null"),
        st.booleans(),
    ),
    st.builds(Condition, st.just(NUMBERS["name"]), st.just("eq"), st.sampled_from([n for n in NAMES if n])),
)
trees = st.one_of(
    st.none(),
    conditions,
    st.builds(Never, conditions),
    st.builds(Every, st.tuples(conditions, conditions)),
    st.builds(Some, st.tuples(conditions, conditions)),
)
# Very small and very large bounds make each way be taken.
bounds = st.fixed_dictionaries(
    {
        "_NAMED": st.sampled_from([0, 1, 10_000]),
        "_ASKED_AFTER": st.sampled_from([1, 100]),
        "_STRETCH": st.sampled_from([0.001, 10_000]),
        "_STEPS": st.sampled_from([0, 100_000]),
    }
)


class TestWalking:
    @given(
        tree=trees,
        field=st.sampled_from([HELD.created, NUMBERS["name"], NUMBERS["birth_date"]]),
        descending=st.booleans(),
        pool=st.sampled_from(["all", "reader", "nobody"]),
        count=st.integers(1, 40),
        bound=bounds,
        deleted=st.booleans(),
    )
    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_pages_forth_and_back_are_those_of_a_plain_reference(  # noqa: PLR0917 - given by name
        self,
        world: World,
        tree: Tree | None,
        field: int,
        descending: bool,
        pool: str,
        count: int,
        bound: dict[str, Any],
        deleted: bool,
    ) -> None:
        within = {"all": None, "reader": b"".join(sorted(world.reader)), "nobody": b""}[pool]
        wanted = [
            key
            for key in world.ordered(field, descending=descending)
            if world.holds(tree, key)
            and world.docs[key].deleted is deleted
            and (within is None or (pool == "reader" and key in world.reader))
        ]
        with pytest.MonkeyPatch.context() as patch:
            for name, value in bound.items():
                patch.setattr(walking, name, value)
            found: list[bytes] = []
            after = None
            while True:
                page = world.engine.walk(
                    Walk(HELD.number, field, descending, count, deleted, after, None, False, tree, within)
                )
                assert isinstance(page, Ids)
                found += split(page.ids)
                if not page.more:
                    break
                after = found[-1]
            assert found == wanted
            if len(wanted) > 1:
                back = world.engine.walk(
                    Walk(HELD.number, field, descending, 400, deleted, wanted[-1], None, True, tree, within)
                )
                assert isinstance(back, Ids)
                assert split(back.ids) == wanted[-2::-1]
            match = (
                world.engine.match(Match(HELD.number, tree or Every(()), 1_000, deleted))
                if within is None
                else None
            )
            assert match is None or sorted(split(match.ids)) == sorted(wanted)

    def test_what_a_reader_sees_is_asked_for_once_and_what_has_changed_since_is_among_it(
        self, world: World
    ) -> None:
        asked = Walk(HELD.number, HELD.created, True, 400, reader=b"somebody")
        assert world.engine.walk(asked) == Refused("unseen")
        named = Walk(HELD.number, HELD.created, True, 400, within=b"", reader=b"somebody")
        before = world.engine.walk(named)
        assert isinstance(before, Ids)
        fresh = doc(999, random.Random(5))
        world.put(fresh)
        after = world.engine.walk(asked)
        assert isinstance(after, Ids)
        assert set(split(after.ids)) - set(split(before.ids)) == {fresh.id}


class TestCandidates:
    def test_a_part_of_a_title_names_no_record_that_has_it_in_its_mail_address_alone(
        self, world: World
    ) -> None:
        store = world.engine.stores[HELD.number]
        with world.engine._reading() as connection:
            named = {
                field: set(
                    walking.Sieve(
                        store, connection, Condition(NUMBERS[field], "contains", "irma"), None
                    ).named()
                )
                for field in ("name", "email")
            }
        holders = {key for key, one in world.docs.items() if "firma" in str(one.values)}
        assert named["name"] == set()
        assert {store.records.id_of(slot) for slot in named["email"]} == holders

    def test_the_beginning_of_a_title_is_a_stretch_of_its_order(self, world: World) -> None:
        store = world.engine.stores[HELD.number]
        world.engine.make_order(HELD.number, NUMBERS["name"])
        place = HELD.place(NUMBERS["name"])
        assert place is not None
        for text in ("ann", "Än", "王", "o'", "x"):
            found = walking.starting(Condition(NUMBERS["name"], "starts_with", text), store)
            assert found is not None
            slots = list(found[1])
            names = {str(store.values(slot)[place]) for slot in slots}
            assert len(slots) == found[0]
            assert {name for name in NAMES if name and fold(name).startswith(fold(text))} <= names
            assert len(names) < len(NAMES) // 2


class TestFinding:
    @pytest.mark.parametrize("named", [0, 10_000])
    @pytest.mark.parametrize(
        "words",
        [
            "ann",
            "anna mus",
            "mus an",
            "änne",
            "nr1",
            "firma",
            "x",
            "bo",
            "曾",
            "小明",
            "zengwei",
            "o'neil",
            "é",
            "mus a",
            "ann x",
        ],
    )
    def test_who_sees_some_finds_what_of_all_that_fits_they_see(
        self, world: World, words: str, named: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(finding, "_NAMED", named)
        monkeypatch.setattr(finding, "_ENOUGH", 0)  # Typing mistakes are forgiven by how many fit.
        fields = (NUMBERS["name"], NUMBERS["email"])
        asked = Find(words, {HELD.number: fields}, 400)
        every = world.engine.find(asked)
        some = world.engine.find(structs.replace(asked, within=b"".join(world.reader)))
        few = world.engine.find(structs.replace(asked, limit=5, within=b"".join(world.reader)))
        assert isinstance(every, Hits)
        assert isinstance(some, Hits)
        assert isinstance(few, Hits)
        assert some.hits == [hit for hit in every.hits if hit.id in world.reader]
        assert {hit.id for hit in few.hits} <= {hit.id for hit in some.hits}
        # One or two Latin letters are found where a word begins.
        wanted = [
            f" {plain(word)}" if len(word) < 3 and word < "\u3400" else plain(word) for word in words.split()
        ]
        assert {hit.id for hit in every.hits} == {
            key
            for key, one in world.docs.items()
            if not one.deleted
            and all(
                any(word in f" {form}" for field in fields for form in forms(world.value(key, field) or ""))
                for word in wanted
            )
        }


class TestForgetting:
    def test_nothing_of_a_dropped_or_changed_record_stays_among_the_values(self) -> None:
        engine = Engine([HELD])
        place = HELD.place(NUMBERS["name"])
        assert place is not None
        for name in ("Verschwindibus", "Nachfolgerin"):
            values: list[Any] = [None] * len(HELD.fields)
            values[place] = name
            engine.put(HELD.number, [Doc(b"k" * 16, False, 1, tuple(values))])
        held = engine.stores[HELD.number].records
        assert b"Verschwindibus" not in held._values
        assert b"Nachfolgerin" in held._values
        engine.drop(HELD.number, [b"k" * 16])
        assert b"Nachfolgerin" not in held._values
        hits = engine.find(Find("Nachfolgerin", {HELD.number: (NUMBERS["name"],)}, 5))
        assert not isinstance(hits, Refused)
        assert hits.hits == []
        engine.close()


def split(ids: bytes) -> list[bytes]:
    return [ids[at : at + 16] for at in range(0, len(ids), 16)]
