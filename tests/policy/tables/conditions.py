"""Every condition operator with every modifier, on keys that are there, absent, and of several values.

Sources are pages of the IAM user guide.
"""

from __future__ import annotations

from typing import Any

from policy.tables.row import ACCOUNT, ALLOWED, DENIED, ROLE, SILENT, Row, allow, deny, document

OPERATORS = "IAM JSON policy elements: Condition operators"
SEVERAL = "Creating a condition with multiple keys or values"
SETS = "Single-valued vs. multivalued context keys"
VARIABLES = "Policy variables and tags"

KEY = "aws:RequestTag/a"
ARN = "arn:aws:iam::123456789012:role/team/ops"


def _under(operator: str, wanted: Any, given: Any, expected: bool, *, source: str = OPERATORS, **more: Any) -> Row:
    context = dict(more)
    if given is not None:
        context[KEY] = given
    return Row(
        source=source,
        expected=ALLOWED if expected else SILENT,
        identity=(document(allow(Condition={operator: {KEY: wanted}})),),
        context=context,
    )


Y, N = True, False

# operator, the policy's value or values, the request's, whether they match. Each row is also asked under the operator's negation.
_MATCHES: list[tuple[str, Any, str, bool]] = [
    ("StringEquals", "ann", "ann", Y),
    ("StringEquals", "ann", "ANN", N),
    ("StringEquals", "a*n", "ann", N),
    ("StringEquals", "a?n", "ann", N),
    ("StringEquals", "a*n", "a*n", Y),
    ("StringEquals", ["bob", "ann"], "ann", Y),
    ("StringEquals", ["bob", "eve"], "ann", N),
    ("StringEquals", " ann", "ann", N),
    ("StringEqualsIgnoreCase", "ann", "ANN", Y),
    ("StringEqualsIgnoreCase", ["bob", "aNN"], "Ann", Y),
    ("StringEqualsIgnoreCase", "an", "ANN", N),
    ("StringEqualsIgnoreCase", "A*", "ann", N),
    ("StringLike", "ann", "ann", Y),
    ("StringLike", "a*", "ann", Y),
    ("StringLike", "*", "ann", Y),
    ("StringLike", "?nn", "ann", Y),
    ("StringLike", "a??", "ann", Y),
    ("StringLike", "*n*", "ann", Y),
    ("StringLike", ["b*", "a*"], "ann", Y),
    ("StringLike", "A*", "ann", N),
    ("StringLike", "a", "ann", N),
    ("StringLike", "?", "ann", N),
    ("StringLike", "a.*", "ann", N),
    ("StringLike", "????", "ann", N),
    ("StringLike", "arn:aws:iam::*:role/*", ARN, Y),
    ("StringLike", "arn:*ops", ARN, Y),  # As a text, a star crosses colons.
    ("NumericEquals", "10", "10", Y),
    ("NumericEquals", 10, "10.0", Y),
    ("NumericEquals", "10.50", "10.5", Y),
    ("NumericEquals", "-1", "-1.0", Y),
    ("NumericEquals", "10", "11", N),
    ("NumericEquals", "10", "ten", N),
    ("NumericEquals", ["1", "10"], "10", Y),
    ("DateEquals", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", Y),
    ("DateEquals", "2026-01-01T00:00:00Z", "1767225600", Y),
    ("DateEquals", "1767225600", "2026-01-01T00:00:00Z", Y),
    ("DateEquals", "1767225600", "1767225600", Y),
    ("DateEquals", "2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00Z", Y),
    ("DateEquals", "2026-01-01", "2026-01-01T00:00:00Z", Y),
    ("DateEquals", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", N),
    ("DateEquals", "2026-01-01T00:00:00Z", "soon", N),
    ("IpAddress", "203.0.113.0/24", "203.0.113.7", Y),
    ("IpAddress", "203.0.113.7", "203.0.113.7", Y),
    ("IpAddress", "203.0.113.7/32", "203.0.113.7", Y),
    ("IpAddress", "203.0.113.99/24", "203.0.113.7", Y),
    ("IpAddress", "0.0.0.0/0", "203.0.113.7", Y),
    ("IpAddress", ["10.0.0.0/8", "203.0.113.0/24"], "203.0.113.7", Y),
    ("IpAddress", "203.0.113.0/29", "203.0.113.8", N),
    ("IpAddress", "203.0.113.8", "203.0.113.7", N),
    ("IpAddress", "::/0", "203.0.113.7", N),
    ("IpAddress", "2001:db8::/32", "2001:db8::7", Y),
    ("IpAddress", "2001:DB8:0::/48", "2001:db8:0:1::", Y),
    ("IpAddress", "2001:db8::7", "2001:db8:0:0:0:0:0:7", Y),
    ("IpAddress", "0.0.0.0/0", "2001:db8::7", N),
    ("IpAddress", "2001:db8::/33", "2001:db8:8000::", N),
    ("IpAddress", "203.0.113.0/24", "here", N),
    ("ArnEquals", ARN, ARN, Y),
    ("ArnLike", ARN, ARN, Y),
    *(
        (operator, wanted, given, expected)
        for operator in ("ArnEquals", "ArnLike")
        for wanted, given, expected in [
            ("arn:aws:iam::123456789012:role/*", ARN, Y),
            ("arn:aws:iam::*:role/team/ops", ARN, Y),
            ("arn:aws:iam::*:role/team/???", ARN, Y),
            ("arn:*:iam::1234*:*", ARN, Y),
            (["arn:aws:s3:::*", "arn:aws:iam::*:role/*"], ARN, Y),
            ("arn:aws:iam::123456789012:role/team", ARN, N),
            ("arn:aws:iam::123456789012:Role/team/ops", ARN, N),
            ("arn:aws:iam:*:*:role/ops", ARN, N),
            ("arn:aws:iam::?:role/team/ops", ARN, N),
            # The first five parts keep their stars to themselves.
            ("arn:aws:*:*:*:key", "arn:aws:s3:::b:key", N),
            ("arn:aws:s3:::*key", "arn:aws:s3:::b:key", Y),
            ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a/b:c", Y),
            (ARN, "no arn at all", N),
            ("arn:aws:sns:*:123456789012:*", "arn:aws:sns:us-east-1:123456789012:t", Y),
        ]
    ),
]
_NEGATIONS = {
    "StringEquals": "StringNotEquals",
    "StringEqualsIgnoreCase": "StringNotEqualsIgnoreCase",
    "StringLike": "StringNotLike",
    "NumericEquals": "NumericNotEquals",
    "DateEquals": "DateNotEquals",
    "IpAddress": "NotIpAddress",
    "ArnEquals": "ArnNotEquals",
    "ArnLike": "ArnNotLike",
}

_ONE_SIDED: list[tuple[str, Any, str, bool]] = [
    ("NumericLessThan", "10", "9.99", Y),
    ("NumericLessThan", "10", "10", N),
    ("NumericLessThan", "10", "9" * 3, N),
    ("NumericLessThan", ["5", "10"], "7", Y),
    ("NumericLessThan", "10", "x", N),
    ("NumericLessThanEquals", "10", "10.0", Y),
    ("NumericLessThanEquals", "10", "10.01", N),
    ("NumericGreaterThan", "10", "11", Y),
    ("NumericGreaterThan", "10", "10", N),
    ("NumericGreaterThan", "9", "10", Y),
    ("NumericGreaterThanEquals", "10", "10", Y),
    ("NumericGreaterThanEquals", "10", "9", N),
    ("DateLessThan", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", Y),
    ("DateLessThan", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", N),
    ("DateLessThan", "1767225600", "1767225599", Y),
    ("DateLessThanEquals", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", Y),
    ("DateLessThanEquals", "2026-01-01T00:00:00Z", "1767225601", N),
    ("DateGreaterThan", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", Y),
    ("DateGreaterThan", "2026-01-01T00:00:00Z", "1767225600", N),
    ("DateGreaterThan", "2026-01-01T00:00:00+01:00", "2025-12-31T23:30:00Z", Y),
    ("DateGreaterThanEquals", "2026-01-01T00:00:00Z", "1767225600", Y),
    ("DateGreaterThanEquals", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", N),
    ("Bool", "true", "true", Y),
    ("Bool", True, "true", Y),
    ("Bool", "false", "false", Y),
    ("Bool", False, "false", Y),
    ("Bool", "true", "false", N),
    ("Bool", False, "true", N),
    ("Bool", "True", "true", Y),
    ("BinaryEquals", "YW5u", "YW5u", Y),
    ("BinaryEquals", "YW5u", "Ym9i", N),
    ("BinaryEquals", ["Ym9i", "YW5u"], "YW5u", Y),
]

# One value of each family, and one that it does not match: for the rules that are the same for all.
_PLAIN: list[tuple[str, Any, str, str]] = [
    ("StringEquals", "ann", "ann", "bob"),
    ("StringEqualsIgnoreCase", "ann", "Ann", "bob"),
    ("StringLike", "a*", "ann", "bob"),
    ("NumericEquals", "10", "10", "11"),
    ("NumericLessThan", "10", "9", "11"),
    ("NumericLessThanEquals", "10", "10", "11"),
    ("NumericGreaterThan", "10", "11", "9"),
    ("NumericGreaterThanEquals", "10", "10", "9"),
    ("DateEquals", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
    ("DateLessThan", "2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
    ("DateLessThanEquals", "2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
    ("DateGreaterThan", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
    ("DateGreaterThanEquals", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
    ("Bool", "true", "true", "false"),
    ("BinaryEquals", "YW5u", "YW5u", "Ym9i"),
    ("IpAddress", "10.0.0.0/8", "10.1.2.3", "11.1.2.3"),
    ("ArnEquals", ARN, ARN, "arn:aws:iam::123456789012:role/other"),
    ("ArnLike", "arn:aws:iam::*:role/team/*", ARN, "arn:aws:iam::123456789012:role/other"),
    ("StringNotEquals", "ann", "bob", "ann"),
    ("StringNotEqualsIgnoreCase", "ann", "bob", "ANN"),
    ("StringNotLike", "a*", "bob", "ann"),
    ("NumericNotEquals", "10", "11", "10"),
    ("DateNotEquals", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ("NotIpAddress", "10.0.0.0/8", "11.1.2.3", "10.1.2.3"),
    ("ArnNotEquals", ARN, "arn:aws:iam::123456789012:role/other", ARN),
    ("ArnNotLike", "arn:aws:iam::*:role/team/*", "arn:aws:iam::123456789012:role/other", ARN),
]


def _of_one(operator: str, wanted: Any, fits: str, unfit: str) -> list[Row]:
    """The rules that hold for every operator."""
    negated = "Not" in operator
    return [
        _under(operator, wanted, fits, Y),
        _under(operator, wanted, unfit, N),
        # Absent: a positive operator fails, a negated one holds, and IfExists holds always.
        _under(operator, wanted, None, negated),
        _under(f"{operator}IfExists", wanted, None, Y),
        _under(f"{operator}IfExists", wanted, fits, Y),
        _under(f"{operator}IfExists", wanted, unfit, N),
        _under(operator.lower(), wanted, fits, Y),
        # ForAllValues: each of the request's values must fit, also when there are none.
        _under(f"ForAllValues:{operator}", wanted, [fits], Y, source=SETS),
        _under(f"ForAllValues:{operator}", wanted, [fits, fits], Y, source=SETS),
        _under(f"ForAllValues:{operator}", wanted, [fits, unfit], N, source=SETS),
        _under(f"ForAllValues:{operator}", wanted, [unfit], N, source=SETS),
        _under(f"ForAllValues:{operator}", wanted, None, Y, source=SETS),
        _under(f"ForAllValues:{operator}", wanted, [], Y, source=SETS),
        # ForAnyValue: one must, so an absent key never fits.
        _under(f"ForAnyValue:{operator}", wanted, [fits, unfit], Y, source=SETS),
        _under(f"ForAnyValue:{operator}", wanted, [unfit, unfit], N, source=SETS),
        _under(f"ForAnyValue:{operator}", wanted, None, N, source=SETS),
        _under(f"ForAnyValue:{operator}", wanted, [], N, source=SETS),
        # IfExists after a set operator.
        _under(f"ForAnyValue:{operator}IfExists", wanted, None, Y, source=SETS),
        _under(f"ForAnyValue:{operator}IfExists", wanted, [unfit], N, source=SETS),
        _under(f"ForAnyValue:{operator}IfExists", wanted, [unfit, fits], Y, source=SETS),
        _under(f"ForAllValues:{operator}IfExists", wanted, None, Y, source=SETS),
        _under(f"ForAllValues:{operator}IfExists", wanted, [fits, unfit], N, source=SETS),
    ]


_NULL: list[tuple[Any, Any, bool]] = [
    ("true", None, Y),
    ("true", "x", N),
    ("false", None, N),
    ("false", "x", Y),
    (True, None, Y),
    (False, "x", Y),
    (True, "x", N),
    (False, None, N),
    ("TRUE", None, Y),
    ("false", ["x", "y"], Y),
    ("true", ["x"], N),
    ("true", [], Y),
    (["true", "false"], None, Y),
    (["true", "false"], "x", Y),
]

_TAGS = "aws:TagKeys"


def _tags(operator: str, wanted: Any, given: Any, expected: bool) -> Row:
    return Row(
        source=SETS,
        expected=ALLOWED if expected else SILENT,
        identity=(document(allow(Condition={operator: {_TAGS: wanted}})),),
        context={} if given is None else {_TAGS: given},
    )


# Both sides of several values.
_SETS: list[tuple[str, Any, Any, bool]] = [
    ("ForAllValues:StringEquals", ["team", "cost"], ["team"], Y),
    ("ForAllValues:StringEquals", ["team", "cost"], ["cost", "team"], Y),
    ("ForAllValues:StringEquals", ["team", "cost"], ["team", "other"], N),
    ("ForAllValues:StringEquals", ["team"], ["Team"], N),
    ("ForAllValues:StringEqualsIgnoreCase", ["team"], ["Team", "TEAM"], Y),
    ("ForAllValues:StringLike", ["t*", "c*"], ["team", "cost"], Y),
    ("ForAllValues:StringLike", ["t*"], ["team", "cost"], N),
    ("ForAllValues:StringNotEquals", ["secret"], ["team", "cost"], Y),
    ("ForAllValues:StringNotEquals", ["secret", "cost"], ["team", "cost"], N),
    ("ForAllValues:StringNotLike", ["s*"], ["team", "secret"], N),
    ("ForAnyValue:StringEquals", ["team", "cost"], ["other", "cost"], Y),
    ("ForAnyValue:StringEquals", ["team"], ["other", "Team"], N),
    ("ForAnyValue:StringLike", ["t*"], ["other", "team"], Y),
    ("ForAnyValue:StringNotEquals", ["team"], ["team", "other"], Y),
    ("ForAnyValue:StringNotEquals", ["team"], ["team"], N),
    ("ForAnyValue:StringNotEquals", ["team", "other"], ["team", "other"], N),
    ("ForAnyValue:StringNotLike", ["t*"], ["team", "tool"], N),
    ("forallvalues:stringequals", ["team"], ["team"], Y),
    ("ForAllValues:StringEquals", ["team"], "team", Y),
    ("ForAnyValue:StringEquals", ["team"], "cost", N),
]

_ANN: dict[str, Any] = {"aws:username": "ann", "aws:PrincipalArn": ARN, "aws:PrincipalTag/team": "blue"}


def _variable(operator: str, wanted: Any, given: str | None, expected: bool) -> Row:
    return _under(operator, wanted, given, expected, source=VARIABLES, **_ANN)


_VARIABLES: list[tuple[str, Any, str | None, bool]] = [
    ("StringEquals", "${aws:username}", "ann", Y),
    ("StringEquals", "${AWS:USERNAME}", "ann", Y),
    ("StringEquals", "x-${aws:username}-y", "x-ann-y", Y),
    ("StringEquals", "${aws:username}", "${aws:username}", N),
    ("StringEquals", "${aws:PrincipalTag/team}/${aws:username}", "blue/ann", Y),
    ("StringEqualsIgnoreCase", "${aws:username}", "ANN", Y),
    ("StringLike", "${aws:username}*", "ann-1", Y),
    ("StringLike", "${aws:username}${*}", "ann*", Y),
    ("StringLike", "${aws:username}${*}", "ann-1", N),
    ("StringLike", "a${?}n", "ann", N),
    ("StringLike", "a${?}n", "a?n", Y),
    ("StringEquals", "${$}{aws:username}", "${aws:username}", Y),
    ("StringEquals", "${*}", "*", Y),
    # Without a value a positive operator fails and a negated one holds.
    ("StringEquals", "${aws:nothing}", "ann", N),
    ("StringLike", "*${aws:nothing}", "ann", N),
    ("StringNotEquals", "${aws:nothing}", "ann", Y),
    ("StringNotLike", "*${aws:nothing}", "ann", Y),
    ("ArnEquals", "arn:aws:iam::*:role/${aws:nothing}", ARN, N),
    ("ArnNotEquals", "arn:aws:iam::*:role/${aws:nothing}", ARN, Y),
    ("StringEquals", ["${aws:nothing}", "ann"], "ann", Y),
    ("StringNotEquals", ["${aws:nothing}", "ann"], "ann", N),
    ("StringEquals", "${aws:nothing, 'ann'}", "ann", Y),
    ("StringEquals", "${aws:username, 'bob'}", "bob", N),
    ("StringNotEquals", "${aws:nothing, 'ann'}", "ann", N),
    ("ArnLike", "${aws:PrincipalArn}", ARN, Y),
    ("ArnEquals", "arn:aws:iam::123456789012:role/team/${aws:username}", "arn:aws:iam::123456789012:role/team/ann", Y),
    ("ArnLike", "arn:aws:iam::*:role/${aws:PrincipalTag/team}/*", "arn:aws:iam::1:role/blue/x", Y),
    ("ArnLike", "arn:aws:iam::*:role/${aws:PrincipalTag/team}/*", "arn:aws:iam::1:role/red/x", N),
]


def _both(expected: str, *conditions: dict[str, Any], effect: str = "Allow", **context: Any) -> Row:
    statements = [
        {"Effect": effect, "Action": "iam:GetRole", "Resource": "*", "Condition": each} for each in conditions
    ]
    if effect == "Deny":
        statements.append(allow())
    return Row(source=SEVERAL, expected=expected, identity=(document(*statements),), context=context)


_TWO = {"StringEquals": {"aws:username": ["ann", "bob"], "aws:PrincipalTag/team": "blue"}}
_MIXED = {"StringEquals": {"aws:username": "ann"}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}

ROWS: list[Row] = [
    *(_under(*row) for row in _MATCHES),
    *(_under(_NEGATIONS[operator], wanted, given, not expected) for operator, wanted, given, expected in _MATCHES),
    *(_under(*row) for row in _ONE_SIDED),
    *(row for plain in _PLAIN for row in _of_one(*plain)),
    *(_under("Null", *row) for row in _NULL),
    *(_tags(*row) for row in _SETS),
    *(_variable(*row) for row in _VARIABLES),
    # Keys AND, operators AND, values OR; for a negated operator none of the values may match.
    _both(ALLOWED, _TWO, **{"aws:username": "bob", "aws:PrincipalTag/team": "blue"}),
    _both(SILENT, _TWO, **{"aws:username": "bob", "aws:PrincipalTag/team": "red"}),
    _both(SILENT, _TWO, **{"aws:username": "eve", "aws:PrincipalTag/team": "blue"}),
    _both(SILENT, _TWO, **{"aws:username": "bob"}),
    _both(ALLOWED, _MIXED, **{"aws:username": "ann", "aws:SourceIp": "10.1.1.1"}),
    _both(SILENT, _MIXED, **{"aws:username": "ann", "aws:SourceIp": "11.1.1.1"}),
    _both(ALLOWED, {"StringNotEquals": {"aws:username": ["ann", "bob"]}}, **{"aws:username": "eve"}),
    _both(SILENT, {"StringNotEquals": {"aws:username": ["ann", "bob"]}}, **{"aws:username": "bob"}),
    _both(ALLOWED, {}),
    _both(ALLOWED, {"StringEquals": {}}),
    # Several statements: one that applies is enough.
    _both(ALLOWED, _TWO, {"Bool": {"aws:SecureTransport": "true"}}, **{"aws:SecureTransport": "true"}),
    # Names of keys are of any case, their values are not.
    _both(ALLOWED, {"StringEquals": {"AWS:USERNAME": "ann"}}, **{"aws:username": "ann"}),
    _both(SILENT, {"StringEquals": {"AWS:USERNAME": "ANN"}}, **{"aws:username": "ann"}),
    # A deny with a negated operator bites where the key is absent: the well-known trap.
    _both(DENIED, {"StringNotEquals": {"aws:PrincipalTag/team": "blue"}}, effect="Deny"),
    _both(ALLOWED, {"StringNotEqualsIfExists": {"aws:PrincipalTag/team": "blue"}}, effect="Allow"),
    _both(
        ALLOWED,
        {"StringNotEquals": {"aws:PrincipalTag/team": "blue"}},
        effect="Deny",
        **{"aws:PrincipalTag/team": "blue"},
    ),
    # MultiFactorAuthPresent is absent on long-term keys: BoolIfExists denies them, Bool does not.
    _both(ALLOWED, {"Bool": {"aws:MultiFactorAuthPresent": "false"}}, effect="Deny"),
    _both(DENIED, {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}, effect="Deny"),
    _both(
        DENIED,
        {"Bool": {"aws:MultiFactorAuthPresent": "false"}},
        effect="Deny",
        **{"aws:MultiFactorAuthPresent": "false"},
    ),
    _both(
        ALLOWED,
        {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}},
        effect="Deny",
        **{"aws:MultiFactorAuthPresent": "true"},
    ),
    _both(SILENT, {"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
    # A deny on whatever has a tag, or has none.
    _both(DENIED, {"Null": {"aws:RequestTag/team": "true"}}, effect="Deny"),
    _both(ALLOWED, {"Null": {"aws:RequestTag/team": "true"}}, effect="Deny", **{"aws:RequestTag/team": "x"}),
    # ForAllValues holds on nothing: without a second condition it lets requests without tags pass.
    _both(ALLOWED, {"ForAllValues:StringEquals": {"aws:TagKeys": "team"}}),
    _both(SILENT, {"ForAllValues:StringEquals": {"aws:TagKeys": "team"}, "Null": {"aws:TagKeys": "false"}}),
    # A session revoked by time: DateLessThan on the moment at which it was issued.
    _both(
        DENIED,
        {"DateLessThan": {"aws:TokenIssueTime": "2026-01-01T00:00:00Z"}},
        effect="Deny",
        **{"aws:TokenIssueTime": "2025-12-31T23:00:00Z"},
    ),
    _both(ALLOWED, {"DateLessThan": {"aws:TokenIssueTime": "2026-01-01T00:00:00Z"}}, effect="Deny"),
    # Version 2008: `${...}` is text in conditions too.
    *(
        Row(
            source=VARIABLES,
            expected=expected,
            identity=(document(allow(Condition={operator: {KEY: "${aws:username}"}}), version="2008-10-17"),),
            context={"aws:username": "ann", KEY: given},
        )
        for operator, given, expected in [
            ("StringEquals", "ann", SILENT),
            ("StringEquals", "${aws:username}", ALLOWED),
            ("StringLike", "${aws:username}", ALLOWED),
            ("StringNotEquals", "ann", ALLOWED),
            ("StringNotLike", "${aws:username}", SILENT),
        ]
    ),
    # Variables are for texts and ARNs alone.
    Row(
        source=VARIABLES,
        expected=SILENT,
        identity=(document(allow(Condition={"Bool": {"aws:SecureTransport": "${aws:RequestTag/a}"}})),),
        context={"aws:SecureTransport": "true", KEY: "true"},
    ),
    # Keys of the resource and of the request, as tag policies use them.
    _both(
        ALLOWED,
        {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}},
        **{"aws:ResourceTag/team": "blue", "aws:PrincipalTag/team": "blue"},
    ),
    _both(
        SILENT,
        {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}},
        **{"aws:ResourceTag/team": "red", "aws:PrincipalTag/team": "blue"},
    ),
    _both(SILENT, {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}),
    Row(
        source="Passing a role to a service",
        expected=ALLOWED,
        action="iam:PassRole",
        identity=(
            document(
                allow("iam:PassRole", ROLE, Condition={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}})
            ),
        ),
        context={"iam:PassedToService": "ec2.amazonaws.com"},
    ),
    Row(
        source="Passing a role to a service",
        expected=SILENT,
        action="iam:PassRole",
        identity=(
            document(
                allow("iam:PassRole", ROLE, Condition={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}})
            ),
        ),
        context={"iam:PassedToService": "ecs-tasks.amazonaws.com"},
    ),
    Row(
        source="Service authorization reference, AWS Batch: batch:Image",
        expected=DENIED,
        action="batch:RegisterJobDefinition",
        resource=f"arn:aws:batch:us-east-1:{ACCOUNT}:job-definition/d",
        identity=(document(allow("*"), deny("batch:*", Condition={"StringNotLike": {"batch:Image": "ok/*"}})),),
        context={"batch:Image": "busybox"},
    ),
]
