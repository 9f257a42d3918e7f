"""Whatever is asked of whatever policies, the compiled evaluator says what the slow and literal reading says."""

from __future__ import annotations

import random
from typing import Any

import pytest

from longshore.aws.principal import Principal
from longshore.policy.document import compile_document
from longshore.policy.evaluate import Decision, Policies, Question, decide, evaluate
from policy import naive

ACCOUNT, OTHER = "123456789012", "210987654321"
ACTIONS = ["iam:GetRole", "iam:PassRole", "sts:AssumeRole", "batch:SubmitJob", "s3:GetObject"]
ACTION_PATTERNS = [
    *ACTIONS,
    "*",
    "iam:*",
    "IAM:getrole",
    "iam:Get?ole",
    "batch:Submit*",
    "s3:*Object",
    "*:*",
    "iam:*Role",
]
RESOURCES = [
    "*",
    f"arn:aws:iam::{ACCOUNT}:role/ann",
    f"arn:aws:iam::{ACCOUNT}:role/team/ann",
    f"arn:aws:iam::{OTHER}:role/ann",
    f"arn:aws:batch:us-east-1:{ACCOUNT}:job-queue/q",
    "arn:aws:s3:::bucket/ann/a:b*c",
]
RESOURCE_PATTERNS = [
    *RESOURCES,
    "**",
    f"arn:aws:iam::{ACCOUNT}:role/*",
    f"arn:aws:iam::{ACCOUNT}:role/${{aws:username}}",
    "arn:aws:iam::*:role/a??",
    "arn:aws:iam:*",
    "arn:aws:*:*:*:*/ann",
    "arn:aws:s3:::bucket/${aws:username}/*",
    "arn:aws:s3:::bucket/*${*}*",
    "arn:aws:s3:::${aws:principaltag/home, 'bucket'}/*",
    "arn:aws:s3:::bucket/${aws:tagkeys}",
    "arn:*:iam::1*2:role/*",
    "arn:aws:batch:us-*-1:${aws:PrincipalAccount}:job-queue/q",
]
KEYS = [
    "aws:username",
    "aws:SourceIp",
    "aws:TagKeys",
    "aws:PrincipalTag/Home",
    "aws:CurrentTime",
    "sts:ExternalId",
    "aws:PrincipalArn",
]
GIVEN = [
    "ann", "Ann", "bob", "", "*", "10", "10.0", "-3", "1767225600", "2026-01-01T00:00:00Z", "2025-12-31T23:30:00-00:30",
    "true", "False", "10.0.0.1", "10.0.1.1", "2001:db8::1", "YW5u", f"arn:aws:iam::{ACCOUNT}:role/ann", "a:b",
]  # fmt: skip
LISTS = [[], ["ann"], ["ann", "bob"], ["a", "b", "ann"], ["10", "20"]]
VALUES: dict[str, list[Any]] = {
    "String": [
        "ann", "ANN", "a*", "?nn", "*", "", "b?b*", True, 10, "${aws:username}", "${sts:externalid, 'ann'}", "${$}{x}", "${*}",
        "${aws:none}", "${AWS:PrincipalTag/Home}x",
    ],
    "Numeric": ["10", "10.0", "-3", "9.99", 10, 1e3],
    "Date": ["2026-01-01T00:00:00Z", "1767225600", "2026-01-01", "2025-12-31T23:30:00-00:30", "1800000000"],
    "Bool": ["true", "false", True, False],
    "Binary": ["YW5u", "Ym9i"],
    "Ip": ["10.0.0.0/24", "10.0.0.1", "0.0.0.0/0", "2001:db8::/32", "::/0", "10.0.0.77/24"],
    "Arn": [
        f"arn:aws:iam::{ACCOUNT}:role/*", "arn:aws:iam::*:role/ann", "*", "arn:*:iam::*:*", "${aws:PrincipalArn}",
        f"arn:aws:iam::{ACCOUNT}:role/${{aws:username}}", "arn:aws:iam::${aws:none}:role/ann", "arn:aws:iam::${aws:userid}:*",
    ],
}  # fmt: skip
ORDERS = ("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals")
OPERATORS: dict[str, list[str]] = {
    "String": [
        *("StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"),
        *("StringLike", "StringNotLike"),
    ],
    "Numeric": [f"Numeric{order}" for order in ORDERS],
    "Date": [f"Date{order}" for order in ORDERS],
    "Bool": ["Bool", "bool"],
    "Binary": ["BinaryEquals"],
    "Ip": ["IpAddress", "NotIpAddress"],
    "Arn": ["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"],
}

