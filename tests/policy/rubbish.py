"""Policy documents, half sensible and half rubbish, and what must hold of each of them.

Everything is chosen by a function of the caller's, so that a fuzzer which watches the code's paths can choose as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal
from longshore.policy import simulate, validate
from longshore.policy.document import compile_document
from longshore.policy.evaluate import Policies, Question, decide, evaluate
from policy import naive
from policy.tables.row import ACCOUNT, OWN_ROLE, ROLE, SESSION, USER

Choose = Callable[[int], int]  # a number below the given one

CHECKS = {
    "identity": lambda text: validate.check_identity(text, managed=False),
    "managed": lambda text: validate.check_identity(text, managed=True),
    "trust": validate.check_trust,
    "resource": validate.check_resource_policy,
}
WORDS: list[Any] = [
    "", "*", "a", "ann", "Allow", "Deny", "allow", "iam:*", "iam:GetRole", "s3:Get*", "*:*", "s3", "iam:Get?ole",
    "sts:AssumeRole", ROLE, USER, OWN_ROLE, SESSION, ACCOUNT, "arn:aws:iam::*:role/*", "arn:aws:s3:::b/*",
    "arn:aws", "arn:aws:s3::b", "a:b:c", "arn:", "arn:aws:iam::123456789012:role/team/${aws:username}",
    "${aws:username}", "${aws:username, 'ann'}", "${", "${}", "${*}", "${a,'", "2012-10-17", "2008-10-17",
    "2026-01-01T00:00:00Z", "1767225600", "10", "-3", "1e3", "true", "false", "10.0.0.0/8", "::/0", "10.0.0.1",
    "YW5u", "ec2.amazonaws.com", "\u00e9", "\U0001f600", "\x00", "\ud800", "\r\n", "x" * 300, "(" * 40, "*?" * 30,
    ".*", "[", "\\", None, True, False, 0, 1, -1, 1.5, 1e308, 10**30, [], {}, [[]], [{}], {"": ""},
]  # fmt: skip
KEYS = [
    "aws:username",
    "aws:SourceIp",
    "aws:TagKeys",
    "aws:CurrentTime",
    "AWS:PrincipalArn",
    "a",
    "",
    "aws:RequestTag/\u00e9",
]
OPERATORS = [
    "StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringLike", "StringNotLike", "NumericEquals",
    "NumericLessThan", "NumericNotEquals", "DateGreaterThan", "DateEquals", "Bool", "BinaryEquals", "IpAddress",
    "NotIpAddress", "ArnLike", "ArnNotEquals", "Null", "Strange", "", "ForAllValues:", "ForAnyValue:Null",
]  # fmt: skip
_FITTING = {
    "Effect": ["Allow", "Deny"],
    "Action": ["iam:GetRole", "*", "iam:Get*", "sts:AssumeRole"],
    "NotAction": ["s3:*", "iam:GetRole"],
    "Resource": ["*", ROLE, "arn:aws:iam::*:role/team/*", "arn:aws:iam::123456789012:role/team/${aws:username}"],
    "NotResource": [ROLE, "arn:aws:s3:::b"],
    "Sid": ["a", "b", "a b", ""],
    "Principal": ["*", {"AWS": "*"}, {"AWS": USER}, {"AWS": [ACCOUNT, OWN_ROLE]}, {"Service": "ec2.amazonaws.com"}],
    "NotPrincipal": [{"AWS": [ACCOUNT, USER]}],
}
CONTEXT: dict[str, str | list[str]] = {
    "aws:username": "ann", "aws:sourceip": "10.0.0.1", "aws:tagkeys": ["a", "ann"], "aws:currenttime": "2026-01-01T00:00:00Z",
    "aws:principalarn": USER, "a": "10",
}  # fmt: skip
PRINCIPALS = [
    Principal(kind="user", account=ACCOUNT, arn=USER, user_id="AIDAANN"),
    Principal(kind="assumed-role", account=ACCOUNT, arn=SESSION, user_id="AROA:job", role_arn=OWN_ROLE, role_id="AROA"),
]


class Rubbish:
    def __init__(self, choose: Choose) -> None:
        self._choose = choose

    def text(self) -> str:
        """A document's text; one in eight is not even JSON, or has been cut or doubled somewhere."""
        text = json.dumps(self._document(), ensure_ascii=self._one_in(2), indent=2 if self._one_in(4) else None)
        if self._one_in(8):
            at, wide = self._choose(len(text) + 1), self._choose(4)
            text = text[:at] + ("" if self._one_in(2) else text[at : at + 5] * 2) + text[at + wide :]
        return text

    def _document(self) -> Any:
        if self._one_in(40):
            return self._of(WORDS)
        made: dict[str, Any] = {"Version": self._of(WORDS) if self._one_in(20) else "2012-10-17"}
        if self._one_in(10):
            del made["Version"]
        statements = [self._statement() for _ in range(self._choose(3) + 1)]
        made["Statement"] = statements[0] if self._one_in(4) else statements
        if self._one_in(12):
            made[str(self._of(["Id", "Other", "Statement"]))] = self._of(WORDS)
        return made

    def _statement(self) -> Any:
        if self._one_in(40):
            return self._of(WORDS)
        made: dict[str, Any] = {"Effect": self._value("Effect")}
        for one, other in (("Action", "NotAction"), ("Resource", "NotResource"), ("Principal", "NotPrincipal")):
            if one != "Principal" or self._one_in(2):
                name = other if self._one_in(6) else one
                made[name] = self._value(name)
        if self._one_in(6):
            made["Sid"] = self._value("Sid")
        if self._one_in(2):
            made["Condition"] = self._condition()
        if self._one_in(25):
            made.pop(self._of(list(made)))
        return made

    def _condition(self) -> Any:
        if self._one_in(30):
            return self._of(WORDS)
        found: dict[str, Any] = {}
        for _ in range(self._choose(3)):
            operator = (
                self._of(["", "", "", "ForAllValues:", "ForAnyValue:"])
                + self._of(OPERATORS)
                + self._of(["", "", "IfExists"])
            )
            found[operator] = {self._of(KEYS): self._listed(WORDS) for _ in range(self._choose(3))}
        return found

    def _value(self, name: str) -> Any:
        return (
            self._of(WORDS)
            if self._one_in(12)
            else self._listed(_FITTING[name])
            if name != "Effect"
            else self._of(_FITTING[name])
        )

    def _listed(self, values: list[Any]) -> Any:
        found = [self._of(values) for _ in range(self._choose(3) + 1)]
        return found[0] if len(found) == 1 else found

    def _of(self, values: list[Any]) -> Any:
        return values[self._choose(len(values))]

    def _one_in(self, count: int) -> bool:
        return self._choose(count) == 0


