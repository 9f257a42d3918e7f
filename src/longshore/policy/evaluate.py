"""May this principal do this to that? The decision, and its reason in AWS's words.

An explicit deny anywhere wins. Else identity-based policies must allow, and the permissions boundary and the session policy
too, where there are any. A resource policy of the same account that names the caller itself grants without them, as far
as the table below says; one that names the account only delegates. A trust policy must always allow. Service control
policies limit all who are of the account, its root user too, and give nothing.

Source: IAM user guide, "Policy evaluation logic", "Access denied error messages".
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct, field

from longshore.aws.principal import Principal
from longshore.policy.document import ACCOUNT, ANYONE, ROLE, SERVICE, SESSION, USER, Document
from longshore.policy.match import Context

ResourcePolicyKind = Literal["trust"]  # None: an ordinary resource policy


class Question(Struct, frozen=True):
    principal: Principal
    action: str  # "batch:SubmitJob"
    resource: str  # an ARN, or `*`
    context: Context  # condition key in lower case -> value or values


class Decision(Struct, frozen=True):
    """`because`: the end of AWS's message, empty when allowed."""

    allowed: bool
    because: str

    @property
    def is_explicit(self) -> bool:
        """A statement denies it, rather than none allowing it."""
        return self.because.startswith("with an explicit deny")


class Policies(Struct, frozen=True, eq=False):
    """What limits and allows a principal.

    `session` empty: the session was made without a session policy. Several are one policy in several documents.
    `service_control`: the service control policies of each level above and at the account, and every level must allow;
    empty: the account has none.
    """

    identity: tuple[Document, ...] = ()
    boundary: Document | None = None
    session: tuple[Document, ...] = ()
    service_control: tuple[tuple[Document, ...], ...] = ()
    # Kept by `decide`. action -> the condition keys that matter; the question, with their values -> the decision.
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    decisions: dict[tuple[Any, ...], Decision] = field(default_factory=dict)


ALLOWED = Decision(allowed=True, because="")
_REMEMBERED = 128  # decisions of each principal; a busy one asks about fewer

_CONTROL = "service control policy"
_IDENTITY = "identity-based policy"
_BOUNDARY = "permissions boundary"
_SESSION = "session policy"
_RESOURCE = "resource-based policy"
_TRUST = "role trust policy"
_DENIES = {
    _CONTROL: "with an explicit deny in a service control policy",
    _IDENTITY: "with an explicit deny in an identity-based policy",
    _BOUNDARY: "with an explicit deny in a permissions boundary",
    _SESSION: "with an explicit deny in a session policy",
    _RESOURCE: "with an explicit deny in a resource-based policy",
    _TRUST: "with an explicit deny in the role trust policy",
}

# How a resource policy of the same account names the caller -> which of the caller's own limits it still meets.
# IAM user guide, "Evaluating identity-based policies with resource-based policies"; "Permissions boundaries".
_STILL_LIMITS: Mapping[str, frozenset[str]] = {
    USER: frozenset(),
    SESSION: frozenset(),
    ANYONE: frozenset(),
    ROLE: frozenset((_BOUNDARY, _SESSION)),
    ACCOUNT: frozenset((_IDENTITY, _BOUNDARY, _SESSION)),
}


def decide(question: Question, policies: Policies) -> Decision:
    """What `evaluate` says without a resource policy; remembered, since most questions were asked before.

    `policies` are those of the question's principal, of no other. A decision depends on action and resource, and on those
    condition keys alone of which the statements about the action speak.
    """
    principal, action, context = question.principal, question.action, question.context
    names = policies.names.get(action)
    if names is None:
        names = policies.names[action] = _names(policies, action)
    key = (principal.account, principal.kind, action, question.resource, *[_fixed(context.get(name)) for name in names])
    decision = policies.decisions.get(key)
    if decision is None:
        decision = evaluate(question, policies)
        if len(policies.decisions) >= _REMEMBERED:
            policies.decisions.clear()
        policies.decisions[key] = decision
    return decision


def _names(policies: Policies, action: str) -> tuple[str, ...]:
    boundary = (policies.boundary,) if policies.boundary is not None else ()
    found: set[str] = set()
    control = itertools.chain(*policies.service_control)
    for document in (*policies.identity, *boundary, *policies.session, *control):
        for statement in itertools.chain(*document.on(action)):
            found |= statement.names()
    return tuple(sorted(found))