WHO: list[dict[str, Any]] = [
    {"kind": "user", "account": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:user/ann", "id": "AIDAANN"},
    {
        "kind": "assumed-role", "account": ACCOUNT, "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/ann", "id": "AROAOPS:ann",
        "role_arn": f"arn:aws:iam::{ACCOUNT}:role/team/ops", "role_id": "AROAOPS",
    },
    {"kind": "root", "account": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:root", "id": ACCOUNT},
    {"kind": "federated-user", "account": ACCOUNT, "arn": f"arn:aws:sts::{ACCOUNT}:federated-user/ann", "id": f"{ACCOUNT}:ann"},
    {"kind": "service", "account": ACCOUNT, "arn": "ec2.amazonaws.com", "id": "ec2.amazonaws.com"},
]  # fmt: skip
NAMES: list[dict[str, Any] | str] = [
    "*",
    {"AWS": "*"},
    {"AWS": ACCOUNT},
    {"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]},
    {"AWS": f"arn:aws:iam::{ACCOUNT}:user/ann"},
    {"AWS": ["AIDAANN", "AROAOTHER"]},
    {"AWS": f"arn:aws:iam::{ACCOUNT}:role/team/ops"},
    {"AWS": ["AROAOPS"]},
    {"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/ann"},
    {"AWS": f"arn:aws:sts::{ACCOUNT}:federated-user/ann", "Service": ["ec2.amazonaws.com", "batch.amazonaws.com"]},
    {"Service": "ec2.amazonaws.com"},
    {"AWS": [ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/ann", f"arn:aws:iam::{ACCOUNT}:role/team/ops"]},
    {"AWS": [ACCOUNT, f"arn:aws:iam::{ACCOUNT}:role/team/ops", f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/ann"]},
    {"AWS": OTHER},
]


class Chance(random.Random):
    def some(self, values: list[Any], most: int = 3) -> Any:
        """One of them, or a list of several."""
        found = [self.choice(values) for _ in range(self.randrange(1, most + 1))]
        return found[0] if len(found) == 1 and self.random() < 0.5 else found

    def condition(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(self.choice((0, 0, 0, 1, 1, 2))):
            family = self.choice(list(OPERATORS))
            operator = self.choice(OPERATORS[family])
            operator = self.choice(("", "", "", "ForAllValues:", "ForAnyValue:")) + operator
            operator += self.choice(("", "", "IfExists"))
            values = VALUES[family]
            if self.random() < 0.1:
                operator, values = "Null", [True, False, "true", "false"]
            found.setdefault(operator, {})[self.choice(KEYS)] = self.some(values)
        return found

    def statement(self, *, kind: str) -> dict[str, Any]:
        made: dict[str, Any] = {"Effect": self.choice(("Allow", "Allow", "Deny"))}
        made["NotAction" if self.random() < 0.15 else "Action"] = self.some(ACTION_PATTERNS)
        if kind != "trust":
            made["NotResource" if self.random() < 0.15 else "Resource"] = self.some(RESOURCE_PATTERNS)
        if kind != "identity":
            denies = made["Effect"] == "Deny" and kind == "resource"
            made["NotPrincipal" if denies and self.random() < 0.5 else "Principal"] = self.choice(NAMES)
        if condition := self.condition():
            made["Condition"] = condition
        return made

    def document(self, kind: str = "identity") -> dict[str, Any]:
        made: dict[str, Any] = {"Version": "2012-10-17"} if self.random() < 0.8 else {}
        statements = [self.statement(kind=kind) for _ in range(self.choice((1, 1, 2, 3)))]
        made["Statement"] = statements[0] if len(statements) == 1 and self.random() < 0.3 else statements
        return made

    def context(self) -> dict[str, str | list[str]]:
        found: dict[str, str | list[str]] = {}
        for key in KEYS:
            if self.random() < 0.6:
                value = self.choice(LISTS) if key == "aws:TagKeys" or self.random() < 0.1 else self.choice(GIVEN)
                found[key.lower()] = value
        return found


class Case:
    """A question with all its policies, as JSON would hold them."""

    def __init__(self, chance: Chance) -> None:
        self.who = chance.choice(WHO)
        self.action = chance.choice(ACTIONS)
        self.resource = chance.choice(RESOURCES)
        self.context = chance.context()
        self.identity = [chance.document() for _ in range(chance.choice((0, 1, 1, 2)))]
        self.boundary = chance.document() if chance.random() < 0.3 else None
        self.session = [chance.document() for _ in range(chance.choice((0, 0, 1, 2)))]
        levels = chance.choice((0, 0, 0, 1, 2))
        self.control = [[chance.document() for _ in range(chance.choice((1, 2)))] for _ in range(levels)]
        self.kind = chance.choice(("none", "resource", "trust"))
        self.resource_policy = chance.document(self.kind) if self.kind != "none" else None

    def question(self) -> Question:
        who = self.who
        principal = Principal(
            kind=who["kind"],
            account=who["account"],
            arn=who["arn"],
            user_id=who["id"],
            role_arn=who.get("role_arn"),
            role_id=who.get("role_id"),
        )
        return Question(principal, self.action, self.resource, self.context)

    def policies(self) -> Policies:
        return Policies(
            tuple(compile_document(each) for each in self.identity),
            compile_document(self.boundary) if self.boundary else None,
            tuple(compile_document(each) for each in self.session),
            tuple(tuple(compile_document(each) for each in level) for level in self.control),
        )

    def compiled(self) -> Decision:
        resource_policy = compile_document(self.resource_policy) if self.resource_policy else None
        return evaluate(self.question(), self.policies(), resource_policy, "trust" if self.kind == "trust" else None)

    def naive(self) -> Decision:
        allowed, because = naive.decide(
            self.who,
            self.action,
            self.resource,
            self.context,
            identity=self.identity,
            boundary=self.boundary,
            session=self.session,
            resource_policy=self.resource_policy,
            trust=self.kind == "trust",
            control=self.control,
        )
        return Decision(allowed, because)


def compare(seeds: range) -> dict[str, int]:
    """The reasons that were met, each with how often."""
    met: dict[str, int] = {}
    for seed in seeds:
        case = Case(Chance(seed))
        decision = case.compiled()
        assert decision == case.naive(), f"seed {seed}: {vars(case)}"
        if case.kind == "none":
            policies = case.policies()
            assert decide(case.question(), policies) == decide(case.question(), policies) == decision, f"seed {seed}"
        reason = decision.because.replace(case.action, "A")
        met[reason] = met.get(reason, 0) + 1
    return met


def test_thousands_of_questions_are_answered_alike() -> None:
    met = compare(range(4000))
    # All outcomes were really met, and none of them next to never.
    assert len(met) == 13 and min(met.values()) >= 10, met


@pytest.mark.long
def test_a_great_many_questions_are_answered_alike() -> None:
    compare(range(4000, 100_000))  # With those above a hundred thousand.


def test_a_deny_that_applies_always_wins() -> None:
    """Whatever else is said: with a deny on everything added anywhere that speaks of the caller, the answer is no."""
    deny = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}
    for seed in range(600):
        for place in ("identity", "boundary", "session", "resource"):
            case = Case(Chance(seed))
            if place == "identity":
                case.identity.append(deny)
            elif place == "boundary":
                case.boundary = deny
            elif place == "session":
                case.session.append(deny)
            else:
                case.kind = "resource"
                case.resource_policy = {"Statement": {**deny["Statement"], "Principal": "*"}}  # type: ignore[dict-item]
            decision = case.compiled()
            assert not decision.allowed and decision.because.startswith("with an explicit deny in "), seed


def test_one_more_allow_takes_nothing_away() -> None:
    """With no deny anywhere, whatever was allowed stays so when a statement that allows is added to what is there."""
    kept = 0
    for seed in range(3000):
        chance = Chance(seed)
        case = Case(chance)
        control = [document for level in case.control for document in level]
        for document in (*case.identity, case.boundary, *case.session, *control, case.resource_policy):
            for statement in naive.many((document or {"Statement": []})["Statement"]):
                statement["Effect"] = "Allow"
        if not case.compiled().allowed:
            continue
        kept += 1
        for document in (*case.identity, *([case.boundary] if case.boundary else []), *case.session):
            more = chance.statement(kind="identity") | {"Effect": "Allow"}
            document["Statement"] = [*naive.many(document["Statement"]), more]
            assert case.compiled().allowed, seed
        if case.resource_policy is not None:
            more = chance.statement(kind=case.kind) | {"Effect": "Allow"}
            more.pop("NotPrincipal", None)
            more["Principal"] = more.get("Principal", "*")
            case.resource_policy["Statement"] = [*naive.many(case.resource_policy["Statement"]), more]
            assert case.compiled().allowed, seed
    assert kept > 300


def test_a_policy_of_nothing_allows_nothing() -> None:
    for seed in range(300):
        case = Case(Chance(seed))
        case.identity, case.resource_policy, case.kind = [], None, "none"
        if case.who["kind"] != "root":
            assert not case.compiled().allowed


def test_the_order_of_documents_statements_and_values_does_not_matter() -> None:
    for seed in range(1500):
        chance = Chance(seed)
        case = Case(chance)
        before = case.compiled()
        case.identity.reverse()
        case.session.reverse()
        for document in (*case.identity, case.boundary, *case.session, case.resource_policy):
            if document and isinstance(document["Statement"], list):
                document["Statement"].reverse()
                for statement in document["Statement"]:
                    for element in ("Action", "Resource"):
                        if isinstance(statement.get(element), list):
                            statement[element].reverse()
        assert case.compiled() == before, seed
