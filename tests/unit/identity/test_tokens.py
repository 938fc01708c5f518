"""API tokens (AUTH-18)."""

from hypothesis import given
from hypothesis import strategies as st

from security.identity.tokens import PresentedToken, new_api_token, parse_api_token


def test_a_token_names_itself_and_hides_its_secret() -> None:
    token = new_api_token()
    prefix, public_id, rest = token.text.split("_")
    assert (prefix, public_id, len(rest)) == ("kntr", token.public_id, 49)
    assert rest not in repr(token)
    assert parse_api_token(token.text) == PresentedToken(token.public_id, token.digest)


def test_every_mistyped_character_is_noticed_without_a_query() -> None:
    text = new_api_token().text
    for position in range(len(text)):
        wrong = text[:position] + ("0" if text[position] != "0" else "1") + text[position + 1 :]
        assert parse_api_token(wrong) is None


@given(st.text(max_size=120))
def test_arbitrary_text_is_no_token(text: str) -> None:
    assert parse_api_token(text) is None
