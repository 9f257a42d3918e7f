"""What the simulator answers, from values; the positions are those that AWS was recorded to answer."""

from __future__ import annotations

import json

import pytest

from longshore.aws.principal import Principal, root
from longshore.policy.document import parse
from longshore.policy.simulate import (
    BOUNDARY,
    IDENTITY,
    RESOURCE,
    Setting,
    Source,
    context_keys,
    simulate,
    statement_places,
    together,
)
from people import allow, deny, document

ACCOUNT, OTHER = "123456789012", "210987654321"
ANNA = Principal(kind="user", account=ACCOUNT, arn=f"arn:aws:iam::{ACCOUNT}:user/anna", user_id="AIDAANNA")
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"
TIMES = (
    '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*",'
    '"Condition":{"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}}}}'
)

# (text, places as (line, column) pairs). Sources: the aws command's own examples; answers recorded in public projects.
PLACES = [
    # aws-cli, examples/iam/simulate-custom-policy: one statement without a list begins behind its brace.
    (TIMES, [((1, 38), (1, 167))]),
    # AdministratorAccess as AWS writes it, two blanks deep; recorded 2019 and later.
    (json.dumps(json.loads(document(allow("*"))), indent=2), [((3, 17), (8, 6))]),
    # A list on one line: the second statement begins where the first ended.
    ('{"Version": "2012-10-17", "Statement": [{"a": 1}, {"b": 2}]}', [((1, 41), (1, 49)), ((1, 49), (1, 59))]),
    # Tabs are one column each: AmazonS3ReadOnlyAccess, recorded 2025.
    ('{\n\t"Version": "2012-10-17",\n\t"Statement": [\n\t\t{\n\t\t}\n\t]\n}', [((3, 16), (5, 4))]),
    ('{"Statement":[]}', []),
    ('{"Statement":[{}],"Id":"]}"}', [((1, 15), (1, 17))]),
    ('{"Id":"\\"Statement\\":[{}]","Statement":{}}', [((1, 41), (1, 42))]),
    # Carriage returns: alone and with a line feed they end one line.
    ('{"Statement":\r\n[\r{}]}', [((2, 2), (3, 3))]),
    # Of two members of a name the last is the one that counts.
    ('{"Statement":[{}],"Statement":[{"a":1}]}', [((1, 32), (1, 39))]),
]


@pytest.mark.parametrize(("text", "places"), PLACES, ids=range(len(PLACES)))
def test_where_statements_stand(text: str, places: list[tuple[tuple[int, int], tuple[int, int]]]) -> None:
    assert statement_places(text) == places


def given(*documents: str) -> tuple[Source, ...]:
    return tuple(Source(f"PolicyInputList.{number}", IDENTITY, text) for number, text in enumerate(documents, 1))


def test_an_allowance_names_all_statements_that_allow() -> None:
    first, second = document(allow("sqs:*"), allow("s3:*")), document(allow("sqs:SendMessage", QUEUE))
    found = simulate(Setting(principal=ANNA, identity=given(first, second)), "sqs:SendMessage", QUEUE, {})
    assert found.decision == "allowed"
    assert [each.source.policy_id for each in found.matched] == ["PolicyInputList.1", "PolicyInputList.2"]
    assert found.matched[0].start == statement_places(first)[0][0]


def test_a_denial_names_only_what_denies_also_in_the_boundary() -> None:
    boundary = Source("PermissionsBoundaryPolicyInputList.1", BOUNDARY, document(deny("sqs:*"), allow("*")))
    setting = Setting(principal=ANNA, identity=given(document(allow("*"))), boundary=boundary)
    found = simulate(setting, "sqs:SendMessage", QUEUE, {})
    assert (found.decision, found.allowed_by_boundary) == ("explicitDeny", False)
    assert [each.source.policy_type for each in found.matched] == ["Permissions Boundary Policy"]


def test_a_boundary_that_is_silent_has_no_statement_to_show() -> None:
    boundary = Source("b", BOUNDARY, document(allow("s3:*")))
    found = simulate(Setting(principal=ANNA, identity=given(document(allow("*"))), boundary=boundary), "sqs:A", "*", {})
    assert (found.decision, found.matched, found.allowed_by_boundary) == ("implicitDeny", (), False)


def test_what_the_organization_forbids_ends_the_simulation() -> None:
    setting = Setting(
        principal=ANNA, identity=given(document(allow("*"))), service_control=((parse(document(deny("sqs:*"))),),)
    )
    found = simulate(setting, "sqs:SendMessage", QUEUE, {})
    assert (found.decision, found.matched, found.allowed_by_organization) == ("explicitDeny", (), False)
    assert simulate(setting, "s3:ListBucket", "*", {}).decision == "implicitDeny"


