"""What holds of every decision, whatever the policies are."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from longshore.aws.principal import Principal, root, service
from longshore.policy.document import compile_document
from longshore.policy.evaluate import Decision, Policies, Question, evaluate
from policy.tables.row import ACCOUNT, FEDERATED, OTHER, OWN_ROLE, ROOT, SESSION, STRANGER, USER

# Making a case takes longer than asking; a busy machine must not make a failure of it.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
MANY, SOME = settings(max_examples=100, **_PATIENT), settings(max_examples=60, **_PATIENT)
ROLE = f"arn:aws:iam::{ACCOUNT}:role/team/ann"
ACTIONS = ["iam:GetRole", "iam:PassRole", "sts:AssumeRole"]
RESOURCES = ["*", ROLE, f"arn:aws:iam::{OTHER}:role/team/ann", "arn:aws:s3:::bucket/ann"]
WHO = [
    Principal(kind="user", account=ACCOUNT, arn=USER, user_id="AIDAANN"),
    Principal(kind="assumed-role", account=ACCOUNT, arn=SESSION, user_id="AROA:job", role_arn=OWN_ROLE, role_id="AROA"),
    Principal(kind="federated-user", account=ACCOUNT, arn=FEDERATED, user_id=f"{ACCOUNT}:ann"),
    root(ACCOUNT),
    service("ec2.amazonaws.com", ACCOUNT),
]
NAMES: list[Any] = [
    "*",
    *({"AWS": name} for name in (USER, OWN_ROLE, SESSION, FEDERATED, ROOT, ACCOUNT, "AROA", STRANGER, OTHER)),
    {"Service": "ec2.amazonaws.com"},
    {"AWS": [ROOT, OWN_ROLE, SESSION]},
    {"AWS": [ROOT, USER]},
]
KEYS = ["aws:username", "aws:TagKeys", "aws:SourceIp", "aws:CurrentTime"]
VALUES = ["ann", "bob", "${aws:username}", "10.0.0.0/8", "10.0.0.1", "5", "2026-01-01T00:00:00Z", "a*"]
TEXTS, NUMBERS, DATES, ADDRESSES = VALUES[:3] + VALUES[7:], ["5", "7"], [VALUES[6], "1767225600"], VALUES[3:5]
FAMILIES = {
    "StringEquals": TEXTS, "StringNotEquals": TEXTS, "StringLike": TEXTS, "StringNotLike": TEXTS,
    "NumericLessThan": NUMBERS, "NumericNotEquals": NUMBERS, "DateGreaterThan": DATES, "DateNotEquals": DATES,
    "IpAddress": ADDRESSES, "NotIpAddress": ADDRESSES, "Bool": ["true", "false"],
}  # fmt: skip


@st.composite
def condition(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(draw(st.integers(0, 2))):
        operator = draw(st.sampled_from([*FAMILIES, "Null"]))
        key = draw(st.sampled_from(KEYS))
        if operator == "Null":
            found.setdefault("Null", {})[key] = draw(st.sampled_from(["true", "false"]))
            continue
        values = draw(st.lists(st.sampled_from(FAMILIES[operator]), min_size=1, max_size=2))
        before = draw(st.sampled_from(["", "", "ForAllValues:", "ForAnyValue:"]))
        found.setdefault(before + operator + draw(st.sampled_from(["", "IfExists"])), {})[key] = values
    return found


@st.composite
def statement(draw: st.DrawFn, kind: str = "identity", effect: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"Effect": effect or draw(st.sampled_from(["Allow", "Allow", "Deny"]))}
    made[draw(st.sampled_from(["Action", "Action", "NotAction"]))] = draw(
        st.lists(st.sampled_from([*ACTIONS, "*", "iam:*", "s3:*"]), min_size=1, max_size=2)
    )
    if kind != "trust":
        made[draw(st.sampled_from(["Resource", "Resource", "NotResource"]))] = draw(
            st.lists(st.sampled_from([*RESOURCES, "arn:aws:iam::*:role/team/${aws:username}"]), min_size=1, max_size=2)
        )
    if kind != "identity":
        denies = made["Effect"] == "Deny" and kind == "resource"
        made[draw(st.sampled_from(["Principal", "NotPrincipal"])) if denies else "Principal"] = draw(
            st.sampled_from(NAMES)
        )
    made["Condition"] = draw(condition())
    return made


def documents(kind: str = "identity") -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda version, statements: {**({"Version": version} if version else {}), "Statement": statements},
        st.sampled_from(["2012-10-17", "2012-10-17", "2008-10-17", None]),
        st.lists(statement(kind), min_size=1, max_size=3),
    )


class Case(Struct, frozen=True, kw_only=True):
    """A question and all its policies, as documents."""

    question: Question
    identity: tuple[dict[str, Any], ...]
    boundary: dict[str, Any] | None
    session: tuple[dict[str, Any], ...]
    control: tuple[tuple[dict[str, Any], ...], ...]
    resource: dict[str, Any] | None
    kind: str

    def decide(self) -> Decision:
        policies = Policies(
            tuple(map(compile_document, self.identity)),
            compile_document(self.boundary) if self.boundary else None,
            tuple(map(compile_document, self.session)),
            tuple(tuple(map(compile_document, level)) for level in self.control),
        )
        resource = compile_document(self.resource) if self.resource else None
        return evaluate(self.question, policies, resource, "trust" if self.kind == "trust" else None)

    def places(self) -> list[tuple[str, int, int]]:
        """Where documents stand: field, its level, its place."""
        return [
            *(("identity", 0, at) for at in range(len(self.identity))),
            *([("boundary", 0, 0)] if self.boundary else []),
            *(("session", 0, at) for at in range(len(self.session))),
            *(("control", level, at) for level, held in enumerate(self.control) for at in range(len(held))),
            *([("resource", 0, 0)] if self.resource else []),
        ]

    def document(self, place: tuple[str, int, int]) -> dict[str, Any]:
        field, level, at = place
        if field == "control":
            return self.control[level][at]
        held = getattr(self, field)
        return held[at] if isinstance(held, tuple) else held

    def with_document(self, place: tuple[str, int, int], made: dict[str, Any]) -> Case:
        field, level, at = place
        if field == "control":
            levels = [list(each) for each in self.control]
            levels[level][at] = made
            return replace(self, control=tuple(map(tuple, levels)))
        held = getattr(self, field)
        if isinstance(held, tuple):
            return replace(self, **{field: (*held[:at], made, *held[at + 1 :])})
        return replace(self, **{field: made})

    def kind_of(self, place: tuple[str, int, int]) -> str:
        return self.kind if place[0] == "resource" else "identity"


_VALUE = st.sampled_from(["ann", "bob", "10.0.0.1", "5", "1767225600", "true", ""])
contexts = st.dictionaries(
    st.sampled_from([key.lower() for key in KEYS]), _VALUE | st.lists(st.sampled_from(["ann", "bob", "x"]), max_size=3)
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kind = draw(st.sampled_from(["none", "resource", "trust"]))
    question = Question(
        draw(st.sampled_from(WHO)), draw(st.sampled_from(ACTIONS)), draw(st.sampled_from(RESOURCES)), draw(contexts)
    )
    level = st.lists(documents(), max_size=2).map(tuple)
    return Case(
        question=question,
        identity=draw(level),
        boundary=draw(st.none() | documents()),
        session=draw(level),
        control=draw(st.just(()) | st.lists(level, max_size=2).map(tuple)),
        resource=draw(documents(kind)) if kind != "none" else None,
        kind=kind,
    )


@MANY
@given(cases(), st.data())
def test_one_more_deny_never_allows_more(case: Case, data: st.DataObject) -> None:
    for place in case.places():
        more = data.draw(statement(case.kind_of(place), "Deny"))
        held = case.document(place)
        wider = case.with_document(place, {**held, "Statement": [*held["Statement"], more]})
        assert wider.decide().allowed <= case.decide().allowed


@MANY
@given(cases())
def test_one_allow_less_never_allows_more(case: Case) -> None:
    for place in case.places():
        held = case.document(place)
        for gone in held["Statement"]:
            if gone["Effect"] == "Allow":
                left = [each for each in held["Statement"] if each is not gone]
                narrower = case.with_document(place, {**held, "Statement": left})
                assert narrower.decide().allowed <= case.decide().allowed


@MANY
@given(cases(), documents())
def test_what_limits_never_widens(case: Case, limit: dict[str, Any]) -> None:
    """A boundary, a session policy, a level of service control policies: with one, no more is allowed than without any."""
    without = replace(case, boundary=None, session=(), control=())
    if case.question.principal.kind != "federated-user":  # Without a session policy it has nothing.
        assert case.decide().allowed <= without.decide().allowed
        assert replace(without, session=(limit,)).decide().allowed <= without.decide().allowed
    assert replace(case, boundary=limit).decide().allowed <= replace(case, boundary=None).decide().allowed
    for control in ((), *((*case.control[:at],) for at in range(len(case.control)))):
        assert (
            replace(case, control=(*control, (limit,))).decide().allowed
            <= replace(case, control=control).decide().allowed
        )


@MANY
@given(cases(), st.integers(0, 2**32))
def test_no_order_matters(case: Case, seed: int) -> None:
    chance = random.Random(seed)

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shuffled(held) for key, held in chance.sample(list(value.items()), len(value))}
        if isinstance(value, (list, tuple)):
            return type(value)(shuffled(each) for each in chance.sample(value, len(value)))
        return value

    other = replace(
        case,
        question=replace(case.question, context=shuffled(case.question.context)),
        identity=shuffled(case.identity),
        boundary=shuffled(case.boundary),
        session=shuffled(case.session),
        control=shuffled(case.control),
        resource=shuffled(case.resource),
    )
    assert other.decide() == case.decide()


@SOME
@given(cases())
def test_an_explicit_denial_is_told_only_where_a_deny_stands(case: Case) -> None:
    decision = case.decide()
    if decision.is_explicit:
        kept = case
        for place in case.places():
            held = kept.document(place)
            allows = [each for each in held["Statement"] if each["Effect"] == "Allow"]
            kept = kept.with_document(place, {**held, "Statement": allows})
        assert not kept.decide().is_explicit


@SOME
@given(cases())
def test_whoever_may_is_allowed_by_someone(case: Case) -> None:
    """Without any statement that allows, only the account's own user may do anything."""
    if case.decide().allowed and case.question.principal.kind != "root":
        allows = [
            each for place in case.places() for each in case.document(place)["Statement"] if each["Effect"] == "Allow"
        ]
        assert allows
