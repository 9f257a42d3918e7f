"""The condition keys that a service fills in by itself: by real calls of real principals, a row for each key and each kind.

A policy allows one thing on one condition; the call tells what the key was. Source: IAM user guide, "AWS global condition
context keys".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from accounts import limit
from in_process import ACCOUNT, InProcessHouse
from people import EC2_TRUST, Person, allow, document, trust

NOW = "2026-"  # the house's clock begins in that year


class Callers:
    """One of each kind, and what each may do: set anew by `may`."""

    def __init__(self, house: InProcessHouse) -> None:
        self.house = house
        iam = house.client("iam")
        self.iam = iam
        self.anna = Person(house, "anna", Tags=[{"Key": "Team", "Value": "red"}, {"Key": "plain", "Value": "yes"}])
        self.role = iam.create_role(
            RoleName="ops", Path="/team/", Tags=[{"Key": "Team", "Value": "blue"}, {"Key": "Own", "Value": "role"}],
            AssumeRolePolicyDocument=trust(
                {"AWS": self.anna.arn}, ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
            ),
        )["Role"]  # fmt: skip
        self.worker = iam.create_role(RoleName="worker", AssumeRolePolicyDocument=EC2_TRUST)["Role"]
        iam.create_instance_profile(InstanceProfileName="worker")
        iam.add_role_to_instance_profile(InstanceProfileName="worker", RoleName="worker")
        sts = self.anna.client("sts")
        self.anna.may(allow(["sts:GetFederationToken", "sts:TagSession"]))
        everything = document(allow("*"))
        ec2 = house.client("ec2")
        images = ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"]
        (self.instance,) = ec2.run_instances(
            ImageId=images[0]["ImageId"],
            InstanceType="m5.large",
            MinCount=1,
            MaxCount=1,
            IamInstanceProfile={"Name": "worker"},
        )["Instances"]
        self.made: dict[str, dict[str, Any] | None] = {
            "root": None,
            "user": None,
            "user session": sts.get_session_token()["Credentials"],
            "role session": sts.assume_role(
                RoleArn=self.role["Arn"], RoleSessionName="job-7", SourceIdentity="anna@home",
                Tags=[{"Key": "team", "Value": "green"}], TransitiveTagKeys=["team"],
            )["Credentials"],
            "federated user": sts.get_federation_token(
                Name="guest", Policy=everything, Tags=[{"Key": "Team", "Value": "guests"}]
            )["Credentials"],
            "instance": self._of_instance(),
        }  # fmt: skip

    def _of_instance(self) -> dict[str, Any]:
        """Credentials as the instance's own metadata service hands them out."""
        from longshore.services.ec2 import metadata, store

        def look(call: Any) -> Any:
            instance = store.find_in(call.transaction, ACCOUNT, call.region, self.instance["InstanceId"])
            assert instance is not None
            return metadata.look_up(call, instance).credentials

        async def run() -> Any:
            return await self.house.house.turn("ec2").write(look)

        given = self.house.loop.run_until_complete(run())
        return {
            "AccessKeyId": given.access_key_id,
            "SecretAccessKey": given.secret_access_key,
            "SessionToken": given.token,
        }

    def client(self, kind: str, service: str) -> Any:
        if kind == "root":
            return self.house.client(service)
        made = self.made[kind]
        if made is None:
            return self.anna.client(service)
        return self.house.client(service, made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])

    def may(self, kind: str, statement: dict[str, Any]) -> None:
        text = document(allow(["sts:GetFederationToken", "sts:TagSession"]), statement)
        if kind == "root":
            limit(self.house, ACCOUNT, [document(statement)])
        elif kind == "role session":
            self.iam.put_role_policy(RoleName="ops", PolicyName="p", PolicyDocument=text)
        elif kind == "instance":
            self.iam.put_role_policy(RoleName="worker", PolicyName="p", PolicyDocument=text)
        else:
            self.anna.may(json.loads(text)["Statement"][0], statement)

    def holds(self, kind: str, condition: dict[str, Any]) -> bool:
        """Whether a call of Batch by one of that kind meets the condition."""
        try:
            self.may(kind, allow("batch:DescribeJobQueues", Condition=condition))
            self.client(kind, "batch").describe_job_queues()
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDeniedException", error
            return False
        finally:
            if kind == "root":
                limit(self.house, ACCOUNT)
        return True


@pytest.fixture(scope="module")
def callers() -> Iterator[Callers]:
    house = InProcessHouse()
    yield Callers(house)
    house.close()


def equals(key: str, value: str) -> dict[str, Any]:
    return {"StringEquals": {key: value}}


