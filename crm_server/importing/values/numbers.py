"""Numbers, money and shares as people write them: ``1,234.56``, ``1.234,56 €``, ``(1 234)``, ``¥1.2万``,
``40 %``.

As with dates, the column decides what its separators mean (``NumberEvidence``).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

from babel.numbers import get_currency_precision, list_currencies

from crm_server.importing.errors import ValueProblem, _

__all__ = [
    "Amount",
    "NumberEvidence",
    "Separator",
    "parse_boolean",
    "parse_money",
    "parse_number",
    "parse_percent",
]

Separator = Literal[".", ","]

_SYMBOLS = {"€": "EUR", "£": "GBP", "US$": "USD", "HK$": "HKD", "A$": "AUD", "C$": "CAD", "S$": "SGD", "NT$": "TWD",
            "CN¥": "CNY", "¥": "CNY", "元": "CNY", "人民币": "CNY", "RMB": "CNY", "円": "JPY", "JP¥": "JPY", "₩": "KRW",
            "₹": "INR", "$": "USD", "FR.": "CHF", "SFR": "CHF", "KR": "SEK"}  # fmt: skip
_SYMBOL = re.compile(
    "|".join(re.escape(symbol) for symbol in sorted(_SYMBOLS, key=len, reverse=True)), re.IGNORECASE
)
_CODE = re.compile(r"(?<![A-Z])[A-Z]{3}(?![A-Z])")
_UNITS = {"万": Decimal(10_000), "亿": Decimal(100_000_000)}
_DIGITS = re.compile(r"[\d.,\s'’]*\d")
_YES = frozenset(
    ["1", "true", "t", "yes", "y", "ja", "j", "wahr", "on", "x", "✓", "√", "是", "真", "对", "有", "已", "开"]
)
_NO = frozenset(["0", "false", "f", "no", "n", "nein", "falsch", "off", "否", "假", "不", "无", "未", "关"])


@dataclass(frozen=True, slots=True)
class Amount:
    """A sum of money; ``currency`` is the ISO 4217 code that the text named, or None."""

    value: Decimal
    currency: str | None

    def minor(self, currency: str) -> int:
        """The sum in minor units of ``currency`` (cents), which the text's precision must fit.

        Raises ValueProblem ``money.precision``.
        """
        scaled = self.value.scaleb(get_currency_precision(currency))
        if scaled != scaled.to_integral_value():
            raise ValueProblem("money.precision", _("The amount has more decimal places than its currency."))
        return int(scaled)


@dataclass(slots=True)
class NumberEvidence:
    """What a column's numbers say about their decimal separator, and whether shares are written as 0.4 or as
    40.
    """

    point: int = 0
    comma: int = 0
    either: int = 0
    fractions: int = 0
    above_one: int = 0

    def add(self, text: str) -> None:
        """Counts one cell."""
        match = _DIGITS.search(_clean(text))
        if match is None:
            return
        digits = match[0]
        kind = _decimal_mark(digits)
        if kind == ".":
            self.point += 1
        elif kind == ",":
            self.comma += 1
        elif "." in digits or "," in digits:
            self.either += 1
        if digits.startswith(("0.", "0,")) or digits in {"1.0", "1,0"}:
            self.fractions += 1
        elif digits.strip("0.,") not in {"", "1"}:
            self.above_one += 1

    def separator(self, default: Separator = ".") -> Separator:
        """The decimal separator with more evidence, else ``default``."""
        if self.point == self.comma:
            return default
        return "." if self.point > self.comma else ","

    @property
    def ambiguous(self) -> bool:
        """Whether there are numbers such as ``1.234`` and none that tells what the mark means."""
        return bool(self.either) and not self.point and not self.comma

    @property
    def shares(self) -> bool:
        """Whether the column holds shares between 0 and 1 rather than percentages."""
        return bool(self.fractions) and not self.above_one


def _decimal_mark(digits: str) -> str | None:
    """The decimal mark that the digits alone prove, or None."""
    points, commas = digits.count("."), digits.count(",")
    if points and commas:
        return "." if digits.rfind(".") > digits.rfind(",") else ","
    for mark, count in ((".", points), (",", commas)):
        if count > 1:
            return "," if mark == "." else "."
        if count == 1 and len(digits) - digits.rfind(mark) - 1 != 3:
            return mark
        if count == 1 and digits.startswith("0" + mark):
            return mark
    return None


def _clean(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("−", "-").strip().lstrip("'")


def parse_number(text: str, separator: Separator = ".") -> Decimal:
    """The number in ``text`` with ``separator`` as its decimal mark.

    Accepts signs before and behind, parentheses for negative sums, blanks and apostrophes between thousands,
    and the Chinese units 万 (10⁴) and 亿 (10⁸). Raises ValueProblem ``number.unreadable``.
    """
    clean = _clean(text)
    negative = clean.startswith(("-", "(")) or clean.endswith("-")
    clean = clean.strip("()+- \u00a0")
    factor = Decimal(1)
    for unit, size in _UNITS.items():
        if clean.endswith(unit):
            clean, factor = clean[: -len(unit)], size
    if not clean or not _DIGITS.fullmatch(clean):
        raise _unreadable()
    # What the digits prove counts more than what the column usually does.
    mark = _decimal_mark(clean) or separator
    thousands = "," if mark == "." else "."
    plain = re.sub(r"[\s'’]", "", clean)
    if thousands in plain:
        whole = plain.partition(mark)[0]
        groups = whole.split(thousands)
        if len(groups[0]) > 3 or any(len(group) != 3 for group in groups[1:]):
            raise _unreadable()
        plain = plain.replace(thousands, "")
    try:
        value = Decimal(plain.replace(mark, ".")) * factor
    except InvalidOperation as error:
        raise _unreadable() from error
    return -value if negative else value


def _unreadable() -> ValueProblem:
    return ValueProblem("number.unreadable", _("The number can't be read. Write it as 1234.56."))


_CURRENCIES = frozenset(list_currencies())


def parse_money(text: str, separator: Separator = ".") -> Amount:
    """The sum in ``text`` with the currency that its sign or code names.

    ``¥`` means yuan and ``$`` US dollars, unless the text is more exact. Raises ValueProblem
    ``number.unreadable``.
    """
    clean = _clean(text)
    currency: str | None = None
    if (code := _CODE.search(clean)) and code[0] in _CURRENCIES:
        currency = code[0]
        clean = clean[: code.start()] + clean[code.end() :]
    if symbol := _SYMBOL.search(clean):
        currency = currency or _SYMBOLS[symbol[0].upper()]
        clean = _SYMBOL.sub("", clean)
    return Amount(parse_number(clean, separator), currency)


def parse_percent(text: str, separator: Separator = ".", *, shares: bool = False) -> Decimal:
    """A percentage between 0 and 100; with ``shares`` the column writes 0.4 for 40 %.

    Raises ValueProblem ``number.unreadable`` or ``percent.range``.
    """
    clean = _clean(text)
    signed = clean.endswith("%")
    value = parse_number(clean.removesuffix("%"), separator)
    if shares and not signed:
        value *= 100
    if not 0 <= value <= 100:
        raise ValueProblem("percent.range", _("The percentage is not between 0 and 100."))
    return value


def parse_boolean(text: str) -> bool:
    """Yes or no in English, German or Chinese, or 1 and 0. Raises ValueProblem ``boolean.unreadable``."""
    word = _clean(text).casefold()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise ValueProblem("boolean.unreadable", _("Neither yes nor no. Write “yes” or “no”."))
