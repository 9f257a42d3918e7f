"""When the house itself fails: an internal failure in the protocol's form, without a word of its inside, and nothing kept."""

from __future__ import annotations

import sqlite3
from functools import partial

import pytest
from botocore.exceptions import ClientError

from aws.oracle import operation_names
from gateway.requests import error_of, sent, signed, strange_request
from in_process import InProcessHouse
from longshore.server.assemble import SERVICES
from people import EC2_TRUST, Person, allow, document

FAILURES = {
    "iam": ("InternalFailure", 500),
    "ec2": ("InternalError", 500),
    "ecs": ("ServerException", 500),
    "batch": ("ServerException", 500),
    "logs": ("ServerException", 500),
}


def write(house: InProcessHouse, service: str) -> None:
    match service:
        case "iam":
            house.client("iam").create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
        case "ec2":
            house.client("ec2").create_vpc(CidrBlock="10.9.0.0/16")
        case "ecs":
            house.client("ecs").create_cluster(clusterName="c")
        case "batch":
            house.client("batch").register_job_definition(
                jobDefinitionName="jd",
                type="container",
                containerProperties={"image": "busybox", "vcpus": 1, "memory": 64},
            )
        case "logs":
            house.client("logs").create_log_group(logGroupName="g")


def found(house: InProcessHouse, service: str) -> int:
    match service:
        case "iam":
            return len(house.client("iam").list_roles()["Roles"])
        case "ec2":
            return sum(vpc["CidrBlock"] == "10.9.0.0/16" for vpc in house.client("ec2").describe_vpcs()["Vpcs"])
        case "ecs":
            return len(house.client("ecs").list_clusters()["clusterArns"])
        case "batch":
            return len(house.client("batch").describe_job_definitions()["jobDefinitions"])
        case _:
            return len(house.client("logs").describe_log_groups()["logGroups"])


@pytest.mark.parametrize("service", sorted(FAILURES))
def test_a_commit_that_fails_is_told_and_nothing_is_kept(
    house: InProcessHouse, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> BaseException:
        house.store._writer.execute("ROLLBACK")  # type: ignore[attr-defined]
        return sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(house.store, "_commit", fails)
        with pytest.raises(ClientError) as caught:
            write(house, service)
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == FAILURES[service]
    assert "disk" not in error["Error"]["Message"]
    assert found(house, service) == 0
    write(house, service)
    assert found(house, service) == 1


@pytest.mark.parametrize("service", sorted(FAILURES))
def test_a_fault_of_ours_is_no_fault_of_the_caller_s_and_says_nothing_of_itself(
    house: InProcessHouse, service: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("hunter2")

    with monkeypatch.context() as patched:
        patched.setattr(house.assembly.dispatcher, "run", broken)
        with pytest.raises(ClientError) as caught:
            write(house, service)
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == FAILURES[service]
    assert "hunter2" not in str(error)
    assert "request failed" in capsys.readouterr().out
    assert found(house, service) == 0


def test_what_the_house_offers_no_one_may_without_a_policy(house: InProcessHouse) -> None:
    """Default deny, for every operation of every room but those that are open to all who are signed in."""
    nobody = Person(house, "nobody")
    key = (nobody.key["AccessKeyId"], nobody.key["SecretAccessKey"], None)
    answered, refused = set(), set()
    refusals = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
    for room in SERVICES.values():
        ask = partial(
            strange_request, room.name, sound={"resourcearn": [f"arn:aws:batch:us-east-1:{'1' * 12}:job-queue/q"]}
        )
        names = [name for name in operation_names(room.name) if room.operation(name) is not None]
        for name in names:
            for number in range(3):
                answer = sent(house, signed(house, ask(name, f"{name}.{number}"), room.name, key=key))
                if answer.status < 300:
                    answered.add(name)
                    continue
                code, message, _ = error_of(room.name, answer, name)
                if code in refusals:
                    refused.add((room.name, name))
                    assert "User: arn:aws:iam::123456789012:user/nobody is not authorized to perform: " in message
    assert answered <= {"GetCallerIdentity", "GetSessionToken", "GetUser", "GetAccessKeyInfo"}, answered
    assert len(refused) > 130  # The others lack what their questions are made of, and are refused for that.
    assert found(house, "iam") == found(house, "ecs") == found(house, "batch") == found(house, "logs") == 0


def test_what_is_denied_outright_is_denied_whatever_else_is_allowed(house: InProcessHouse) -> None:
    ann = Person(house, "ann")
    ann.may(allow("*"), {"Effect": "Deny", "NotAction": "iam:Get*", "Resource": "*"})
    iam = ann.client("iam")
    assert iam.get_user(UserName="ann")["User"]["UserName"] == "ann"
    for call in (
        lambda: iam.list_users(),
        lambda: iam.put_user_policy(UserName="ann", PolicyName="more", PolicyDocument=document(allow("*"))),
        lambda: ann.client("ecs").list_clusters(),
        lambda: ann.client("batch").describe_jobs(jobs=["x"]),
    ):
        with pytest.raises(ClientError, match="with an explicit deny in an identity-based policy"):
            call()