def accepted_as(text: str) -> list[str]:
    """The kinds of document as which it is taken. All others say what is wrong in words that can be sent."""
    found = []
    for kind, check in CHECKS.items():
        try:
            check(text)
        except AwsError as error:
            assert error.code == "MalformedPolicyDocument" and error.message
        else:
            found.append(kind)
    return found


def must_hold(text: str) -> bool:
    """Whatever is taken can be compiled, placed, asked, and gives what the slow reading gives. Whether it was taken at all."""
    kinds = accepted_as(text)
    if not kinds:
        return False
    assert ("managed" in kinds) <= ("identity" in kinds)
    source = json.loads(text)
    document = compile_document(source)
    assert len(simulate.statement_places(text)) == len(document.statements)
    simulate.context_keys([text])
    for principal in PRINCIPALS:
        for action, resource in (("iam:GetRole", ROLE), ("iam:GetRole", "*"), ("sts:AssumeRole", ROLE)):
            question = Question(principal, action, resource, CONTEXT)
            if "identity" in kinds:
                policies = Policies((document,))
                decision = evaluate(question, policies)
                assert decide(question, policies) == decision
                assert decision.allowed == _slowly(question, [source], None), text
            if "resource" in kinds or "trust" in kinds:
                kind = "trust" if "trust" in kinds and action.startswith("sts:") else None
                decision = evaluate(question, Policies(), document, "trust" if kind else None)
                assert decision.allowed == _slowly(question, [], source, trust=kind == "trust"), text
    return True


def _slowly(question: Question, identity: list[Any], resource: Any, *, trust: bool = False) -> bool:
    who = question.principal
    allowed, _ = naive.decide(
        {
            "kind": who.kind,
            "account": who.account,
            "arn": who.arn,
            "id": who.user_id,
            "role_arn": who.role_arn,
            "role_id": who.role_id,
        },
        question.action,
        question.resource,
        dict(CONTEXT),
        identity=identity,
        boundary=None,
        session=[],
        resource_policy=resource,
        trust=trust,
    )
    return allowed
