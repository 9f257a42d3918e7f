"""What is sure of a decision whose context is not all known."""

from __future__ import annotations

import json
from typing import Any

import pytest

from longshore.aws.principal import Principal, service
from longshore.policy.document import Document, parse
from longshore.policy.doubt import open_keys
from longshore.policy.evaluate import Policies, Question, evaluate

ACCOUNT = "123456789012"
AGENT = Principal(
    kind="assumed-role",
    account=ACCOUNT,
    arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/r/i-1",
    user_id="AROA:i-1",
    role_arn=f"arn:aws:iam::{ACCOUNT}:role/r",
    role_id="AROA",
    session_name="i-1",
)
UNKNOWN = frozenset({"aws:sourceip", "aws:userid"})
POLL = "arn:aws:ecs:us-east-1:123456789012:container-instance/c/1"
ADDRESS = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
ALLOW: dict[str, Any] = {"Effect": "Allow", "Action": "ecs:*", "Resource": "*"}
DENY: dict[str, Any] = {**ALLOW, "Effect": "Deny"}


def document(*statements: dict[str, Any]) -> Document:
    return parse(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


# (what the policies say, identity-based, boundary, the keys that leave it open)
CASES: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]] | None, set[str]]] = [
    ("nothing", [], None, set()),
    ("allowed", [ALLOW], None, set()),
    ("allowed from an address", [{**ALLOW, "Condition": ADDRESS}], None, {"aws:sourceip"}),
    ("allowed, and from an address again", [ALLOW, {**ALLOW, "Condition": ADDRESS}], None, set()),
    ("denied from an address", [ALLOW, {**DENY, "Condition": ADDRESS}], None, {"aws:sourceip"}),
    ("denied from an address, not allowed at all", [{**DENY, "Condition": ADDRESS}], None, set()),
    ("denied, allowed from an address", [DENY, {**ALLOW, "Condition": ADDRESS}], None, set()),
    ("another action from an address", [ALLOW, {**DENY, "Action": "ecs:RunTask", "Condition": ADDRESS}], None, set()),
    ("another resource", [ALLOW, {**DENY, "Resource": "arn:aws:ecs:::x", "Condition": ADDRESS}], None, set()),
    ("a condition that can't hold beside it",
     [{**ALLOW, "Condition": {**ADDRESS, "StringEquals": {"aws:username": "bob"}}}], None, set()),
    ("a variable in the resource", [{**ALLOW, "Resource": "arn:aws:ecs:*:*:*/${aws:userid}"}], None, {"aws:userid"}),
    ("a boundary from an address", [ALLOW], [{**ALLOW, "Condition": ADDRESS}], {"aws:sourceip"}),
    ("a boundary that is silent", [{**ALLOW, "Condition": ADDRESS}], [], set()),
]  # fmt: skip


@pytest.mark.parametrize("name, identity, boundary, keys", CASES, ids=[case[0] for case in CASES])
def test_the_keys_that_leave_a_decision_open(
    name: str, identity: list[dict[str, Any]], boundary: list[dict[str, Any]] | None, keys: set[str]
) -> None:
    policies = Policies(
        identity=(document(*identity),), boundary=None if boundary is None else document(*boundary)
    )  # fmt: skip
    question = Question(AGENT, "ecs:Poll", POLL, {})
    assert open_keys(question, policies, UNKNOWN) == keys
    answers = {
        evaluate(Question(AGENT, "ecs:Poll", POLL, context), policies).allowed
        for context in (
            {"aws:sourceip": "10.1.1.1", "aws:userid": "1"}, {"aws:sourceip": "11.1.1.1", "aws:userid": "2"},
            {"aws:sourceip": "10.1.1.1", "aws:userid": "c/1"}, {},
        )
    }  # fmt: skip
    assert len(answers) == (2 if keys else 1)  # So it is: where no key leaves it open, it is always the same.


def test_a_trust_policy_may_be_open_too() -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/r"
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    question = Question(service("ec2.amazonaws.com", ACCOUNT), "sts:AssumeRole", role, {})
    assert open_keys(question, Policies(), UNKNOWN, document(trust), "trust") == set()
    assert open_keys(question, Policies(), UNKNOWN, document({**trust, "Condition": ADDRESS}), "trust") == {
        "aws:sourceip"
    }