def test_across_accounts_each_side_is_told() -> None:
    theirs = f"arn:aws:sqs:us-east-1:{OTHER}:q"
    policy = {"Effect": "Allow", "Principal": {"AWS": ANNA.arn}, "Action": "sqs:*", "Resource": "*"}
    resource = Source("ResourcePolicy", RESOURCE, document(policy))
    setting = Setting(principal=ANNA, identity=given(document(allow("s3:*"))), resource_policy=resource)
    found = simulate(setting, "sqs:SendMessage", theirs, {})
    assert found.decision == "implicitDeny"
    assert found.details == {"IAM Policy": "implicitDeny", "Resource Policy": "allowed"}
    here = simulate(setting, "sqs:SendMessage", QUEUE, {})
    assert (here.decision, here.details) == ("allowed", {})
    assert [each.source.policy_id for each in here.matched] == ["ResourcePolicy"]


def test_an_owner_is_taken_where_the_arn_names_none() -> None:
    policy = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}
    resource = Source("ResourcePolicy", RESOURCE, document(policy))
    for owner, decision in ((OTHER, "implicitDeny"), (ACCOUNT, "allowed"), (None, "allowed")):
        setting = Setting(principal=ANNA, resource_policy=resource, resource_owner=owner)
        assert simulate(setting, "s3:GetObject", "arn:aws:s3:::b/k", {}).decision == decision


def test_without_a_resource_policy_only_the_caller_s_side_is_looked_at() -> None:
    setting = Setting(principal=ANNA, identity=given(document(allow("*"))))
    assert simulate(setting, "sqs:SendMessage", f"arn:aws:sqs:us-east-1:{OTHER}:q", {}).decision == "allowed"


def test_a_trust_policy_decides_for_itself() -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/r"
    policy = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
    trust = Source("ResourcePolicy", RESOURCE, document(policy))
    silent = Setting(principal=ANNA, resource_policy=trust)
    assert simulate(silent, "sts:AssumeRole", role, {}).decision == "implicitDeny"
    asked = Setting(principal=ANNA, identity=given(document(allow("sts:*"))), resource_policy=trust)
    assert simulate(asked, "sts:AssumeRole", role, {}).decision == "allowed"
    assert simulate(Setting(principal=root(ACCOUNT), resource_policy=trust), "sts:AssumeRole", role, {}).matched


def test_keys_that_are_missing_are_those_of_statements_that_could_apply() -> None:
    text = document(
        allow("sqs:SendMessage", f"{QUEUE}-${{aws:UserName}}"),
        allow("sqs:SendMessage", QUEUE, Condition={"StringEquals": {"aws:SourceVpc": "${aws:userid}"}}),
        allow("sqs:ReceiveMessage", QUEUE, Condition={"Bool": {"aws:SecureTransport": "true"}}),
        allow("sqs:SendMessage", f"{QUEUE}2", Condition={"Bool": {"aws:ViaAWSService": "true"}}),
        allow("sqs:SendMessage", Condition={"DateLessThan": {"AWS:currentTime": "2030-01-01"}}),
    )
    setting = Setting(principal=ANNA, identity=given(text))
    found = simulate(setting, "sqs:SendMessage", QUEUE, {"aws:userid": "AIDA"})
    assert found.missing == ("aws:SourceVpc", "AWS:currentTime")
    assert simulate(setting, "sqs:SendMessage", f"{QUEUE}-anna", {}).missing == ("aws:UserName", "AWS:currentTime")


def test_keys_of_documents_are_told_once_as_they_are_spelled_first() -> None:
    text = document(
        allow("dynamodb:*", "arn:aws:dynamodb:us-west-2:123456789012:table/${aws:username}"),
        allow("*", Condition={"StringLike": {"aws:UserName": ["${*}", "${aws:PrincipalTag/team, 'x'}"]}}),
        allow("*", Condition={"DateGreaterThan": {"aws:CurrentTime": "2015-08-16T12:00:00Z"}}),
    )
    assert context_keys([text]) == ["aws:username", "aws:PrincipalTag/team", "aws:CurrentTime"]
    old = document(allow("*", "arn:aws:s3:::${aws:username}", Condition={"Bool": {"a:b": "true"}}), version=None)
    assert context_keys([old]) == ["a:b"]


def test_of_several_resources_the_strictest_decision_stands() -> None:
    text = document(allow("sqs:*", QUEUE), deny("sqs:*", f"{QUEUE}-d"))
    setting = Setting(principal=ANNA, identity=given(text))
    found = [simulate(setting, "sqs:SendMessage", each, {}) for each in (QUEUE, f"{QUEUE}-d", f"{QUEUE}-x")]
    assert [each.decision for each in found] == ["allowed", "explicitDeny", "implicitDeny"]
    whole = together(found)
    assert whole.decision == "explicitDeny" and whole.matched == found[1].matched
    assert together([found[0], found[2]]).decision == "implicitDeny"
