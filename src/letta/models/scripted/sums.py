"""Small sums in plain text: numbers, + - * / % ^ and brackets, exact. No names, no functions; no code is evaluated."""

import re
from fractions import Fraction

_LONGEST = 200
_MOST_BITS = 20_000
_WORDS = (
    ("divided by", "/"),
    ("multiplied by", "*"),
    ("times", "*"),
    ("plus", "+"),
    ("minus", "-"),
    ("×", "*"),
    ("÷", "/"),
)
_ASKED = re.compile(
    r"(?:^|\b(?:what(?:'s|’s| is)|calculate|compute|how much is|evaluate)\s)\s*(?P<sum>[-+(\d.][\d\s.,+\-*/%^()]*)",
    re.IGNORECASE,
)
_NO_SUM = re.compile(r"^\d{4}-\d\d-\d\d\b|^\d+(?:-\d{2,})+$")
_TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+|\*\*|[-+*/%^()])")


class NoSumError(ValueError):
    """The text is no sum this module can work out; the message says why."""


def find_sum(text: str) -> str | None:
    """The sum a text asks for, or None. "What is 2 plus 3?" gives "2 + 3"."""
    for word, sign in _WORDS:
        text = re.sub(rf"\b{word}\b" if word.isascii() else word, sign, text, flags=re.IGNORECASE)
    match = _ASKED.search(text[: 2 * _LONGEST])
    found = match["sum"].strip().rstrip(".,") if match else ""
    rest = text[match.end("sum") :].strip(" ?!.=") if match else ""
    # Dates, telephone numbers and bare numbers are no sums; words after the numbers mean that something else is asked.
    if _NO_SUM.match(found) or not re.search(r"[\d)]\s*(?:[+*/%^]|-)\s*[-(\d.]", found) or re.search(r"\w", rest):
        return None
    return re.sub(r"(?<=\d),(?=\d{3}\b)", "", found)


def work_out(text: str) -> str:
    """The value of a sum as text: `7`, `0.3` or, when it does not end, ten decimals.

    Raises:
        NoSumError: for division by zero, broken brackets, or numbers that would grow beyond a few thousand digits.
    """
    if len(text) > _LONGEST:
        raise NoSumError(f"it is longer than {_LONGEST} characters")
    tokens = _tokens(text)
    value = _sum(tokens)
    if tokens:
        raise NoSumError(f"{tokens[-1]!r} stands where a sign is expected")
    return _shown(value)


def _shown(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.10f}".rstrip("0").rstrip(".")


def _tokens(text: str) -> list[str]:
    """The tokens, last first, so that the next one is popped from the end."""
    found, at = [], 0
    text = text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise NoSumError(f"{text[at]!r} is not part of a sum")
        found.append("^" if match[1] == "**" else match[1])
        at = match.end()
    return found[::-1]


def _sum(tokens: list[str]) -> Fraction:
    value = _product(tokens)
    while tokens and tokens[-1] in "+-":
        sign = tokens.pop()
        other = _product(tokens)
        value = value + other if sign == "+" else value - other
    return value


def _product(tokens: list[str]) -> Fraction:
    value = _signed(tokens)
    while tokens and tokens[-1] in "*/%":
        sign = tokens.pop()
        other = _signed(tokens)
        if sign != "*" and other == 0:
            raise NoSumError("it divides by zero")
        value = value * other if sign == "*" else value / other if sign == "/" else value % other
    return value


def _signed(tokens: list[str]) -> Fraction:
    if tokens and tokens[-1] in "+-":
        return _signed(tokens) if tokens.pop() == "+" else -_signed(tokens)
    return _power(tokens)


def _power(tokens: list[str]) -> Fraction:
    base = _number(tokens)
    if not tokens or tokens[-1] != "^":
        return base
    tokens.pop()
    exponent = _signed(tokens)
    if exponent.denominator != 1:
        raise NoSumError("powers must be whole numbers")
    if base == 0 and exponent < 0:
        raise NoSumError("it divides by zero")
    if abs(exponent.numerator) * max(base.numerator.bit_length(), base.denominator.bit_length()) > _MOST_BITS:
        raise NoSumError("the result is too large")
    return base**exponent.numerator


def _number(tokens: list[str]) -> Fraction:
    if not tokens:
        raise NoSumError("it ends too early")
    sign = tokens.pop()
    if sign == "(":
        value = _sum(tokens)
        if not tokens or tokens.pop() != ")":
            raise NoSumError("a bracket is not closed")
        return value
    if not (sign[0].isdigit() or sign[0] == "."):
        raise NoSumError(f"{sign!r} stands where a number is expected")
    return Fraction(sign)
