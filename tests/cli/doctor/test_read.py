"""What is made of Batch's and the simulator's answers."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from longshore.cli.doctor.account import Answer, Asked, Definition
from longshore.cli.doctor.read import CannotLook, Reader, answer_of, connect, definitions_of, said

IDENTITY = {"SourcePolicyId": "p", "SourcePolicyType": "IAM Policy"}

RESULTS: list[tuple[str, dict[str, Any], Answer]] = [
    ("allowed", {"EvalDecision": "allowed"}, Answer(True)),
    ("nothing allows", {"EvalDecision": "implicitDeny"}, Answer(False, "identity")),
    ("denied", {"EvalDecision": "explicitDeny", "MatchedStatements": [IDENTITY]}, Answer(False, "identity", True)),
    ("the boundary is silent",
     {"EvalDecision": "implicitDeny", "MatchedStatements": [IDENTITY],
      "PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False}}, Answer(False, "boundary")),
    ("both are silent",
     {"EvalDecision": "implicitDeny", "PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False}},
     Answer(False, "identity")),
    ("the organization",
     {"EvalDecision": "implicitDeny", "OrganizationsDecisionDetail": {"AllowedByOrganizations": False}},
     Answer(False, "organization")),
    ("a key is missing", {"EvalDecision": "implicitDeny", "MissingContextValues": ["aws:SourceIp"]},
     Answer(False, "identity", False, ("aws:SourceIp",))),
]  # fmt: skip


@pytest.mark.parametrize("name, result, answer", RESULTS, ids=[each[0] for each in RESULTS])
def test_what_the_simulator_says(name: str, result: dict[str, Any], answer: Answer) -> None:
    assert answer_of(result) == answer


def test_each_container_of_a_job_definition_has_its_roles() -> None:
    container = {
        "image": "a", "jobRoleArn": "j", "executionRoleArn": "e",
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "mine"}},
        "secrets": [{"name": "S", "valueFrom": "arn:s"}],
    }  # fmt: skip
    named = {"jobDefinitionName": "jd", "revision": 3}
    (one,) = definitions_of({**named, "containerProperties": container, "platformCapabilities": ["FARGATE"]})
    assert one == Definition(name="jd:3", job_role="j", execution_role="e", image="a", log_group="mine",
                             secrets=("arn:s",), is_fargate=True)  # fmt: skip
    (plain,) = definitions_of({**named, "containerProperties": {"image": "b"}})
    assert (plain.log_group, plain.job_role) == ("/aws/batch/job", None)
    (quiet,) = definitions_of(
        {**named, "containerProperties": {"image": "b", "logConfiguration": {"logDriver": "none"}}}
    )
    assert quiet.log_group is None
    nodes = {
        "nodeRangeProperties": [
            {"targetNodes": "0:", "container": container},
            {"targetNodes": "1:", "container": container},
        ]
    }
    assert [each.job_role for each in definitions_of({**named, "nodeProperties": nodes})] == ["j", "j"]
    task = {"taskRoleArn": "t", "executionRoleArn": "e", "containers": [{"image": "a"}, {"image": "b"}]}
    shown = list(definitions_of({**named, "ecsProperties": {"taskProperties": [task]}}))
    assert [(each.image, each.job_role, each.execution_role) for each in shown] == [("a", "t", "e"), ("b", "t", "e")]


class _Pages:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def paginate(self, **_: Any) -> Any:
        raise self._error


class _Client:
    """Of a server that fails in this way."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_paginator(self, _: str) -> _Pages:
        return _Pages(self._error)


def client_error(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "SimulatePrincipalPolicy")


@pytest.mark.parametrize("error, because", [
    (client_error("AccessDenied", "no"), "no"),
    (client_error("InvalidAction", "what?"), "what?"),
    (ResponseParserError("<html>"), "the answer has no form of AWS's"),
    (client_error("NoSuchEntity", "gone meanwhile"), None),
])  # fmt: skip
def test_a_simulator_that_does_not_answer_is_no_end(error: Exception, because: str | None) -> None:
    assert Reader({"iam": _Client(error)}, "us-east-1").simulate([Asked("a", "s3:GetObject", "*")]) == ({}, because)


def test_what_fails_is_told_in_one_line() -> None:
    assert said(client_error("X", "text")) == "text"
    assert said(client_error("X", "")) == "X"
    assert said(ResponseParserError("a\nb")) == "the answer has no form of AWS's"


def test_without_a_region_or_a_known_profile_nothing_can_be_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(CannotLook, match="no region is set"):
        connect()
    with pytest.raises(CannotLook, match="nobody"):
        connect(profile="nobody", region="us-east-1")
