"""Policy documents changed by as little as it takes: what denies is taken out, what is missing is added. Pure.

Documents are the JSON objects as they are kept; a changed one keeps all its other statements as they stand.
"""

from __future__ import annotations

from typing import Any

from longshore.policy.document import compile_document, listed


def denials(document: dict[str, Any], action: str, resource: str) -> list[int]:
    """Which of its statements may be those that deny it: their conditions are left to the reader."""
    found = []
    for at, compiled in enumerate(compile_document(document).statements):
        if compiled.allows or not compiled.speaks_of(action.lower()):
            continue
        if compiled.resources is None or compiled.resources.match(resource, {}) is not compiled.all_but_resources:
            found.append(at)
    return found


def without_denial(document: dict[str, Any], action: str, resource: str) -> dict[str, Any] | None:
    """The document in which nothing denies the action on the resource any more; None: nothing is left of it."""
    denying = denials(document, action, resource)
    statements: list[dict[str, Any]] = []
    for at, statement in enumerate(listed(document["Statement"])):
        left = _spare(statement, action) if at in denying else statement
        if left is not None:
            statements.append(left)
    return {**document, "Statement": statements} if statements else None


def _spare(statement: dict[str, Any], action: str) -> dict[str, Any] | None:
    """The statement without the action, if it lists it beside others; None: it goes as a whole."""
    actions = listed(statement.get("Action", []))
    left = [each for each in actions if each.lower() != action.lower()]
    return {**statement, "Action": left} if left and len(left) < len(actions) else None


def with_statements(document: dict[str, Any], statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {**document, "Statement": [*listed(document["Statement"]), *statements]}


def trusting(document: dict[str, Any], service: str) -> dict[str, Any]:
    """The trust policy in which the service may take the role, and nothing that names it denies that."""
    kept = [
        each for each in listed(document["Statement"]) if each["Effect"] == "Allow" or not _names_service(each, service)
    ]
    return {**document, "Statement": [*kept, trust_statement(service)]}


def trust_statement(service: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}


def _names_service(statement: dict[str, Any], name: str) -> bool:
    """Whether a statement that denies may be what refuses the service."""
    principal = statement.get("Principal")
    return not isinstance(principal, dict) or name in listed(principal.get("Service", []))
