"""Condition operators: tables of values, and what an absent key means under each of them."""

from __future__ import annotations

import itertools
import time

import pytest

from longshore.policy import conditions
from longshore.policy.document import compile_document
from longshore.policy.match import arn_pattern, wild

ROLE = "arn:aws:iam::123456789012:role/team/ops"


def holds(operator: str, values: str | list[str], given: str | list[str] | None, **context: str | list[str]) -> bool:
    keys = {name.replace("_", ":").lower(): value for name, value in context.items()}
    if given is not None:
        keys["a:key"] = given
    listed = values if isinstance(values, list) else [values]
    return conditions.condition(operator, "A:Key", listed, variables=True).holds(keys)


# operator, the policy's values, the request's value, whether they match
POSITIVE: list[tuple[str, str | list[str], str, bool]] = [
    ("StringEquals", "ann", "ann", True),
    ("StringEquals", "ann", "Ann", False),
    ("StringEquals", "a*", "ann", False),  # Wildcards are text here.
    ("StringEquals", "a*", "a*", True),
    ("StringEquals", ["x", "ann"], "ann", True),
    ("StringEquals", "", "", True),
    ("StringEquals", "ann ", "ann", False),
    ("StringEqualsIgnoreCase", "ANN", "aNn", True),
    ("StringEqualsIgnoreCase", "ÄNN", "änn", True),
    ("StringEqualsIgnoreCase", "a*", "ann", False),
    ("StringLike", "a*", "ann", True),
    ("StringLike", "a*", "Ann", False),
    ("StringLike", "a*", "a", True),
    ("StringLike", "a?n", "ann", True),
    ("StringLike", "a?", "a", False),
    ("StringLike", "*", "", True),
    ("StringLike", "*n*n*", "ann", True),
    ("StringLike", "a.n", "ann", False),
    ("StringLike", "a[n]n", "ann", False),
    ("StringLike", "a*", "a\nb", True),
    ("NumericEquals", "10", "10.0", True),
    ("NumericEquals", "10", "1e1", True),
    ("NumericEquals", "0.1", "0.10", True),
    ("NumericEquals", "10", "ten", False),
    ("NumericEquals", "-0", "0", True),
    ("NumericLessThan", "10", "9.999999999999999999", True),
    ("NumericLessThan", "10", "10", False),
    ("NumericLessThanEquals", "10", "10", True),
    ("NumericGreaterThan", "10", "10.5", True),
    ("NumericGreaterThan", "10", "9", False),
    ("NumericGreaterThan", "9", "10", True),  # As numbers, not as texts.
    ("NumericGreaterThanEquals", "10", "10", True),
    ("NumericLessThan", ["1", "100"], "50", True),
    ("NumericLessThan", "18446744073709551617", "18446744073709551616", True),
    ("DateEquals", "2026-01-01T00:00:00Z", "1767225600", True),
    ("DateEquals", "1767225600", "2026-01-01T01:00:00+01:00", True),
    ("DateEquals", "2026-01-01", "2026-01-01T00:00:00.000Z", True),
    ("DateEquals", "2026", "2026-01-01T00:00:00Z", True),
    ("DateEquals", "2026-01-01T00:00:00Z", "yesterday", False),
    ("DateLessThan", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", True),
    ("DateLessThan", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", False),
    ("DateLessThanEquals", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", True),
    ("DateGreaterThan", "2026-01-01T00:00:00+02:00", "2025-12-31T22:00:01Z", True),
    ("DateGreaterThan", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", True),
    ("DateGreaterThanEquals", "1767225600", "1767225600", True),
    ("Bool", "true", "true", True),
    ("Bool", "TRUE", "true", True),
    ("Bool", "false", "true", False),
    ("Bool", ["false", "true"], "true", True),
    ("BinaryEquals", "YW5u", "YW5u", True),
    ("BinaryEquals", "YW5u", "Ym9i", False),
    ("BinaryEquals", "YW5u", "not base64!", False),
    ("IpAddress", "10.0.0.0/8", "10.255.0.1", True),
    ("IpAddress", "10.0.0.0/8", "11.0.0.1", False),
    ("IpAddress", "10.0.0.1", "10.0.0.1", True),
    ("IpAddress", "10.0.0.1", "10.0.0.2", False),
    ("IpAddress", "10.0.0.77/24", "10.0.0.1", True),  # Bits of the host are ignored.
    ("IpAddress", "0.0.0.0/0", "203.0.113.7", True),
    ("IpAddress", "0.0.0.0/0", "::1", False),
    ("IpAddress", "::/0", "10.0.0.1", False),
    ("IpAddress", "2001:db8::/32", "2001:0DB8:0:0::1", True),
    ("IpAddress", "2001:db8::1", "2001:db8:0:0:0:0:0:1", True),
    ("IpAddress", "::ffff:10.0.0.0/104", "10.0.0.1", False),
    ("IpAddress", ["10.0.0.0/8", "192.168.0.0/16"], "192.168.1.1", True),
    ("IpAddress", "10.0.0.0/8", "batch.amazonaws.com", False),
    ("ArnEquals", ROLE, ROLE, True),
    ("ArnEquals", ROLE.replace("ops", "OPS"), ROLE, False),
    ("ArnLike", "arn:aws:iam::123456789012:role/*", ROLE, True),
    ("ArnEquals", "arn:aws:iam::123456789012:role/*", ROLE, True),  # ArnEquals is ArnLike.
    ("ArnLike", "arn:aws:iam::*:role/team/o?s", ROLE, True),
    ("ArnLike", "arn:aws:iam:*:role/team/ops:", "arn:aws:iam:x:role/team/ops", False),
    ("ArnLike", "arn:*:*:*:*:*", ROLE, True),
    ("ArnLike", "arn:aws:*:role/team/ops:*:x", ROLE, False),  # `*` does not cross the first five colons.
    ("ArnLike", "*", ROLE, True),
    ("ArnLike", "arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a:b:c/d", True),
    ("ArnLike", "arn:aws:s3:::bucket", "arn:aws:s3:::bucket/a", False),
    ("ArnLike", ROLE, "no arn", False),
]  # fmt: skip
NEGATIONS = {
    "StringEquals": "StringNotEquals",
    "StringEqualsIgnoreCase": "StringNotEqualsIgnoreCase",
    "StringLike": "StringNotLike",
    "NumericEquals": "NumericNotEquals",
    "DateEquals": "DateNotEquals",
    "IpAddress": "NotIpAddress",
    "ArnEquals": "ArnNotEquals",
    "ArnLike": "ArnNotLike",
}


@pytest.mark.parametrize(("operator", "values", "given", "expected"), POSITIVE)
def test_what_matches(operator: str, values: str | list[str], given: str, expected: bool) -> None:
    assert holds(operator, values, given) is expected
    assert holds(operator.upper(), values, given) is expected  # Names of operators are of any case.
    assert holds(f"{operator}IfExists", values, given) is expected
    for quantifier in ("ForAllValues", "ForAnyValue"):
        assert holds(f"{quantifier}:{operator}", values, [given]) is expected
        assert holds(f"{quantifier}:{operator}", values, given) is expected
    negated = NEGATIONS.get(operator)
    if negated is not None:
        assert holds(negated, values, given) is not expected
        assert holds(f"{negated}IfExists", values, given) is not expected


def test_every_operator_is_in_the_table_or_negates_one_that_is() -> None:
    tested = {operator.lower() for operator, *_ in POSITIVE} | {name.lower() for name in NEGATIONS.values()}
    assert tested == set(conditions.OPERATORS)


ALL = sorted({operator for operator, *_ in POSITIVE} | set(NEGATIONS.values()))
READABLE = {"Numeric": "1", "Date": "2026-01-01", "Ip": "10.0.0.1", "NotIp": "10.0.0.1", "Arn": ROLE, "Binary": "YW5u"}


@pytest.mark.parametrize("operator", ALL)
@pytest.mark.parametrize("absent", [None, []])
def test_an_absent_key(operator: str, absent: list[str] | None) -> None:
    """Positive operators fail, negated ones hold, IfExists and ForAllValues hold, ForAnyValue fails."""
    value = next((text for start, text in READABLE.items() if operator.startswith(start)), "x")
    is_negated = "Not" in operator
    assert holds(operator, value, absent) is is_negated
    assert holds(f"{operator}IfExists", value, absent) is True
    assert holds(f"ForAllValues:{operator}", value, absent) is True
    assert holds(f"ForAnyValue:{operator}", value, absent) is False
    assert holds(f"ForAnyValue:{operator}IfExists", value, absent) is True


@pytest.mark.parametrize(
    ("operator", "given", "expected"),
    [
        ("ForAllValues:StringEquals", ["a", "b"], True),
        ("ForAllValues:StringEquals", ["a", "c"], False),
        ("ForAnyValue:StringEquals", ["a", "c"], True),
        ("ForAnyValue:StringEquals", ["c", "d"], False),
        ("ForAllValues:StringNotEquals", ["c", "d"], True),
        ("ForAllValues:StringNotEquals", ["a", "c"], False),
        ("ForAnyValue:StringNotEquals", ["a", "c"], True),
        ("ForAnyValue:StringNotEquals", ["a", "b"], False),
        ("forallvalues:stringlike", ["a", "b"], True),
    ],
)
def test_several_values_of_the_request(operator: str, given: list[str], expected: bool) -> None:
    assert holds(operator, ["a", "b"], given) is expected


@pytest.mark.parametrize(
    ("values", "absent", "present"),
    [("true", True, False), ("false", False, True), (["true", "false"], True, True), ("TRUE", True, False)],
)
def test_null(values: str | list[str], absent: bool, present: bool) -> None:
    assert holds("Null", values, None) is absent
    assert holds("Null", values, []) is absent
    assert holds("Null", values, "x") is present
    assert holds("Null", values, "") is present
    assert holds("ForAnyValue:Null", values, ["x"]) is present


# Variables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "value", "given", "expected"),
    [
        ("StringEquals", "${aws:username}", "ann", True),
        ("StringEquals", "${AWS:UserName}", "ann", True),
        ("StringEquals", "${ aws:username }", "ann", True),
        ("StringEquals", "x${aws:username}y", "xanny", True),
        ("StringEquals", "${aws:none}", "ann", False),
        ("StringNotEquals", "${aws:none}", "ann", True),
        ("StringEquals", "${aws:none, 'ann'}", "ann", True),
        ("StringEquals", "${aws:none,'ann'}", "ann", True),
        ("StringEquals", "${aws:username, 'bob'}", "ann", True),
        ("StringEquals", "${aws:none, ''}", "", True),
        ("StringEquals", "${aws:tagkeys}", "ann", False),  # Only keys of a single value can be put in.
        ("StringEquals", "${aws:tagkeys, 'ann'}", "ann", True),
        ("StringEquals", "${*}", "*", True),
        ("StringEquals", "${$}{aws:username}", "${aws:username}", True),
        ("StringLike", "${*}", "x", False),
        ("StringLike", "${?}", "?", True),
        ("StringLike", "${aws:starred}", "annabel", False),  # What is put in is text, never a wildcard.
        ("StringLike", "${aws:starred}", "ann*", True),
        ("StringLike", "${aws:username}*", "annabel", True),
        ("StringEquals", "${aws:username", "${aws:username", True),
        ("StringEquals", "${}", "${}", True),
        ("ArnLike", "arn:aws:iam::${aws:account}:role/${aws:username}", "arn:aws:iam::1:role/ann", True),
        ("ArnLike", "arn:aws:iam::${aws:colon}:role/x", "arn:aws:iam::1:2:role/x", False),
        ("ArnEquals", "${aws:whole}", ROLE, True),
        ("ArnEquals", "${aws:none}", ROLE, False),
        ("ArnNotEquals", "${aws:none}", ROLE, True),
    ],
)
def test_variables(operator: str, value: str, given: str, expected: bool) -> None:
    context = {
        "aws_username": "ann", "aws_tagkeys": ["ann"], "aws_starred": "ann*", "aws_account": "1", "aws_colon": "1:2",
        "aws_whole": ROLE,
    }  # fmt: skip
    assert holds(operator, value, given, **context) is expected


def test_a_document_of_2008_knows_no_variables() -> None:
    for version, allowed in (("2012-10-17", True), ("2008-10-17", False), (None, False)):
        source = {
            "Statement": {
                "Effect": "Allow",
                "Action": "*",
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:username": "${aws:userid}"}},
            }
        }
        if version:
            source["Version"] = version  # type: ignore[assignment]
        statement = compile_document(source).statements[0]
        assert statement.applies("*", {"aws:username": "x", "aws:userid": "x"}) is allowed
        assert statement.applies("*", {"aws:username": "${aws:userid}", "aws:userid": "x"}) is not allowed


# What is refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        *(("NumericEquals", text) for text in ("ten", "", "1_000", "NaN", "Infinity", "0x10", "1e9999", "١")),
        *(("DateEquals", text) for text in ("today", "", "2026-13-01", "2026-01-32", "2026-01-01T25:00:00Z", "9" * 30)),
        *(("IpAddress", text) for text in ("10.0.0", "10.0.0.0/33", "::/129", "", "10.0.0.256", "x")),
        *(("ArnEquals", text) for text in ("x", "arn:aws:iam", "arn:aws:iam::role/x")),
        ("Null", "perhaps"),
    ],
)
def test_a_value_that_its_operator_cannot_read(operator: str, value: str) -> None:
    with pytest.raises(conditions.MalformedValue):
        conditions.condition(operator, "a:key", [value], variables=True)


@pytest.mark.parametrize(
    "operator",
    [
        "", "StringIs", "NullIfExists", "ForAllValues", "ForSome:StringEquals", "ForAllValues:ForAnyValue:StringEquals",
        "StringEqualsIfExistsIfExists", "IfExists", "ForAllValues:", "NotIpAddressNot",
    ],
)  # fmt: skip
def test_what_is_no_operator(operator: str) -> None:
    with pytest.raises(KeyError):
        conditions.condition(operator, "a:key", ["x"], variables=True)


def test_binary_that_is_no_base64() -> None:
    for value in ("?", "YW5", "YW5u\n", "é"):
        with pytest.raises(conditions.MalformedBinary):
            conditions.condition("BinaryEquals", "a:key", [value], variables=True)


# Cost ------------------------------------------------------------------------------------------------------------------


def test_many_stars_cost_no_more_than_few() -> None:
    """Somebody's policy must not hold up the house, whatever is compared with it."""
    stars, text = "*a" * 60 + "*b", "a" * 4000
    start = time.process_time()
    assert not holds("StringLike", stars, text)
    assert holds("StringLike", stars, text + "b")
    pattern = arn_pattern(f"arn:aws:s3:*a*a*a*a*a*a*a*a*b::{stars}", variables=True)
    assert pattern is not None and not pattern.matches(f"arn:aws:s3:{text}::{text}", {})
    assert time.process_time() - start < 0.5


def test_whatever_the_pattern_stars_match_as_if_every_way_were_tried() -> None:
    from longshore.policy.match import compiled
    from policy.naive import like

    letters = "ab*?"
    for length in range(6):
        for pattern in map("".join, itertools.product(letters, repeat=length)):
            expression = compiled(wild(pattern))
            for text in ("", "a", "b", "ab", "aab", "abab", "bba", "aabb"):
                assert (expression.fullmatch(text) is not None) is like(pattern, text), (pattern, text)