def _fixed(value: str | list[str] | None) -> str | tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) else value


def evaluate(
    question: Question,
    policies: Policies,
    resource_policy: Document | None = None,
    resource_policy_kind: ResourcePolicyKind | None = None,
    *,
    owner: str | None = None,
) -> Decision:
    """Allowed or not, with one reason: an explicit deny before silence, service control before identity, boundary, session.

    `owner`: the account whose the resource is; None: its ARN tells, and one that does not is of the caller's own account.
    """
    resource_kind = _TRUST if resource_policy_kind == "trust" else _RESOURCE
    if denier := _denied_by(question, policies, resource_policy, resource_kind):
        return Decision(allowed=False, because=_DENIES[denier])
    ways = _ways(question, resource_policy)
    if question.principal.kind == "service":
        return ALLOWED if SERVICE in ways else _silent(question, resource_kind)
    if resource_policy_kind == "trust" and not ways:
        return _silent(question, _TRUST)
    # The order of IAM's own flow chart: what the organization does not allow needs no further looking.
    if not all(_allows(level, question) for level in policies.service_control):
        return _silent(question, _CONTROL)
    silent = _silent_policies(question, policies)
    if _is_foreign(question, owner):
        if resource_policy is None or not ways:
            return _silent(question, resource_kind)
        return _silent(question, silent[0]) if silent else ALLOWED
    if not silent or any(_STILL_LIMITS[way].isdisjoint(silent) for way in ways):
        return ALLOWED
    return _silent(question, silent[0])


def _denied_by(
    question: Question, policies: Policies, resource_policy: Document | None, resource_kind: str
) -> str | None:
    # Organizations user guide, "Service control policies": no service itself is limited by them.
    if question.principal.kind != "service" and any(_denies(level, question) for level in policies.service_control):
        return _CONTROL
    if _denies(policies.identity, question):
        return _IDENTITY
    if policies.boundary is not None and _denies((policies.boundary,), question):
        return _BOUNDARY
    if _denies(policies.session, question):
        return _SESSION
    if resource_policy is not None:
        has_boundary = policies.boundary is not None
        for statement in resource_policy.on(question.action)[0]:
            ways = statement.ways(question.principal, has_boundary=has_boundary)
            if ways and statement.applies(question.resource, question.context):
                return resource_kind
    return None


def _denies(documents: Iterable[Document], question: Question) -> bool:
    action, resource = question.action, question.resource
    for document in documents:
        for statement in document.on(action)[0]:
            sieve = statement.sieve
            if (sieve is None or sieve(resource)) and statement.applies(resource, question.context):
                return True
    return False


def _allows(documents: Iterable[Document], question: Question) -> bool:
    action, resource = question.action, question.resource
    for document in documents:
        for statement in document.on(action)[1]:
            sieve = statement.sieve
            if (sieve is None or sieve(resource)) and statement.applies(resource, question.context):
                return True
    return False


def _ways(question: Question, resource_policy: Document | None) -> frozenset[str]:
    """In which ways the resource policy allows the caller; empty: it does not."""
    if resource_policy is None:
        return frozenset()
    found: frozenset[str] = frozenset()
    for statement in resource_policy.on(question.action)[1]:
        ways = statement.ways(question.principal)
        if ways and statement.applies(question.resource, question.context):
            found |= ways
    return found


def _silent_policies(question: Question, policies: Policies) -> list[str]:
    """The kinds of the caller's own policies that would have to allow and do not, in the order of AWS's messages."""
    silent: list[str] = []
    # The account's own user has all rights in it without any policy.
    if question.principal.kind != "root" and not _allows(policies.identity, question):
        silent.append(_IDENTITY)
    if policies.boundary is not None and not _allows((policies.boundary,), question):
        silent.append(_BOUNDARY)
    if policies.session:
        if not _allows(policies.session, question):
            silent.append(_SESSION)
    elif question.principal.kind == "federated-user":
        silent.append(_SESSION)  # GetFederationToken: without a session policy the federated user has nothing.
    return silent


def _is_foreign(question: Question, owner: str | None) -> bool:
    if owner is not None:
        return owner != question.principal.account
    parts = question.resource.split(":", 5)
    if len(parts) < 6 or not parts[4].isdigit():
        return False
    return parts[4] != question.principal.account


def _silent(question: Question, kind: str) -> Decision:
    return Decision(allowed=False, because=f"because no {kind} allows the {question.action} action")