def absent(key: str) -> dict[str, Any]:
    return {"Null": {key: "true"}}


BASE = f"arn:aws:iam::{ACCOUNT}"
SOME, LONG_TERM, SESSIONS = (
    ["root", "user", "user session", "role session", "federated user", "instance"],
    ["root", "user"],
    ["user session", "role session", "federated user", "instance"],
)
USERS = ["user", "user session"]
NOT_INSTANCES = [kind for kind in SOME if kind != "instance"]

# kinds of caller, a condition that must hold. `{...}` stands for what only the run knows.
ROWS: list[tuple[list[str], dict[str, Any]]] = [
    (["root"], equals("aws:PrincipalArn", f"{BASE}:root")),
    (USERS, equals("aws:PrincipalArn", f"{BASE}:user/anna")),
    # The role's ARN with its path, not the session's.
    (["role session"], equals("aws:PrincipalArn", f"{BASE}:role/team/ops")),
    (["instance"], equals("aws:PrincipalArn", f"{BASE}:role/worker")),
    (["federated user"], equals("aws:PrincipalArn", f"arn:aws:sts::{ACCOUNT}:federated-user/guest")),
    (["root"], equals("aws:userid", ACCOUNT)),
    (USERS, equals("aws:userid", "{anna}")),
    (["role session"], equals("aws:userid", "{role}:job-7")),
    (["instance"], equals("aws:userid", "{worker}:{instance}")),
    (["federated user"], equals("aws:userid", f"{ACCOUNT}:guest")),
    (USERS, equals("aws:username", "anna")),
    (["root", "role session", "federated user", "instance"], absent("aws:username")),
    (["root"], equals("aws:PrincipalType", "Account")),
    (USERS, equals("aws:PrincipalType", "User")),
    (["role session", "instance"], equals("aws:PrincipalType", "AssumedRole")),
    (["federated user"], equals("aws:PrincipalType", "FederatedUser")),
    (SOME, equals("aws:PrincipalAccount", ACCOUNT)),
    (SOME, {"StringLike": {"aws:CurrentTime": f"{NOW}*T*:*:*Z"}}),
    (SOME, {"DateGreaterThan": {"aws:CurrentTime": "2025-06-01T00:00:00Z", "aws:EpochTime": "2025-06-01T00:00:00Z"}}),
    (SOME, {"DateGreaterThan": {"aws:EpochTime": "1748736000"}, "DateLessThan": {"aws:EpochTime": "4102444800"}}),
    (SOME, {"Bool": {"aws:SecureTransport": "false"}}),
    (SOME, {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}),
    (SOME, {"StringLike": {"aws:UserAgent": "Botocore/*"}}),
    (SOME, equals("aws:RequestedRegion", "us-east-1")),
    (SOME, {"Bool": {"aws:ViaAWSService": "false", "aws:PrincipalIsAWSService": "false"}}),
    (LONG_TERM, absent("aws:TokenIssueTime")),
    (SESSIONS, {"DateGreaterThan": {"aws:TokenIssueTime": "2025-06-01T00:00:00Z"}}),
    # Absent, not false, with long-term keys: a Deny with BoolIfExists false bites there, one with Bool does not.
    (LONG_TERM, absent("aws:MultiFactorAuthPresent")),
    (SESSIONS, {"Bool": {"aws:MultiFactorAuthPresent": "false"}}),
    (SOME, absent("aws:MultiFactorAuthAge")),
    (USERS, {"StringEquals": {"aws:PrincipalTag/team": "red", "aws:PrincipalTag/PLAIN": "yes"}}),
    # The session's own win over the role's, whatever their case; the others of the role stay.
    (["role session"], {"StringEquals": {"aws:PrincipalTag/Team": "green", "aws:PrincipalTag/Own": "role"}}),
    (["federated user"], equals("aws:PrincipalTag/Team", "guests")),
    (["root", "instance"], absent("aws:PrincipalTag/Team")),
    (["role session"], equals("aws:SourceIdentity", "anna@home")),
    (["root", *USERS, "federated user", "instance"], absent("aws:SourceIdentity")),
    (["instance"], {"ArnEquals": {"ec2:SourceInstanceArn": f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/{{instance}}"}}),
    (["instance"], equals("aws:Ec2InstanceSourceVpc", "{vpc}")),
    (["instance"], {"IpAddress": {"aws:Ec2InstanceSourcePrivateIPv4": "{address}"}}),
    (NOT_INSTANCES, {"Null": dict.fromkeys(
        ("ec2:SourceInstanceArn", "aws:Ec2InstanceSourceVpc", "aws:Ec2InstanceSourcePrivateIPv4"), "true")}),
    # What only services, organizations and private networks have.
    *((SOME, absent(key)) for key in (
        "aws:PrincipalOrgID", "aws:PrincipalOrgPaths", "aws:SourceArn", "aws:SourceAccount", "aws:PrincipalServiceName",
        "aws:SourceVpc", "aws:SourceVpce", "aws:CalledVia", "aws:FederatedProvider", "aws:RequestTag/x", "aws:TagKeys",
        "aws:ResourceTag/x",
    )),
]  # fmt: skip
CASES = [(kind, condition) for kinds, condition in ROWS for kind in kinds]


@pytest.mark.parametrize(("kind", "condition"), CASES, ids=[f"{kind}: {next(iter(c.values()))}" for kind, c in CASES])
def test_what_a_call_says_of_its_caller(callers: Callers, kind: str, condition: dict[str, Any]) -> None:
    text = json.dumps(condition)
    for name, value in {
        "anna": callers.anna.user["UserId"],
        "role": callers.role["RoleId"],
        "worker": callers.worker["RoleId"],
        "instance": callers.instance["InstanceId"],
        "vpc": callers.instance["VpcId"],
        "address": callers.instance["PrivateIpAddress"],
    }.items():
        text = text.replace(f"{{{name}}}", value)
    filled = json.loads(text)
    assert callers.holds(kind, filled)
    # It was the key that decided: what says the contrary holds no more.
    (operator, keys), *_ = filled.items()
    key, value = next(iter(keys.items()))
    if operator == "Null":
        assert not callers.holds(kind, {"Null": {key: "false"}})
    elif operator == "StringEquals":
        assert not callers.holds(kind, {"StringNotEquals": {key: value}})
    else:
        assert not callers.holds(kind, {"Null": {key: "true"}})


@pytest.mark.parametrize(("key", "value"), [("aws:RequestedRegion", "us-east-1"), ("aws:PrincipalAccount", ACCOUNT)])
def test_iam_is_in_one_region_wherever_it_is_asked(callers: Callers, key: str, value: str) -> None:
    callers.may("role session", allow("iam:ListRoles", Condition=equals(key, value)))
    made = callers.made["role session"]
    assert made is not None
    callers.house.client(
        "iam", made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"], region="eu-west-1"
    ).list_roles()


def test_keys_of_tags_are_those_of_the_request_and_of_the_target(callers: Callers) -> None:
    ec2 = callers.client("user", "ec2")
    group = callers.house.client("ec2").create_security_group(GroupName="tagged", Description="d")["GroupId"]
    only_team = {"ForAllValues:StringEquals": {"aws:TagKeys": ["Team"]}, "StringLike": {"aws:RequestTag/Team": "r*"}}
    callers.may("user", allow("ec2:CreateTags", Condition=only_team))
    ec2.create_tags(Resources=[group], Tags=[{"Key": "Team", "Value": "red"}])
    for tags in ([{"Key": "Team", "Value": "blue"}], [{"Key": "Team", "Value": "r"}, {"Key": "x", "Value": "y"}]):
        with pytest.raises(ClientError, match="because no identity-based policy allows the ec2:CreateTags action"):
            ec2.create_tags(Resources=[group], Tags=tags)
    own = {"StringEquals": {"aws:ResourceTag/Team": "${aws:PrincipalTag/Team}"}}
    callers.may("user", allow("ec2:DeleteSecurityGroup", Condition=own))
    ec2.delete_security_group(GroupId=group)
    other = callers.house.client("ec2").create_security_group(GroupName="other", Description="d")["GroupId"]
    with pytest.raises(ClientError, match="ec2:DeleteSecurityGroup"):
        ec2.delete_security_group(GroupId=other)


@pytest.mark.parametrize(
    ("condition", "asked", "holds"),
    [
        ({"StringEquals": {"sts:RoleSessionName": "se"}}, {}, True),
        ({"StringEquals": {"sts:RoleSessionName": "other"}}, {}, False),
        ({"StringEquals": {"sts:ExternalId": "agreed"}}, {"ExternalId": "agreed"}, True),
        ({"StringEquals": {"sts:ExternalId": "agreed"}}, {}, False),
        ({"Null": {"sts:ExternalId": "true"}}, {}, True),
        ({"StringLike": {"sts:SourceIdentity": "anna*"}}, {"SourceIdentity": "anna1"}, True),
        ({"StringLike": {"sts:SourceIdentity": "anna*"}}, {"SourceIdentity": "bert"}, False),
        ({"StringEquals": {"sts:SourceIdentity": "${aws:username}"}}, {"SourceIdentity": "anna"}, True),
        ({"ForAnyValue:StringEquals": {"sts:TransitiveTagKeys": "team"}},
         {"Tags": [{"Key": "team", "Value": "a"}], "TransitiveTagKeys": ["team"]}, True),
        ({"ForAnyValue:StringEquals": {"sts:TransitiveTagKeys": "team"}},
         {"Tags": [{"Key": "team", "Value": "a"}]}, False),
        ({"StringEquals": {"aws:RequestTag/team": "a"}}, {"Tags": [{"Key": "team", "Value": "a"}]}, True),
        ({"StringEquals": {"aws:RequestTag/team": "a"}}, {"Tags": [{"Key": "team", "Value": "b"}]}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}, {"Tags": [{"Key": "x", "Value": "b"}]}, False),
        ({"ArnEquals": {"aws:PrincipalArn": f"{BASE}:user/anna"}}, {}, True),
        ({"StringEquals": {"aws:PrincipalTag/team": "red"}}, {}, True),
        ({"StringEquals": {"aws:ResourceTag/kind": "taken"}}, {}, True),
        ({"StringEquals": {"iam:ResourceTag/kind": "taken"}}, {}, True),
        ({"StringEquals": {"aws:ResourceTag/kind": "other"}}, {}, False),
    ],
)  # fmt: skip
def test_the_keys_of_assuming_a_role(callers: Callers, condition: Any, asked: dict[str, Any], holds: bool) -> None:
    actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    text = trust({"AWS": callers.anna.arn}, actions, Condition=condition)
    role = callers.iam.create_role(
        RoleName="taken", AssumeRolePolicyDocument=text, Tags=[{"Key": "kind", "Value": "taken"}]
    )["Role"]
    try:
        callers.client("user", "sts").assume_role(RoleArn=role["Arn"], RoleSessionName="se", **asked)
        assert holds
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied"
        assert not holds
    finally:
        callers.iam.delete_role(RoleName="taken")


def test_a_service_says_for_whom_and_for_what_it_takes_a_role(callers: Callers) -> None:
    """Against the confused deputy. Source: ECS and Batch user guides, "Cross-service confused deputy prevention"."""
    environment = f"arn:aws:batch:us-east-1:{ACCOUNT}:compute-environment/ce"
    condition = {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnLike": {"aws:SourceArn": environment},
        "Null": {"aws:PrincipalArn": "true", "aws:TokenIssueTime": "true", "aws:SourceIp": "true"},
    }
    text = trust({"Service": "batch.amazonaws.com"}, Condition=condition)
    role = callers.iam.create_role(RoleName="of-batch", AssumeRolePolicyDocument=text)["Role"]["Arn"]

    def take(source_arn: str | None) -> Any:
        async def run() -> Any:
            return await callers.house.house.turn("batch").write(
                lambda call: call.assume(role, "batch.amazonaws.com", source_arn=source_arn)
            )

        return callers.house.loop.run_until_complete(run())

    assert take(environment).role_arn == role
    for other in (environment + "2", None):
        with pytest.raises(Exception, match="is not authorized to perform: sts:AssumeRole"):
            take(other)


def test_ecs_takes_task_roles_for_its_own_region_and_account(callers: Callers) -> None:
    """As the guide's trust policy for task roles has it."""
    condition = {
        "ArnLike": {"aws:SourceArn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:*"},
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
    }
    for name, told in (
        ("right", condition),
        ("wrong", {"ArnLike": {"aws:SourceArn": f"arn:aws:ecs:eu-west-1:{ACCOUNT}:*"}}),
    ):
        text = trust({"Service": "ecs-tasks.amazonaws.com"}, Condition=told)
        callers.iam.create_role(RoleName=f"task-{name}", AssumeRolePolicyDocument=text)
    ecs = callers.house.client("ecs")
    ecs.create_cluster(clusterName="c")
    for name in ("right", "wrong"):
        definition = ecs.register_task_definition(
            family=name, taskRoleArn=f"{BASE}:role/task-{name}",
            containerDefinitions=[{"name": "c", "image": "busybox:local", "memory": 64}],
        )["taskDefinition"]["taskDefinitionArn"]  # fmt: skip
        # With the right one it comes as far as to look for an instance.
        because = "No Container Instances were found" if name == "right" else "role/task-wrong"
        with pytest.raises(ClientError, match=because):
            ecs.run_task(cluster="c", taskDefinition=definition)
