"""Condition operators: one function and one row of the table for each family.

A family's function takes the policy's values and gives a test: does this value of the request match one of them? All
else is the same for every family: negation, `IfExists`, `ForAllValues`, `ForAnyValue`, and what an absent key means.

Source: IAM user guide, "IAM JSON policy elements: Condition operators", "Creating a condition with multiple keys or values".
To add an operator: write its family's function, add its row.
"""

from __future__ import annotations

import base64
import ipaddress
import operator
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from msgspec import Struct

from longshore.aws.clock import EPOCH
from longshore.policy import match
from longshore.policy.match import Context

Test = Callable[[str, Context], bool]  # a request's value and the whole context (for variables)
Family = Callable[[Sequence[str], bool], Test]  # the policy's values, whether variables are known


class MalformedValue(ValueError):
    """A value that its operator can't read: `NumericEquals` with `ten`."""


class MalformedBinary(ValueError):
    """BinaryEquals with a value that is not base64: refused as a syntax error, unlike all others."""


# Strings ----------------------------------------------------------------------------------------------------------


def string_equals(values: Sequence[str], variables: bool) -> Test:
    return _equal_to(values, variables, str)


def string_equals_ignore_case(values: Sequence[str], variables: bool) -> Test:
    return _equal_to(values, variables, str.lower)


def string_like(values: Sequence[str], variables: bool) -> Test:
    cuts = [match.pieces(value, variables=variables) for value in values]
    static = [match.expression(cut, {}) or "" for cut in cuts if match.is_static(cut)]
    moving = [cut for cut in cuts if not match.is_static(cut)]
    fixed = re.compile("|".join(static), re.DOTALL) if static else None

    def test(value: str, context: Context) -> bool:
        if fixed is not None and fixed.fullmatch(value):
            return True
        for cut in moving:
            source = match.expression(cut, context)
            if source is not None and match.compiled(source).fullmatch(value):
                return True
        return False

    return test


def _equal_to(values: Sequence[str], variables: bool, fold: Callable[[str], str]) -> Test:
    cuts = [match.pieces(value, variables=variables) for value in values]
    static = frozenset(fold(match.plain(cut, {}) or "") for cut in cuts if match.is_static(cut))
    moving = [cut for cut in cuts if not match.is_static(cut)]
    if not moving:
        return lambda value, context: fold(value) in static

    def test(value: str, context: Context) -> bool:
        folded = fold(value)
        if folded in static:
            return True
        texts = (match.plain(cut, context) for cut in moving)
        return any(text is not None and fold(text) == folded for text in texts)

    return test


# Numbers and times -------------------------------------------------------------------------------------------------


_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def _number(text: str) -> Decimal:
    # Python's own reading would take more for a number: `1_000`, `NaN`, digits of other scripts.
    if _NUMBER.fullmatch(text.strip()) is None:
        raise MalformedValue(text)
    return Decimal(text)


# W3C date-times in the shapes that AWS was seen to take: any part from the right may be missing.
_DATE = re.compile(
    r"(?P<year>\d{1,4})(?:-(?P<month>\d{1,2})(?:-(?P<day>\d{1,2}))?)?"
    r"(?:[Tt](?:(?P<hour>\d{1,2})(?::(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:\.(?P<fraction>\d{1,9}))?)?)?)?"
    r"(?P<zone>[Zz]|[+-]\d{2}(?::?\d{2})?)?)?"
)
_LONGEST_YEAR = 4  # Digits. More of them are epoch seconds.
_EPOCH_MAX = 2**63 - 1


def _moment(text: str) -> Decimal:
    """Epoch seconds of a W3C date-time, or of epoch seconds."""
    text = text.strip()
    if re.fullmatch(r"-?\d+(\.\d+)?", text) and (text.startswith("-") or len(text) > _LONGEST_YEAR):
        number = Decimal(text)
        if abs(number) > _EPOCH_MAX:
            raise MalformedValue(text)
        return number
    found = _DATE.fullmatch(text)
    if found is None:
        raise MalformedValue(text)
    part = found.groupdict()
    try:
        moment = datetime(
            int(part["year"]), int(part["month"] or 1), int(part["day"] or 1),
            int(part["hour"] or 0), int(part["minute"] or 0), int(part["second"] or 0), tzinfo=_zone(part["zone"]),
        )  # fmt: skip
        seconds = (moment - EPOCH).total_seconds()
    except (ValueError, OverflowError) as error:
        raise MalformedValue(text) from error
    return Decimal(int(seconds)) + Decimal(f"0.{part['fraction'] or 0}")


def _zone(text: str | None) -> timezone:
    if not text or text in "Zz":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def compared(read: Callable[[str], Decimal], compare: Callable[[Any, Any], bool]) -> Family:
    """The six comparisons of numbers and of times: `read` makes a number of either side."""

    def family(values: Sequence[str], variables: bool) -> Test:
        limits = [read(value) for value in values]

        def test(value: str, context: Context) -> bool:
            try:
                number = read(value)
            except MalformedValue:
                return False
            return any(compare(number, limit) for limit in limits)

        return test

    return family


# The rest ----------------------------------------------------------------------------------------------------------


def boolean(values: Sequence[str], variables: bool) -> Test:
    # IAM user guide, "Policy variables and tags": variables are for string and ARN operators.
    return string_equals_ignore_case(values, False)


