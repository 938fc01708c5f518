"""Names are written as their bearers write them."""

from __future__ import annotations

import pytest

from crm_server.domain.names import compose


@pytest.mark.parametrize(
    "family,given,language,whole",
    [
        ("Beispiel", "Anna", "de", "Anna Beispiel"),
        ("Beispiel", None, "de", "Beispiel"),
        ("王", "小明", "zh_Hans", "王小明"),
        ("王", "小明", None, "王小明"),
        ("山田", "さくら", "ja", "山田さくら"),
        ("김", "민수", "ko", "김민수"),
        ("Wang", "Xiaoming", "zh_Hans", "Xiaoming Wang"),
        ("王", "David", "zh_Hans", "David 王"),
        ("Minta", "János", "hu", "Minta János"),
        ("O'Sample", "Zoë", "en", "Zoë O'Sample"),
    ],
)
def test_the_order_of_a_name_follows_script_and_language(
    family: str, given: str | None, language: str | None, whole: str
) -> None:
    assert compose(family, given, language) == whole
