"""Malformed documents, refused in AWS's words; where two faults meet, the one that AWS was seen to name."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from longshore.aws.errors import AwsError
from longshore.policy.document import compile_document, parse
from longshore.policy.validate import check_identity, check_resource_policy, check_trust, size
from longshore.services.iam import managed
from people import trust

SYNTAX = "Syntax errors in policy."
LEGACY = "The policy failed legacy parsing"
VERSION = "Policy document must be version 2012-10-17 or greater."
NO_ACTIONS = "Policy statement must contain actions."
NO_RESOURCES = "Policy statement must contain resources."
PREFACED = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
ONE_COLON = "Actions/Condition can contain only one colon."
QUALIFIED = "Resource vendor must be fully qualified and cannot contain regexes."
UNIQUE = "Statement IDs (SID) in a single policy must be unique."
GOOD: dict[str, Any] = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bucket"}


def statement(**changes: Any) -> dict[str, Any]:
    """A good statement with changes; None takes a field away."""
    return {name: value for name, value in {**GOOD, **changes}.items() if value is not None}


def document(*statements: Any, **changes: Any) -> dict[str, Any]:
    made = {"Version": "2012-10-17", "Statement": list(statements) or statement(), **changes}
    return {name: value for name, value in made.items() if value is not None}


def refusal(source: Any, *, managed: bool = True) -> str | None:
    """None: it is a good document."""
    text = source if isinstance(source, str) else json.dumps(source)
    try:
        check_identity(text, managed=managed)
    except AwsError as error:
        assert (error.code, error.status) == ("MalformedPolicyDocument", None)
        return error.message
    return None


def under(**condition: Any) -> dict[str, Any]:
    return document(statement(Condition={name.replace("_", ":"): keys for name, keys in condition.items()}))


NOT_JSON = [
    "",
    "no",
    "[]",
    "null",
    '"x"',
    "{",
    '{"Version": "2012-10-17", "Statement": NaN}',
    "{'a': 1}",
    "\ufeff{}",
    "[" * 50_000,
]
NOT_FORM: list[Any] = [
    document(Statement=None),
    document(Statement=[]),
    document(Statement="x"),
    document(Statement=None) | {"Statement": None},
    document("x"),
    document([]),
    document(Version="2013-10-17"),
    document(Version=20121017),
    document(Version={}),
    document(Id={}),
    document(Id=["x"]),
    document(Other="x"),
    document(statement(Other="x")),
    document(statement(Effect=None)),
    document(statement(Effect="Perhaps")),
    document(statement(Effect=["Allow"])),
    document(statement(Action={})),
    document(statement(Action=[[]])),
    document(statement(Action=1)),
    document(statement(Action=None) | {"Action": None}),
    document(statement(Resource={"a": "b"})),
    document(statement(Resource=["x", {}])),
    document(statement(NotAction="iam:x")),
    document(statement(NotResource="*")),
    document(statement(NotResource=[])),
    document(statement(Sid={})),
    document(statement(Sid=[])),
    document(statement(Principal=[])),
    document(statement(Principal={})),
    document(statement(Principal={"Robot": "x"})),
    document(statement(Condition=[])),
    document(statement(Condition="x")),
    document(statement(Condition=[{"StringEquals": {"a": "b"}}])),
    under(StringEquals="b"),
    under(StringEquals=[]),
    under(StringEquals={"a": {}}),
    under(StringEquals={"a": [[]]}),
    under(StringEquals={"a": None}),
    under(Equals={"a": "b"}),
    under(NullIfExists={"a": "true"}),
    under(ForAnyValue__StringEquals={"a": "b"}),
    under(ForSome_StringEquals={"a": "b"}),
    under(BinaryEquals={"a": "?"}),
    under(BinaryEquals={"a": "é"}),
]


@pytest.mark.parametrize("text", NOT_JSON, ids=range(len(NOT_JSON)))
def test_what_is_no_json(text: str) -> None:
    assert refusal(text) == SYNTAX
    with pytest.raises(AwsError) as caught:
        check_trust(text)
    assert caught.value.message in (SYNTAX, "This policy contains invalid Json")


@pytest.mark.parametrize("source", NOT_FORM, ids=range(len(NOT_FORM)))
def test_what_is_not_of_the_grammar(source: Any) -> None:
    assert refusal(source) == SYNTAX
    assert refusal(source, managed=False) == SYNTAX


def partition(name: str, arn: str) -> str:
    return f'Partition "{name}" is not valid for resource "{arn}".'


def no_arn(resource: str) -> str:
    return f'Resource {resource} must be in ARN format or "*".'


CONTENT: list[tuple[Any, str]] = [
    # Effects of another case, dates, numbers, addresses and ARNs that cannot be read.
    (document(statement(Effect="allow")), LEGACY),
    (document(statement(Effect="DENY")), LEGACY),
    (under(DateGreaterThan={"a": "soon"}), LEGACY),
    (under(DateLessThanEquals={"a": "234-13"}), LEGACY),
    (under(DateLessThanEquals={"a": "2016-12-13t2:00:00.5+1"}), LEGACY),
    (under(DateLessThanEquals={"a": "2016-12-13t2:00:00.1999999999+10:59"}), LEGACY),
    (under(DateLessThan={"a": "9223372036854775808"}), LEGACY),
    (under(NumericEquals={"a": "ten"}), LEGACY),
    (under(IpAddress={"a": "10.0.0.0/40"}), LEGACY),
    (under(ArnLike={"a": "role/x"}), LEGACY),
    (under(Null={"a": "perhaps"}), LEGACY),
    (document(statement(Resource="arn:aws:s3::bucket")), LEGACY),
    (document(statement(Resource=None, NotResource="arn:aws:s3::bucket")), LEGACY),
    (document(statement(Resource="arn:aws::::bucket")), LEGACY),
    (document(statement(Resource="arn:aws::x")), LEGACY),
    # Principals and names.
    (document(statement(Principal="*")), "Policy document should not specify a principal."),
    (document(statement(NotPrincipal={"AWS": "*"})), "Policy document should not specify a principal."),
    (document(statement(Sid="a"), statement(Sid="a")), UNIQUE),
    (document(statement(Sid="a b")), "Statement IDs (SID) must be alpha-numeric"),
    (document(statement(Sid="a-b")), "Statement IDs (SID) must be alpha-numeric"),
    # Actions.
    (document(statement(Action=None)), NO_ACTIONS),
    (document(statement(Action=[])), NO_ACTIONS),
    (document({"Effect": "Deny"}, statement()), NO_ACTIONS),
    (document(statement(Action="ListBucket")), PREFACED),
    (document(statement(Action="")), PREFACED),
    (document(statement(Action=":x")), PREFACED),
    (document(statement(Action=None, NotAction="")), PREFACED),
    (document(statement(Action="a a:List")), "Vendor a a is not valid"),
    (document(statement(Action="s3:List:Bucket")), ONE_COLON),
    (document(statement(Action="s*:List")), "Action vendors (e.g., aws, ec2, etc.) must not contain wildcards."),
    # Resources.
    (document(statement(Resource=None)), NO_RESOURCES),
    (document(statement(Resource=[])), NO_RESOURCES),
    (document(statement(Resource="bucket")), no_arn("bucket")),
    (document(statement(Resource="")), no_arn("")),
    (document(statement(Resource=["*", "bucket"])), no_arn("bucket")),
    (document(statement(Resource="a:b")), partition("b", "arn:b:*:*:*:*")),
    (document(statement(Resource="a:b:c")), partition("b", "arn:b:c:*:*:*")),
    (document(statement(Resource="a:b:c:d:e:f:g:h")), partition("b", "arn:b:c:d:e:f:g:h")),
    (document(statement(Resource="aws:s3:::bucket")), partition("s3", "arn:s3:::bucket:*")),
    (document(statement(Resource="arn:error:s3:::bucket")), partition("error", "arn:error:s3:::bucket")),
    (document(statement(Resource="arn:aws")), QUALIFIED),
    (document(statement(Resource="arn:aws:s*:::bucket")), QUALIFIED),
    (
        document(statement(Resource="arn:aws:iam:::bucket")),
        'IAM resource path must either be "*" or start with user/, federated-user/, role/, group/, instance-profile/, mfa/, '
        "server-certificate/, policy/, sms-mfa/, saml-provider/, oidc-provider/, report/, access-report/.",
    ),
    (
        document(statement(Resource="arn:aws:iam:us-east-1::user/x")),
        "IAM resource arn:aws:iam:us-east-1::user/x cannot contain region information.",
    ),
    (
        document(statement(Resource="arn:aws:s3:us-east-1::bucket")),
        "Resource arn:aws:s3:us-east-1::bucket can not contain region information.",
    ),
    # Two faults: which is named.
    (document(statement(Effect="aLLow", Sid="a"), {"Sid": "a", "Effect": "Allow"}), LEGACY),
    (document(statement(Sid="a"), {"Sid": "a", "Effect": "Allow"}), UNIQUE),
    (document(statement(Sid="a"), {"Sid": "a", "Effect": "Allow"}, Version=None), VERSION),
    (document(statement(Effect="denY"), Version=None), VERSION),
    (document({"Effect": "Allow", "Action": "invalid"}), PREFACED),
    (document({"Effect": "Allow", "Resource": "arn:aws:s3::bucket"}), LEGACY),
    (document(statement(Action="s:3:List", Resource="bucket")), no_arn("bucket")),
    (document({"Effect": "allow", "Resource": "arn:aws:s3:us-east-1::bucket"}), LEGACY),
    (document({"Effect": "Allow", "Condition": {"DateGreaterThan": {"a": "soon"}}}), LEGACY),
    (document(statement(Resource="arn:error:s3:::b", Condition={"DateGreaterThan": {"a": "soon"}})), LEGACY),
    (document(statement(Action=None, Condition={"StringEquals": {"a": {}}})), SYNTAX),
    (document(statement(Resource=["arn:error:s3:::b", "arn:error:s3::b"])), partition("error", "arn:error:s3:::b")),
]


@pytest.mark.parametrize(("source", "message"), CONTENT, ids=range(len(CONTENT)))
def test_what_is_wrong_in_its_content(source: Any, message: str) -> None:
    assert refusal(source) == message
    if message != VERSION:
        assert refusal(source, managed=False) == message


def test_a_managed_policy_is_of_version_2012() -> None:
    for version in (None, "2008-10-17"):
        assert refusal(document(Version=version)) == VERSION
        assert refusal(document(Version=version), managed=False) is None


FINE: list[Any] = [
    document(),
    document(Statement=statement()),
    document(Id="any text"),
    document(statement(), statement(Sid="a"), statement(Sid="b"), statement(Sid=""), statement(Sid="")),
    document(statement(Action="*")),
    document(statement(Action=["s3:*", "iam:Get?ser"])),
    document(statement(Action="iam: any thing ")),
    document(statement(Action="unknown-vendor.x:Any")),
    document(statement(Action=None, NotAction="s3:x", Resource=None, NotResource="*")),
    document(statement(Resource=["*", "arn:aws:s3:::a", "arn:aws-cn:s3:::a", "arn:*:s3:::a"])),
    document(statement(Resource="arn:aws:iam::*:user/${aws:username}")),
    document(statement(Resource="arn:aws:iam::123456789012:*")),
    document(statement(Resource="arn:aws:iam::123456789012:u*")),
    document(statement(Resource="arn:aws:iam::123456789012:root")),
    document(statement(Resource="arn:aws:iam::123456789012:${aws:PrincipalTag/path}")),
    document(statement(Resource="arn:aws:s3:::${cognito-identity.amazonaws.com:sub}/*")),
    document(statement(Resource="arn:aws:unknown:us-east-1::any:thing")),
    document(statement(Resource="arn:aws:s3:us-west-2:123456789012:accesspoint/mine/object/*")),
    document(statement(Resource="arn:aws:s3:*::bucket")),
    document(statement(Resource="arn:aws:any")),
    document(statement(Condition={})),
    document(statement(Condition={"x": {}, "y": {}})),
    under(DateGreaterThan={}),
    under(DateGreaterThan={"a": []}),
    under(DateGreaterThan={"a": "01T"}),
    under(DateLessThan={"a": "-292275054"}),
    under(DateLessThanEquals={"a": "2016-12-13t2:00:00.593194+23"}),
    under(DateLessThanEquals={"a": 1767225600}),
    under(NumericLessThan={"a": [1, "2.5", 1e3]}),
    under(Bool={"a": [True, "false"]}),
    under(BoolIfExists={"a": "true"}),
    under(ForAnyValue_StringEqualsIfExists={"a": "b"}),
    under(forallvalues_stringlike={"aws:TagKeys": ["a", "b"]}),
    under(StringLike={"a": ["", "${aws:userid}/*"]}, Null={"b": True}),
    under(ArnEquals={"a": ["*", "arn:aws:ec2:*:*:instance/x", "${aws:PrincipalArn}"]}),
    under(IpAddress={"a": ["10.0.0.0/8", "2001:db8::/32"]}),
]


@pytest.mark.parametrize("source", FINE, ids=range(len(FINE)))
def test_what_is_fine_is_taken_and_can_be_compiled(source: Any) -> None:
    assert refusal(source) is None
    for version in ("2012-10-17", "2008-10-17"):
        compile_document({**source, "Version": version})


# Trust -----------------------------------------------------------------------------------------------------------------

EC2 = {"Service": "ec2.amazonaws.com"}
ONLY_STS = "AssumeRole policy may only specify STS AssumeRole actions."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no", "This policy contains invalid Json"),
        ("[]", SYNTAX),
        (trust(EC2, Resource="*"), "Has prohibited field Resource"),
        (trust(EC2, NotResource="*"), "Has prohibited field NotResource"),
        (json.dumps(document({"Effect": "Deny", "NotPrincipal": EC2, "Action": "sts:AssumeRole"})),
         "Has prohibited field NotPrincipal"),
        (json.dumps(document({"Effect": "Allow", "Action": "sts:AssumeRole"})), "Missing required field Principal"),
        (trust(EC2, "s3:GetObject"), ONLY_STS),
        (trust(EC2, ["sts:AssumeRole", "sts:GetSessionToken"]), ONLY_STS),
        (trust("*"), 'AssumeRolepolicy contained an invalid principal: "STAR":"*"'),
        (trust({"AWS": "x"}), 'Invalid principal in policy: "AWS":"x"'),
        (trust({"AWS": "arn:aws:iam::1:user/*"}), 'Invalid principal in policy: "AWS":"arn:aws:iam::1:user/*"'),
        (trust({"AWS": ["*", "12345678901"]}), 'Invalid principal in policy: "AWS":"12345678901"'),
        (trust({"Service": "ec2"}), 'Invalid principal in policy: "SERVICE":"ec2"'),
        (trust(EC2, []), NO_ACTIONS),
        (trust(EC2, Effect="allow"), LEGACY),
        (trust(EC2, Condition={"DateGreaterThan": {"a": "soon"}}), LEGACY),
        (trust(EC2, Sid="a b"), "Statement IDs (SID) must be alpha-numeric"),
    ],
)  # fmt: skip
def test_malformed_trust(text: str, message: str) -> None:
    with pytest.raises(AwsError) as caught:
        check_trust(text)
    assert (caught.value.code, caught.value.message) == ("MalformedPolicyDocument", message)


@pytest.mark.parametrize(
    "text",
    [
        trust(EC2),
        trust({"AWS": "*"}),
        trust({"AWS": "123456789012"}),
        trust(
            {"AWS": ["arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:user/a/b", "AIDA234567ABCDEFGHIJK"]}
        ),
        trust({"AWS": "arn:aws:sts::123456789012:assumed-role/ops/job"}),
        trust({"Service": ["ec2.amazonaws.com", "ecs-tasks.amazonaws.com"], "AWS": "123456789012"}),
        trust({"Federated": "accounts.google.com"}, "sts:AssumeRoleWithWebIdentity"),
        trust(EC2, ["STS:assumerole", "sts:TagSession", "sts:SetSourceIdentity"]),
        trust(EC2, Condition={"StringEquals": {"sts:ExternalId": "x"}}),
        trust(EC2).replace("2012-10-17", "2008-10-17"),
    ],
)
def test_trust_that_is_fine_is_taken_and_can_be_compiled(text: str) -> None:
    check_trust(text)
    parse(text)


# Resource policies ------------------------------------------------------------------------------------------------------


def of_resource(**changes: Any) -> Any:
    return document(statement(**{"Principal": {"AWS": "123456789012"}, **changes}))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (of_resource(Principal=None), "Missing required field Principal"),
        (of_resource(Principal="anyone"), 'Invalid principal in policy: "STAR":"anyone"'),
        (of_resource(Principal={"AWS": "ann"}), 'Invalid principal in policy: "AWS":"ann"'),
        (of_resource(Principal={"Service": "ec2"}), 'Invalid principal in policy: "SERVICE":"ec2"'),
        (of_resource(Principal=None, NotPrincipal={"AWS": "123456789012"}), "Has prohibited field NotPrincipal"),
        (of_resource(Effect="deny"), LEGACY),
        (of_resource(Action=None), NO_ACTIONS),
        (of_resource(Action="x"), PREFACED),
        (of_resource(Resource="bucket"), no_arn("bucket")),
        (of_resource(Resource="arn:aws:s3::bucket"), LEGACY),
        (of_resource(Condition={"DateEquals": {"a": "soon"}}), LEGACY),
        (of_resource(Other="x"), SYNTAX),
    ],
)  # fmt: skip
def test_malformed_resource_policies(source: Any, message: str) -> None:
    with pytest.raises(AwsError) as caught:
        check_resource_policy(json.dumps(source))
    assert (caught.value.code, caught.value.message) == ("MalformedPolicyDocument", message)


@pytest.mark.parametrize(
    "source",
    [
        of_resource(),
        of_resource(Principal="*"),
        of_resource(Principal={"AWS": ["*", "arn:aws:iam::123456789012:role/a"], "Service": "s3.amazonaws.com"}),
        of_resource(Principal=None, NotPrincipal={"AWS": "123456789012"}, Effect="Deny"),
        of_resource(Resource=None),  # A role's trust policy has none.
    ],
)
def test_resource_policies_that_are_fine(source: Any) -> None:
    check_resource_policy(json.dumps(source))
    compile_document(source)


# AWS's own -------------------------------------------------------------------------------------------------------------


def test_every_policy_that_aws_keeps_is_well_formed_and_can_be_compiled() -> None:
    policies = managed.listed()
    assert len(policies) > 1500
    refused = {policy.name: text for policy in policies if (text := refusal(policy.default_document))}
    # They name `role-template/`, which customers' policies may not.
    assert set(refused) == {
        "AWSCloudWatchOmniServiceRolePolicy", "AWSObservabilityAdminTelemetryEnablementServiceRolePolicy",
    }  # fmt: skip
    for policy in policies:
        compiled = parse(policy.default_document)
        assert compiled.statements, policy.name
        source = json.loads(policy.default_document)
        for each in source["Statement"] if isinstance(source["Statement"], list) else [source["Statement"]]:
            actions = each.get("Action", [])
            for action in actions if isinstance(actions, list) else [actions]:
                denied, allowed = compiled.on(action.replace("*", "X").replace("?", "x"))
                assert denied if each["Effect"] == "Deny" else allowed, (policy.name, action)


# Whatever is written ----------------------------------------------------------------------------------------------------

ODD: list[Any] = [
    None, True, 0, -1, 1e300, "", "*", "${", "${aws:username}", "x", "é", "\x00", "arn:aws:iam::1:role/x", "10.0.0.0/8",
    "2026-01-01", [], {}, [[]], {"AWS": "*"}, "Allow", "s3:*", "a" * 5000, "*" * 300, ["x", "y"], {"StringEquals": {"a": "b"}},
]  # fmt: skip
OPERATORS = [
    "StringLike",
    "NumericEquals",
    "DateLessThan",
    "BinaryEquals",
    "IpAddress",
    "ArnLike",
    "Null",
    "ForAllValues:Bool",
    "x",
]


def odd(chance: random.Random) -> Any:
    made: Any = document(
        *[
            statement(
                Condition={chance.choice(OPERATORS): {"a:b": chance.choice([*ODD, "1", "true", "YW5u"])}}
                if chance.random() < 0.6
                else None
            )
            for _ in range(chance.choice((1, 1, 2)))
        ]
    )
    for _ in range(chance.choice((0, 1, 1, 2))):
        target = chance.choice([made, *made["Statement"]]) if isinstance(made.get("Statement"), list) else made
        if isinstance(target, dict):
            target[
                chance.choice(["Sid", "Effect", "Action", "NotAction", "Resource", "Principal", "Condition", "Version"])
            ] = chance.choice(ODD)
    return made


def test_whatever_is_written_it_is_refused_or_can_be_compiled_and_asked() -> None:
    outcomes = {True: 0, False: 0}
    for seed in range(4000):
        source = odd(random.Random(seed))
        for check in (lambda text: check_identity(text, managed=False), check_trust):
            text = json.dumps(source)
            try:
                check(text)
            except AwsError as error:
                assert error.code == "MalformedPolicyDocument" and error.message
                outcomes[False] += 1
                continue
            outcomes[True] += 1
            for each in parse(text).statements:
                each.speaks_of("s3:listbucket")
                for given in ("x", ["x", "1"], [], "é"):
                    each.applies("arn:aws:s3:::bucket", {"a:b": given, "aws:username": "ann"})  # type: ignore[dict-item]
    assert min(outcomes.values()) > 200, outcomes


def test_white_space_does_not_count() -> None:
    text = json.dumps(document(), indent=4) + "\n\t"
    assert (
        size(text)
        == size(json.dumps(document(), separators=(",", ":")))
        == len(json.dumps(document()).replace(" ", ""))
    )
