"""What EC2's refusals tell by DecodeAuthorizationMessage, and to whom."""

from __future__ import annotations

import base64
import json
import re

import pytest
from botocore.exceptions import ClientError

from accounts import Account, limit
from in_process import ACCOUNT
from people import Person, allow, deny, document, trust
from refusals import refused, unchecked

SENTENCE = re.compile(
    r"You are not authorized to perform this operation\. User: (\S+) is not authorized to perform: (\S+) on resource: "
    r"(\S+) (.+)\. Encoded authorization failure message: ([\w-]+)"
)
GROUP = f"arn:aws:ec2:us-east-1:{ACCOUNT}:security-group"


def refusal_of(call, **request):
    """(the reason, the encoded message)"""
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    assert error["Code"] == "UnauthorizedOperation"
    found = SENTENCE.fullmatch(error["Message"])
    assert found, error["Message"]
    return found.group(4), found.group(5)


def decoded(sts, encoded):
    return json.loads(sts.decode_authorization_message(EncodedMessage=encoded)["DecodedMessage"])


def values(items):
    return [each["value"] for each in items["items"]]


def test_silence_is_told_with_what_was_asked(house, person) -> None:
    anna = person("anna")
    group = house.client("ec2").create_security_group(GroupName="g", Description="d")["GroupId"]
    house.client("ec2").create_tags(Resources=[group], Tags=[{"Key": "team", "Value": "a"}])
    because, encoded = refusal_of(anna.client("ec2").delete_security_group, GroupId=group)
    assert because == "because no identity-based policy allows the ec2:DeleteSecurityGroup action"
    told = decoded(house.client("sts"), encoded)
    conditions = {each["key"]: values(each["values"]) for each in told["context"].pop("conditions")["items"]}
    assert told == {
        "allowed": False,
        "explicitDeny": False,
        "matchedStatements": {"items": []},
        "failures": {"items": []},
        "context": {
            "principal": {"id": anna.user["UserId"], "name": "anna", "arn": anna.arn},
            "action": "ec2:DeleteSecurityGroup",
            "resource": f"{GROUP}/{group}",
        },
    }
    assert conditions["aws:ARN"] == [f"{GROUP}/{group}"]
    assert conditions["aws:Region"] == conditions["ec2:Region"] == ["us-east-1"]
    assert conditions["ec2:ResourceTag/team"] == ["a"]


def test_the_statements_that_deny_are_named(house, person) -> None:
    anna = person("anna")
    elsewhere = {"StringNotEquals": {"aws:RequestedRegion": ["eu-west-1", "eu-central-1"]}}
    anna.may(
        allow("ec2:*"),
        {"Sid": "Not", **deny("ec2:CreateVpc")},
        {"Sid": "Here", **deny(["ec2:DescribeVpcs", "ec2:DescribeSubnets"], Condition=elsewhere)},
        {"Sid": "Else", "Effect": "Deny", "NotAction": "ec2:Create*", "NotResource": "arn:aws:s3:::x"},
    )
    because, encoded = refusal_of(anna.client("ec2").describe_vpcs)
    assert because == "with an explicit deny in an identity-based policy"
    told = decoded(house.client("sts"), encoded)
    assert told["explicitDeny"] is True
    here, other = told["matchedStatements"]["items"]
    assert (here["statementId"], here["effect"]) == ("Here", "DENY")
    assert values(here["actions"]) == ["ec2:DescribeVpcs", "ec2:DescribeSubnets"]
    assert values(here["resources"]) == ["*"]
    assert values(here["principals"]) == [anna.user["UserId"]]
    (condition,) = here["conditions"]["items"]
    assert (condition["key"], values(condition["values"])) == ("aws:RequestedRegion", ["eu-west-1", "eu-central-1"])
    assert values(other["notActions"]) == ["ec2:Create*"]
    assert "actions" not in other and values(other["notResources"]) == ["arn:aws:s3:::x"]


def test_boundary_session_and_service_control_policies_are_looked_through_too(house, person, client_of) -> None:
    anna = person("anna")
    denies = document({"Sid": "Deny", **deny("ec2:DescribeVpcs")}, allow("*"))
    role = house.client("iam").create_role(RoleName="ops", AssumeRolePolicyDocument=trust({"AWS": anna.arn}))["Role"]
    house.client("iam").put_role_policy(RoleName="ops", PolicyName="p", PolicyDocument=document(allow("*")))
    sts = anna.client("sts")
    session = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="se", Policy=denies)
    because, encoded = refusal_of(client_of(session, "ec2").describe_vpcs)
    assert because == "with an explicit deny in a session policy"
    told = decoded(house.client("sts"), encoded)
    (matched,) = told["matchedStatements"]["items"]
    assert values(matched["principals"]) == [role["RoleId"]]
    assert told["context"]["principal"] == {
        "id": f"{role['RoleId']}:se",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/se",
    }
    limit(house, ACCOUNT, [denies])
    because, encoded = refusal_of(house.client("ec2").describe_vpcs)
    assert because == "with an explicit deny in a service control policy"
    told = decoded(house.client("sts"), encoded)
    assert [each["statementId"] for each in told["matchedStatements"]["items"]] == ["Deny"]
    assert told["context"]["principal"] == {"id": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:root"}


def test_it_is_read_by_those_who_may(house, person) -> None:
    anna = person("anna")
    _, encoded = refusal_of(anna.client("ec2").describe_vpcs)
    sts = anna.client("sts")
    with refused(
        "AccessDenied",
        f"User: {anna.arn} is not authorized to perform: sts:DecodeAuthorizationMessage on resource: * "
        "because no identity-based policy allows the sts:DecodeAuthorizationMessage action",
        status=403,
    ):
        sts.decode_authorization_message(EncodedMessage=encoded)
    anna.may(allow("sts:DecodeAuthorizationMessage"))
    assert decoded(sts, encoded)["context"]["principal"]["arn"] == anna.arn


def test_rubbish_and_messages_of_others_are_refused_alike(house, person) -> None:
    other = Account(house)
    bob = Person(house, "bob", iam=other.client("iam"))
    _, theirs = refusal_of(bob.client("ec2").describe_vpcs)
    assert decoded(other.client("sts"), theirs)["context"]["principal"]["arn"] == bob.arn
    _, ours = refusal_of(person("anna").client("ec2").describe_vpcs)
    changed = ours[:40] + ("A" if ours[40] != "A" else "B") + ours[41:]
    # What is sealed for another purpose is no message, though it is the house's own.
    token = house.client("sts").get_session_token()["Credentials"]["SessionToken"]
    other_purpose = base64.urlsafe_b64encode(base64.b64decode(token)).decode()
    sts = house.client("sts")
    for wrong in ("rubbish", "%%%", "é", "A" * 10240, changed, theirs, other_purpose, ours[:-4]):
        with refused("InvalidAuthorizationMessageException", status=400):
            sts.decode_authorization_message(EncodedMessage=wrong)
    with refused("ValidationError", status=400):
        unchecked(sts).decode_authorization_message(EncodedMessage="A" * 10241)


def test_only_callers_from_outside_are_told(house) -> None:
    """What a service asks, and what is explained, is said in plain words: nobody there could decode it."""
    turn = house.house.turn("batch")

    def ask(call):
        call.peer("ec2", "DeleteVpc", {"VpcId": "vpc-0"}, as_=call.as_service())

    async def run():
        await turn.write(ask)

    with pytest.raises(Exception, match=r"needs a role for the ec2:DeleteVpc action$"):
        house.loop.run_until_complete(run())
