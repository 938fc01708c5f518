"""The quick ways of folding a text give what the definition gives."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_server.search.folding import SMALL, fold, is_simple, plain, plain_all, romanised, small, tidied

LETTERS = st.characters(min_codepoint=0x20, max_codepoint=0x180) | st.sampled_from(
    "\t\n\u3000曾伟王小明㐀豈𠀀ﬁ①Ω\u0301"
)


def defined(text: str) -> str:
    """Folded, without accents, with single spaces: by the words of the definition."""
    bare = "".join(
        sign for sign in unicodedata.normalize("NFKD", fold(text)) if not unicodedata.combining(sign)
    )
    return " ".join(unicodedata.normalize("NFC", bare).split())


@given(st.text(LETTERS, max_size=12))
def test_a_plain_text_is_folded_without_accents_and_with_single_spaces(text: str) -> None:
    assert plain(text) == defined(text)


@given(st.lists(st.text(LETTERS, max_size=6), max_size=9))
def test_many_texts_are_folded_together_as_each_alone(texts: list[str]) -> None:
    assert plain_all(tidied(texts)) == [plain(text) for text in texts]


@given(st.text(LETTERS, max_size=12))
def test_a_folded_text_is_normal_without_regard_to_case(text: str) -> None:
    assert fold(text) == unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@given(st.text(LETTERS, max_size=12), st.integers(0, 11), st.integers(1, 4))
def test_a_part_of_a_simple_text_stands_in_its_bytes(text: str, start: int, length: int) -> None:
    part = small(fold(text)[start : start + length])
    assert part is None or not is_simple(text) or part in text.encode().translate(SMALL)


@pytest.mark.parametrize(
    "name, readings",
    [
        ("张伟", ("zhangwei", "zw")),
        ("曾伟", ("zengwei", "zw", "cengwei", "cw")),
        ("Anna 王", ("wang", "w")),
        ("Anna", ()),
    ],
)
def test_a_chinese_name_is_read_whole_and_by_initials_and_its_surname_as_one(
    name: str, readings: tuple[str, ...]
) -> None:
    assert romanised(name) == readings
