"""An account as `longshore doctor` reads it, in which all is well; and ways to change one thing of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

import longshore.services.iam
from longshore.cli.doctor import asked, checks, judge
from longshore.cli.doctor.account import (
    MANAGED,
    Account,
    Caller,
    Definition,
    Environment,
    Policy,
    Profile,
    Queue,
    Role,
)
from longshore.cli.doctor.checks import Finding

NUMBER = "123456789012"
ROLE = f"arn:aws:iam::{NUMBER}:role/"
ANN = f"arn:aws:iam::{NUMBER}:user/ann"
CLUSTER = f"arn:aws:ecs:us-east-1:{NUMBER}:cluster/ce_Batch_1"
_POLICIES = Path(longshore.services.iam.__file__).parent / "managed_policies"


def document(effect: str, *actions: str, resource: Any = "*", **more: Any) -> dict[str, Any]:
    statement = {"Effect": effect, "Action": list(actions), "Resource": resource, **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


def trust(*services: str, **more: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"Service": list(services)}, "Action": "sts:AssumeRole", **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


def aws_own(name: str) -> dict[str, Any]:
    """The document of a policy of AWS."""
    found: dict[str, Any] = json.loads((_POLICIES / f"{name}.json").read_text("utf-8"))["document"]
    return found


def attached(arn: str) -> Policy:
    return Policy("attached", arn, aws_own(arn.rpartition("/")[2]))


MANAGED_HERE = {arn: aws_own(arn.rpartition("/")[2]) for arn in MANAGED.values() if arn is not None}
INSTANCE, SERVICE, TASKS = (MANAGED[kind] or "" for kind in ("instance role", "service role", "execution role"))


def role(name: str, *services: str, policies: tuple[Policy, ...] = (), **more: Any) -> Role:
    return Role(name=name, arn=ROLE + name, trust=trust(*services), policies=policies, **more)


def healthy() -> Account:
    """A user who may do all, an environment with its own service role, a job definition with both roles."""
    return Account(
        number=NUMBER,
        region="us-east-1",
        caller=Caller(arn=ANN, source=ANN, policies=(Policy("inline", "all", document("Allow", "*")),)),
        environments=(
            Environment(name="ce", service_role=f"{ROLE}service", instance_role="ecsInstanceRole", cluster=CLUSTER),
        ),
        queues=(Queue(name="q", state="ENABLED", status="VALID", status_reason="", environments=()),),
        definitions=(Definition(name="jd:1", job_role=f"{ROLE}job", execution_role=f"{ROLE}execution"),),
        profiles={"ecsInstanceRole": profile("ecsInstanceRole", "ecsInstanceRole")},
        roles={
            "service": role("service", "batch.amazonaws.com", policies=(attached(SERVICE),)),
            "ecsInstanceRole": role("ecsInstanceRole", "ec2.amazonaws.com", policies=(attached(INSTANCE),)),
            "execution": role("execution", "ecs-tasks.amazonaws.com", policies=(attached(TASKS),)),
            "job": role("job", "ecs-tasks.amazonaws.com"),
        },
        managed=MANAGED_HERE,
    )


def profile(name: str, *roles: str) -> Profile:
    return Profile(name=name, arn=f"arn:aws:iam::{NUMBER}:instance-profile/{name}", roles=roles)


def with_role(account: Account, name: str, **changes: Any) -> Account:
    """One role changed, or new."""
    before = account.roles.get(name) or role(name, "ec2.amazonaws.com")
    return replace(account, roles={**account.roles, name: replace(before, **changes)})


def without_role(account: Account, name: str) -> Account:
    return replace(account, roles={key: each for key, each in account.roles.items() if key != name})


def with_profile(account: Account, name: str, *roles: str) -> Account:
    return replace(account, profiles={**account.profiles, name: profile(name, *roles)})


def with_environment(account: Account, **changes: Any) -> Account:
    return replace(account, environments=(replace(account.environments[0], **changes),))


def with_definition(account: Account, **changes: Any) -> Account:
    return replace(account, definitions=(replace(account.definitions[0], **changes),))


def findings(account: Account) -> list[Finding]:
    """By the policies that were read, without a simulator."""
    answers = {each: said for each in asked.everything(account) if (said := judge.answer(account, each)) is not None}
    return checks.check(account, answers)
