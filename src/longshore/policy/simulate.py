"""What the policy simulator answers: the decision, the statements that made it, and what it would have to know. Pure.

Positions are those of AWS's parser, as recorded: lines and columns from 1; a statement of a list begins where the
bracket or the statement before it ended, one that stands alone after its brace; it ends after its closing brace.

Source: IAM API reference, SimulateCustomPolicy, EvaluationResult; the positions, and the names of sources and their types, from
answers recorded in public projects (2019-2026).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from msgspec import Struct

from longshore.aws.principal import Principal
from longshore.policy import match
from longshore.policy.document import Document, Statement, listed, parse, texts
from longshore.policy.evaluate import Policies, Question, evaluate

ALLOWED, EXPLICIT, IMPLICIT = "allowed", "explicitDeny", "implicitDeny"
IDENTITY, RESOURCE, BOUNDARY = "IAM Policy", "Resource Policy", "Permissions Boundary Policy"  # types of sources
_STRICTEST_FIRST = (EXPLICIT, IMPLICIT, ALLOWED)
_ASKS_THE_TRUST = frozenset(("sts:assumerole", "sts:tagsession", "sts:setsourceidentity"))

Place = tuple[int, int]  # line, column


class Source(Struct, frozen=True):
    """A document, and by which name an answer speaks of it."""

    policy_id: str  # "PolicyInputList.1", "role_ops_inline", "AdministratorAccess"
    policy_type: str
    text: str

    @property
    def document(self) -> Document:
        return parse(self.text)


class Matched(Struct, frozen=True):
    source: Source
    start: Place
    end: Place


class Setting(Struct, frozen=True, kw_only=True):
    """Under which policies one who calls is looked at."""

    principal: Principal
    identity: tuple[Source, ...] = ()
    boundary: Source | None = None
    service_control: tuple[tuple[Document, ...], ...] = ()
    resource_policy: Source | None = None
    # Whose the resource is where its ARN does not say; None: the caller's own account's.
    resource_owner: str | None = None


class Outcome(Struct, frozen=True):
    """Of one action on one resource, or, `together`, of one action on several."""

    decision: str
    matched: tuple[Matched, ...]
    missing: tuple[str, ...]  # condition keys as the documents spell them
    allowed_by_boundary: bool | None  # None: there is none
    allowed_by_organization: bool | None  # None: no service control policies
    details: dict[str, str]  # across accounts: type of policy -> its own decision


def simulate(setting: Setting, action: str, resource: str, context: dict[str, str | list[str]]) -> Outcome:
    """`context`: condition key in lower case -> value or values; a key that is not in it is absent from the request."""
    question = Question(setting.principal, action, resource, context)
    owner = _owner(setting, resource)
    policies = Policies(
        identity=tuple(source.document for source in setting.identity),
        boundary=setting.boundary.document if setting.boundary is not None else None,
        service_control=setting.service_control,
    )
    in_place = setting.resource_policy.document if setting.resource_policy is not None else None
    kind = "trust" if in_place is not None and action.lower() in _ASKS_THE_TRUST else None
    decided = evaluate(question, policies, in_place, "trust" if kind else None, owner=owner)
    decision = ALLOWED if decided.allowed else EXPLICIT if decided.is_explicit else IMPLICIT
    organization = _organization(setting, question)
    # "If an Organizations SCP included in the evaluation denies access, the simulation ends."
    ended = organization is False
    return Outcome(
        decision=decision,
        matched=() if ended else tuple(_matched(setting, question, decision)),
        missing=tuple(_missing(setting, question)),
        allowed_by_boundary=None if setting.boundary is None else _one_says(setting.boundary, question) == ALLOWED,
        allowed_by_organization=organization,
        details=_details(setting, question) if owner != setting.principal.account and not ended else {},
    )


def together(outcomes: list[Outcome]) -> Outcome:
    """Of one action on all its resources: the strictest decision, and what was found anywhere."""
    if len(outcomes) == 1:
        return outcomes[0]
    decision = _strictest(outcome.decision for outcome in outcomes)
    kinds = dict.fromkeys(kind for outcome in outcomes for kind in outcome.details)
    return Outcome(
        decision=decision,
        matched=tuple(
            dict.fromkeys(found for outcome in outcomes if outcome.decision == decision for found in outcome.matched)
        ),
        missing=tuple(dict.fromkeys(name for outcome in outcomes for name in outcome.missing)),
        allowed_by_boundary=_all([outcome.allowed_by_boundary for outcome in outcomes]),
        allowed_by_organization=_all([outcome.allowed_by_organization for outcome in outcomes]),
        details={
            kind: _strictest(outcome.details[kind] for outcome in outcomes if kind in outcome.details) for kind in kinds
        },
    )


def _strictest(decisions: Iterable[str]) -> str:
    return min(decisions, key=_STRICTEST_FIRST.index)


def _all(values: list[bool | None]) -> bool | None:
    return None if None in values else all(values)


def _owner(setting: Setting, resource: str) -> str:
    """Whose the resource is. Without a resource policy the caller's own side alone is looked at, as AWS's simulator does."""
    if setting.resource_policy is None:
        return setting.principal.account
    parts = resource.split(":", 5)
    if len(parts) == 6 and parts[4].isdigit():
        return parts[4]
    return setting.resource_owner or setting.principal.account


def _organization(setting: Setting, question: Question) -> bool | None:
    if not setting.service_control:
        return None
    says = [_say(level, question) for level in setting.service_control]
    return all(each == ALLOWED for each in says)


def _details(setting: Setting, question: Question) -> dict[str, str]:
    found = {IDENTITY: _as_one([_one_says(source, question) for source in setting.identity])}
    if setting.resource_policy is not None:
        has_boundary = setting.boundary is not None
        found[RESOURCE] = _one_says(setting.resource_policy, question, has_boundary=has_boundary)
    if setting.boundary is not None:
        found[BOUNDARY] = _one_says(setting.boundary, question)
    return found


def _as_one(decisions: list[str]) -> str:
    """Of several documents that count as one: a denial, else an allowance, else silence."""
    return EXPLICIT if EXPLICIT in decisions else ALLOWED if ALLOWED in decisions else IMPLICIT


def _say(documents: Iterable[Document], question: Question) -> str:
    return _as_one([_document_says(document.statements, question, None) for document in documents])


def _one_says(source: Source, question: Question, *, has_boundary: bool = False) -> str:
    principal = question.principal if source.policy_type == RESOURCE else None
    return _document_says(source.document.statements, question, principal, has_boundary=has_boundary)


def _document_says(
    statements: Iterable[Statement], question: Question, principal: Principal | None, *, has_boundary: bool = False
) -> str:
    says = [
        ALLOWED if statement.allows else EXPLICIT
        for statement in statements
        if _applies(statement, question, principal, has_boundary=has_boundary)
    ]
    return _as_one(says)


def _applies(statement: Statement, question: Question, principal: Principal | None, *, has_boundary: bool) -> bool:
    """`principal` None: the statement is not of a resource policy."""
    return (
        statement.speaks_of(question.action.lower())
        and (principal is None or bool(statement.ways(principal, has_boundary=has_boundary)))
        and statement.applies(question.resource, question.context)
    )


def _matched(setting: Setting, question: Question, decision: str) -> Iterator[Matched]:
    """The statements that made the decision: all that deny, or all that allow. Silence has none."""
    if decision == IMPLICIT:
        return
    has_boundary = setting.boundary is not None
    sources = [*setting.identity, setting.resource_policy, setting.boundary if decision == EXPLICIT else None]
    for source in sources:
        if source is None:
            continue
        principal = question.principal if source.policy_type == RESOURCE else None
        places = None
        for index, statement in enumerate(source.document.statements):
            is_wanted = statement.allows is (decision == ALLOWED)
            if is_wanted and _applies(statement, question, principal, has_boundary=has_boundary):
                places = places or statement_places(source.text)
                yield Matched(source, *places[index])


# Condition keys ------------------------------------------------------------------------------------------------------


def _missing(setting: Setting, question: Question) -> Iterator[str]:
    """The keys at which statements about the action and the resource look, and which the context does not have."""
    told: set[str] = set()
    sources = [*setting.identity, *([setting.resource_policy] if setting.resource_policy is not None else [])]
    for source in sources:
        needed: set[str] = set()
        for statement in source.document.statements:
            if statement.speaks_of(question.action.lower()) and statement.may_apply(question.resource):
                needed |= statement.names()
        needed -= told
        for name in context_keys([source.text]) if needed else ():
            if name.lower() in needed and question.context.get(name.lower()) is None:
                yield name
        told |= needed


def context_keys(documents: Iterable[str]) -> list[str]:
    """The condition keys of all documents, those of variables too, each as it is spelled first."""
    found: dict[str, str] = {}
    for text in documents:
        for name in _keys_in(text):
            found.setdefault(name.lower(), name)
    return list(found.values())


@lru_cache(256)
def _keys_in(text: str) -> tuple[str, ...]:
    return tuple(_spelled_keys(json.loads(text)))


def _spelled_keys(document: dict[str, Any]) -> Iterator[str]:
    variables = document.get("Version") == "2012-10-17"
    for statement in listed(document["Statement"]):
        if variables:
            for pattern in (*listed(statement.get("Resource", [])), *listed(statement.get("NotResource", []))):
                yield from match.spelled_names(pattern)
        for keys in (statement.get("Condition") or {}).values():
            for key, values in keys.items():
                yield key
                if variables:
                    for value in texts(values):
                        yield from match.spelled_names(value)


# Positions -----------------------------------------------------------------------------------------------------------

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
_NEW_LINE = re.compile(r"\r\n|\r|\n")


@lru_cache(256)
def statement_places(text: str) -> list[tuple[Place, Place]]:
    """Where each statement of a well-formed document begins and ends."""
    lines = [0, *(found.end() for found in _NEW_LINE.finditer(text))]
    return [(_place(start, lines), _place(end, lines)) for start, end in _statement_spans(text)]


def _place(offset: int, lines: list[int]) -> Place:
    line = sum(1 for start in lines if start <= offset)
    return line, offset - lines[line - 1] + 1


def _statement_spans(text: str) -> list[tuple[int, int]]:
    """Offsets of the values of the member `Statement`; of two such members the last counts, as for the parser."""
    spans: list[tuple[int, int]] = []
    at = _after_space(text, 0) + 1  # Behind the brace of the document.
    while True:
        at = _after_space(text, at)
        if text[at] == "}":
            return spans
        if text[at] == ",":
            at = _after_space(text, at + 1)
        key, at = _DECODER.raw_decode(text, at)
        at = _after_space(text, _after_space(text, at) + 1)  # Over the colon.
        _, end = _DECODER.raw_decode(text, at)
        if key == "Statement":
            spans = list(_spans_of(text, at)) if text[at] == "[" else [(at + 1, end)]
        at = end


def _spans_of(text: str, at: int) -> Iterator[tuple[int, int]]:
    start = at + 1
    while text[at] != "]":
        value_at = _after_space(text, at + 1)
        if text[value_at] == "]":
            return
        _, end = _DECODER.raw_decode(text, value_at)
        yield start, end
        start, at = end, _after_space(text, end)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found is not None else at