def binary_equals(values: Sequence[str], variables: bool) -> Test:
    wanted = frozenset(_bytes(value) for value in values)

    def test(value: str, context: Context) -> bool:
        try:
            return _bytes(value) in wanted
        except MalformedBinary:
            return False

    return test


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # No base64, or no ASCII at all.
        raise MalformedBinary(text) from error


def ip_address(values: Sequence[str], variables: bool) -> Test:
    networks = []
    for value in values:
        try:
            networks.append(ipaddress.ip_network(value.strip(), strict=False))
        except ValueError as error:
            raise MalformedValue(value) from error

    def test(value: str, context: Context) -> bool:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return False
        return any(address.version == network.version and address in network for network in networks)

    return test


def arn_like(values: Sequence[str], variables: bool) -> Test:
    everything = any(value and not value.strip("*") for value in values)
    patterns = []
    whole = []  # `${aws:PrincipalArn}`: the parts come with the value.
    for value in values:
        pattern = match.arn_pattern(value, variables=variables, variables_in_head=True)
        if pattern is not None:
            patterns.append(pattern)
        elif "${" in value:
            whole.append(match.pieces(value, variables=variables))
        elif value.strip("*"):
            raise MalformedValue(value)

    def test(value: str, context: Context) -> bool:
        if everything or any(pattern.matches(value, context) for pattern in patterns):
            return True
        return any(match.plain(cut, context) == value for cut in whole)

    return test


class Operator(Struct, frozen=True):
    family: Family
    negated: bool = False


_COMPARISONS: dict[str, tuple[Callable[[Any, Any], bool], bool]] = {
    "Equals": (operator.eq, False),
    "NotEquals": (operator.eq, True),
    "LessThan": (operator.lt, False),
    "LessThanEquals": (operator.le, False),
    "GreaterThan": (operator.gt, False),
    "GreaterThanEquals": (operator.ge, False),
}

# Operator names are compared without regard to case.
OPERATORS: dict[str, Operator] = {
    name.lower(): row
    for name, row in {
        "StringEquals": Operator(string_equals),
        "StringNotEquals": Operator(string_equals, negated=True),
        "StringEqualsIgnoreCase": Operator(string_equals_ignore_case),
        "StringNotEqualsIgnoreCase": Operator(string_equals_ignore_case, negated=True),
        "StringLike": Operator(string_like),
        "StringNotLike": Operator(string_like, negated=True),
        **{
            f"Numeric{name}": Operator(compared(_number, compare), negated)
            for name, (compare, negated) in _COMPARISONS.items()
        },
        **{
            f"Date{name}": Operator(compared(_moment, compare), negated)
            for name, (compare, negated) in _COMPARISONS.items()
        },
        "Bool": Operator(boolean),
        "BinaryEquals": Operator(binary_equals),
        "IpAddress": Operator(ip_address),
        "NotIpAddress": Operator(ip_address, negated=True),
        "ArnEquals": Operator(arn_like),
        "ArnLike": Operator(arn_like),
        "ArnNotEquals": Operator(arn_like, negated=True),
        "ArnNotLike": Operator(arn_like, negated=True),
    }.items()
}

_IF_EXISTS = "ifexists"


class Condition(Struct, frozen=True):
    """One key under one operator."""

    key: str  # in lower case
    test: Test
    negated: bool
    quantifier: str  # "", "forallvalues", "foranyvalue"
    if_absent: bool  # what an absent key means
    names: frozenset[str]  # all condition keys that it looks at: its own, and those of variables in its values

    def holds(self, context: Context) -> bool:
        given = context.get(self.key)
        if given is None or given == []:
            return self.if_absent
        if isinstance(given, str):
            return self.test(given, context) is not self.negated
        if self.quantifier == "forallvalues":
            return all(self.test(value, context) is not self.negated for value in given)
        if self.quantifier == "foranyvalue":
            return any(self.test(value, context) is not self.negated for value in given)
        # Several values under an operator for one: AWS does not settle this. Positive: one suffices; negated: none may match.
        return any(self.test(value, context) for value in given) is not self.negated


class Null(Struct, frozen=True):
    key: str
    absent: frozenset[bool]  # True: the key must be absent; False: it must be there; both: either will do

    @property
    def names(self) -> frozenset[str]:
        return frozenset((self.key,))

    def holds(self, context: Context) -> bool:
        return (context.get(self.key) in (None, [])) in self.absent


def condition(name: str, key: str, values: Sequence[str], *, variables: bool) -> Condition | Null:
    """An operator of a policy with its key and values.

    KeyError: no such operator. MalformedValue, MalformedBinary: a value that the operator can't read.
    """
    quantifier, base = _split(name.lower())
    if base == "null":
        if quantifier and quantifier not in ("forallvalues", "foranyvalue"):
            raise KeyError(name)
        if not all(value.lower() in ("true", "false") for value in values):
            raise MalformedValue(key)
        return Null(key.lower(), frozenset(value.lower() == "true" for value in values))
    exists = base.endswith(_IF_EXISTS)
    row = OPERATORS[base.removesuffix(_IF_EXISTS)]
    if_absent = exists or quantifier == "forallvalues" or (row.negated and quantifier != "foranyvalue")
    in_values = (match.names(match.pieces(value, variables=variables)) for value in values)
    names = frozenset((key.lower(),)).union(*in_values)
    return Condition(key.lower(), row.family(values, variables), row.negated, quantifier, if_absent, names)


def _split(name: str) -> tuple[str, str]:
    if ":" not in name:
        return "", name
    quantifier, _, base = name.partition(":")
    if quantifier not in ("forallvalues", "foranyvalue"):
        raise KeyError(name)
    return quantifier, base
