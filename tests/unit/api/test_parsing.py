from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_server.api.body import too_deep
from crm_server.kernel.errors import BadQuery
from crm_server.kernel.listing import (
    Condition,
    Group,
    ListQuery,
    Negation,
    Sort,
    parse_document,
    parse_filter,
    parse_parameters,
)
from crm_server.kernel.listing.cursors import BadCursorError, Place, decode, encode, list_mark

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["and", "or", "not", "field", "op", "value", "x"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


class TestParameters:
    def test_all_parameters_are_understood(self) -> None:
        query = parse_parameters(
            [
                ("filter[name][contains]", "x"),
                ("filter[country]", "DE"),
                ("sort", "-name"),
                ("fields", "name,email"),
                ("include", "account"),
                ("limit", "20"),
                ("deleted", "true"),
                ("count", "exact"),
                ("q", " text "),
            ]
        )
        assert query == ListQuery(
            filter=Group("and", (Condition("name", "contains", "x"), Condition("country", "eq", "DE"))),
            q="text",
            sort=Sort("name", descending=True),
            fields=("name", "email"),
            includes=("account",),
            limit=20,
            deleted=True,
            count="exact",
        )

    @pytest.mark.parametrize(
        "name,value",
        [
            ("limit", "0"), ("limit", "201"), ("limit", "x"), ("limit", "١"), ("limit", "9" * 40), ("deleted", "yes"),
            ("count", "all"), ("sort", "a,b"), ("sort", ""), ("q", ""), ("q", " "), ("filter", "{"), ("filter", "null"),
            ("filter", "[]"), ("nonsense", "1"), ("filter[", "1"), ("filter[a][]", "1"),
        ],
    )  # fmt: skip
    def test_an_error_names_the_parameter(self, name: str, value: str) -> None:
        with pytest.raises(BadQuery) as refused:
            parse_parameters([(name, value)])
        assert refused.value.extra["parameter"].startswith(name[:6])

    def test_a_parameter_stands_once(self) -> None:
        with pytest.raises(BadQuery):
            parse_parameters([("limit", "1"), ("limit", "2")])

    def test_lists_in_addresses_are_divided_by_commas(self) -> None:
        query = parse_parameters([("filter[country][in]", "DE,FR")])
        assert query.filter == Condition("country", "in", ["DE", "FR"])


class TestFilters:
    def test_groups_and_negations_nest(self) -> None:
        found = parse_filter(
            {"or": [{"field": "a", "value": 1}, {"not": {"field": "b", "op": "gt", "value": 2}}]}
        )
        assert found == Group("or", (Condition("a", "eq", 1), Negation(Condition("b", "gt", 2))))

    @pytest.mark.parametrize(
        "node",
        [
            1, [], {}, {"field": "a"}, {"field": 1, "value": 1}, {"field": "a", "value": 1, "x": 1}, {"and": {}},
            {"and": [], "or": []}, {"not": []}, {"not": {"field": "a", "value": 1}, "x": 1},
            {"and": [{"field": "a", "value": 1}] * 51},
            {"not": {"not": {"not": {"not": {"not": {"field": "a", "value": 1}}}}}},

        ],
    )  # fmt: skip
    def test_anything_else_is_refused(self, node: Any) -> None:
        with pytest.raises(BadQuery):
            parse_filter(node)

    def test_the_error_points_to_the_place(self) -> None:
        with pytest.raises(BadQuery) as refused:
            parse_filter({"and": [{"field": "a", "value": 1}, {"or": [{"field": "b"}]}]})
        assert refused.value.extra["parameter"] == "filter/and/1/or/0"

    @given(st.dictionaries(st.sampled_from(["filter", "q", "sort", "limit", "fields", "cursor", "x"]), JSON))
    def test_any_document_is_understood_or_refused(self, document: dict[str, Any]) -> None:
        with contextlib.suppress(BadQuery):
            assert isinstance(parse_document(document), ListQuery)


class TestCursors:
    MARK = list_mark("contact", "name", descending=False, deleted=False)
    KEY = "0190a7c2-7b1e-7c3a-9d52-3f6a1c2b4d5e"

    @given(st.none() | st.text() | st.integers(-(2**53), 2**53) | st.booleans(), st.booleans())
    def test_a_cursor_comes_back_as_it_went(self, value: Any, backward: bool) -> None:
        place = Place(value, self.KEY, backward)
        assert decode(encode(place, self.MARK), self.MARK) == place

    def test_a_cursor_is_bound_to_its_list(self) -> None:
        text = encode(Place("x", self.KEY), self.MARK)
        for other in (
            list_mark("contact", "name", descending=True, deleted=False),
            list_mark("contact", "email", descending=False, deleted=False),
            list_mark("account", "name", descending=False, deleted=False),
            list_mark("contact", "name", descending=False, deleted=True),
        ):
            with pytest.raises(BadCursorError):
                decode(text, other)

    @given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
    def test_no_forged_cursor_is_taken(self, text: str) -> None:
        with pytest.raises(BadCursorError):
            decode(text, self.MARK)


class TestDepth:
    @pytest.mark.parametrize("depth,deep", [(1, False), (20, False), (21, True), (900, True)])
    def test_nesting_is_counted(self, depth: int, deep: bool) -> None:
        value: Any = 1
        for number in range(depth):
            value = {"a": value} if number % 2 else [value]
        assert too_deep(value, 20) is deep
