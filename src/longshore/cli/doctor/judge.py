"""What policies say to a question, from the documents that were read: for trust policies, which no simulator knows, and in
place of the simulator where there is none. Pure: the rules are longshore.policy's.

What the organization forbids is not seen here.
"""

from __future__ import annotations

from typing import Any, Literal

from longshore.aws.principal import Principal, service
from longshore.cli.doctor.account import Account, Answer, Asked, Policy, Role
from longshore.policy import doubt
from longshore.policy.document import Document, compile_document
from longshore.policy.evaluate import Policies, Question, evaluate


def trusts(account: Account, role: Role, by: str) -> Answer | None:
    """Whether the service may take the role. None: its trust policy is of no form that is understood."""
    context: dict[str, str | list[str]] = {"aws:sourceaccount": account.number, "aws:requestedregion": account.region}
    question = Question(service(by, account.number), "sts:AssumeRole", role.arn, context)
    document = _compiled(role.trust)
    if document is None:
        return None
    decision = evaluate(question, Policies(), document, "trust")
    unknown = _names([document], question.action) - set(context)
    missing = doubt.open_keys(question, Policies(), unknown, document, "trust")
    by_which: Literal["", "identity"] = "" if decision.allowed else "identity"
    return Answer(decision.allowed, by_which, decision.is_explicit, tuple(sorted(missing)))


def answer(account: Account, asked: Asked) -> Answer | None:
    """None: the policies of the one who is asked about could not all be read."""
    held = _held(account, asked.source)
    if held is None:
        return None
    policies, boundary = held
    documents = [_compiled(each.document) for each in policies]
    limit = None if boundary is None else _compiled(boundary.document)
    if None in documents or (boundary is not None and limit is None):
        return None
    principal = _principal(account, asked.source)
    context: dict[str, str | list[str]] = {
        "aws:principalarn": asked.source,
        "aws:principalaccount": account.number,
        "aws:principaltype": "User" if principal.kind == "user" else "AssumedRole",
        "aws:requestedregion": account.region,
        **{key.lower(): value for key, value in asked.context},
    }
    if principal.user_name is not None:
        context["aws:username"] = principal.user_name
    question = Question(principal, asked.action, asked.resource, context)
    found = Policies(identity=tuple(each for each in documents if each is not None), boundary=limit)
    decision = evaluate(question, found)
    spoken = [*found.identity, *([limit] if limit is not None else [])]
    missing = doubt.open_keys(question, found, _names(spoken, asked.action) - set(context))
    if decision.allowed:
        return Answer(True, missing=tuple(sorted(missing)))
    by: Literal["identity", "boundary"] = "boundary" if "permissions boundary" in decision.because else "identity"
    return Answer(False, by, decision.is_explicit, tuple(sorted(missing)))


def _held(account: Account, source: str) -> tuple[tuple[Policy, ...], Policy | None] | None:
    if source == account.caller.source:
        return account.caller.policies, account.caller.boundary
    for role in account.roles.values():
        if role.arn == source:
            return role.policies, role.boundary
    return None


def _principal(account: Account, source: str) -> Principal:
    name = source.rsplit("/", 1)[-1]
    if ":user/" in source:
        return Principal(kind="user", account=account.number, arn=source, user_id="AIDA", user_name=name)
    arn = f"arn:aws:sts::{account.number}:assumed-role/{name}/session"
    return Principal(
        kind="assumed-role", account=account.number, arn=arn, user_id="AROA:session", role_arn=source, role_id="AROA"
    )


def _names(documents: list[Document], action: str) -> frozenset[str]:
    """The condition keys of which statements about the action speak."""
    speaking = [statement for each in documents for side in each.on(action) for statement in side]
    return frozenset().union(*(statement.names() for statement in speaking))


def _compiled(document: dict[str, Any] | None) -> Document | None:
    """None: it was not read, or is no policy."""
    if document is None:
        return None
    try:
        return compile_document(document)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
