"""A policy document, compiled: parsed once for each text, asked millions of times.

Documents that come here have been checked (`validate`) or are AWS's own; what is malformed raises ValueError or KeyError.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

from longshore.aws.principal import Principal
from longshore.policy import conditions, match
from longshore.policy.match import Context

_REMEMBERED_ACTIONS = 512  # of each document; more than a house asks about

# How a resource policy names the caller. The narrower ways are of use to `evaluate`: an account only delegates.
USER, ROLE, SESSION, ANYONE, ACCOUNT, SERVICE = "user", "role", "session", "anyone", "account", "service"


class Principals(Struct, frozen=True):
    """The principals of a statement of a resource policy; names compared with regard to case, without wildcards."""

    anyone: bool
    aws: frozenset[str]  # ARNs, account ids, unique ids
    services: frozenset[str]
    federated: frozenset[str]

    def ways(self, principal: Principal) -> frozenset[str]:
        """In which ways they name the caller; empty: not at all."""
        if principal.kind == "service":
            named = self.anyone or principal.arn in self.services
            return frozenset((SERVICE,)) if named else frozenset()
        found: set[str] = set()
        if self.anyone:
            found.add(ANYONE)
        if principal.account in self.aws or f"arn:aws:iam::{principal.account}:root" in self.aws:
            found.add(ACCOUNT)
        if principal.kind == "assumed-role":
            if principal.role_arn in self.aws or principal.role_id in self.aws:
                found.add(ROLE)
            if principal.arn in self.aws:
                found.add(SESSION)
        elif principal.kind == "federated-user":
            if principal.arn in self.aws:
                found.add(SESSION)
        elif principal.kind == "user" and (principal.arn in self.aws or principal.user_id in self.aws):
            found.add(USER)
        return frozenset(found)

    def spares(self, principal: Principal) -> bool:
        """Whether NotPrincipal leaves the caller out: its account, its role and its session must all be named.

        Source: IAM user guide, "NotPrincipal": the account may be looked at first, then the role, then the session.
        """
        if principal.kind == "service":
            return self.anyone or principal.arn in self.services
        levels = {
            "user": ({principal.arn, principal.user_id},),
            "assumed-role": ({principal.role_arn, principal.role_id}, {principal.arn}),
            "federated-user": ({principal.arn},),
        }.get(principal.kind, ())
        account = {principal.account, f"arn:aws:iam::{principal.account}:root"}
        return self.anyone or all(self.aws & level for level in (account, *levels))


class Statement(Struct, frozen=True):
    allows: bool  # False: denies
    actions: match.Actions
    all_but_actions: bool  # NotAction
    resources: match.Resources | None  # None: a trust policy, whose resource is its role
    all_but_resources: bool
    principals: Principals | None
    all_but_principals: bool
    conditions: tuple[conditions.Condition | conditions.Null, ...]
    # What is false of a resource: the statement does not apply to it. Most are told apart so. None: all may.
    sieve: Callable[[str], object] | None = None

    def speaks_of(self, action: str) -> bool:
        return self.actions.match(action) is not self.all_but_actions

    def applies(self, resource: str, context: Context) -> bool:
        """Whether resource and conditions match; the action has been looked at."""
        if self.resources is not None and self.resources.match(resource, context) is self.all_but_resources:
            return False
        return all(condition.holds(context) for condition in self.conditions)

    def may_apply(self, resource: str) -> bool:
        """Whether there are condition keys with which the statement applies to the resource."""
        if self.resources is None:
            return True
        if self.all_but_resources:
            return not self.resources.matches_whatever(resource)
        return self.resources.may_match(resource)

    def names(self) -> frozenset[str]:
        """The condition keys that `applies` looks at."""
        patterns = self.resources.patterns if self.resources is not None else ()
        found = [pattern.names() for pattern in patterns] + [condition.names for condition in self.conditions]
        return frozenset().union(*found)

    def ways(self, principal: Principal, *, has_boundary: bool = False) -> frozenset[str]:
        """In which ways a resource policy's statement names the caller.

        Source: IAM user guide, "Permissions boundaries for IAM entities": NotPrincipal spares nobody who has a boundary,
        whatever its values.
        """
        if self.principals is None:
            return frozenset()
        if self.all_but_principals:
            is_spared = not has_boundary and self.principals.spares(principal)
            return frozenset() if is_spared else frozenset((ANYONE,))
        return self.principals.ways(principal)


class Document:
    """All statements of a policy, those for an action found by a look-up."""

    __slots__ = ("_by_action", "sources", "statements")

    def __init__(self, statements: tuple[Statement, ...], sources: tuple[Mapping[str, Any], ...] = ()) -> None:
        self.statements = statements
        self.sources = sources  # as they were written, one for each statement; empty: it was not made of a text
        self._by_action: dict[str, tuple[tuple[Statement, ...], tuple[Statement, ...]]] = {}

    def on(self, action: str) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
        """The statements that speak of the action: those that deny, those that allow."""
        found = self._by_action.get(action)
        if found is None:
            lower = action.lower()
            speaking = [statement for statement in self.statements if statement.speaks_of(lower)]
            found = (
                tuple(statement for statement in speaking if not statement.allows),
                tuple(statement for statement in speaking if statement.allows),
            )
            if len(self._by_action) >= _REMEMBERED_ACTIONS:
                self._by_action.clear()
            self._by_action[action] = found
        return found


@lru_cache(2048)
def parse(text: str) -> Document:
    """The compiled document of a JSON text; one for all who hold the same text."""
    return compile_document(json.loads(text))


def compile_document(source: Mapping[str, Any]) -> Document:
    # IAM user guide, Version: only 2012-10-17 knows policy variables; an absent Version is 2008-10-17.
    variables = source.get("Version") == "2012-10-17"
    sources = tuple(listed(source["Statement"]))
    return Document(tuple(_statement(each, variables) for each in sources), sources)


def listed(value: Any) -> list[Any]:
    """The language lets one stand for a list of one."""
    return value if isinstance(value, list) else [value]


def texts(value: Any) -> list[str]:
    """Condition values as texts: JSON's booleans and numbers too."""
    return [_text(each) for each in listed(value)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _statement(source: Mapping[str, Any], variables: bool) -> Statement:
    resource_key = "NotResource" if "NotResource" in source else "Resource"
    action_key = "NotAction" if "NotAction" in source else "Action"
    principal_key = "NotPrincipal" if "NotPrincipal" in source else "Principal"
    resources = match.resources(listed(source[resource_key]), variables=variables) if resource_key in source else None
    return Statement(
        allows=source["Effect"] == "Allow",
        actions=match.actions(listed(source[action_key])),
        all_but_actions=action_key == "NotAction",
        resources=resources,
        all_but_resources=resource_key == "NotResource",
        principals=_principals(source[principal_key]) if principal_key in source else None,
        all_but_principals=principal_key == "NotPrincipal",
        conditions=tuple(
            conditions.condition(operator, key, texts(values), variables=variables)
            for operator, keys in (source.get("Condition") or {}).items()
            for key, values in keys.items()
        ),
        sieve=resources.sieve() if resources is not None and resource_key == "Resource" else None,
    )


def _principals(source: Any) -> Principals:
    if source == "*":
        source = {"AWS": "*"}
    aws = frozenset(listed(source.get("AWS", [])))
    return Principals(
        anyone="*" in aws,
        aws=aws - {"*"},
        services=frozenset(listed(source.get("Service", []))),
        federated=frozenset(listed(source.get("Federated", []))),
    )
