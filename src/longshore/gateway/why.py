"""Why a call was refused, as DecodeAuthorizationMessage tells it: AWS's JSON.

Source: STS API reference, DecodeAuthorizationMessage; the members from messages that users decoded in public.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from longshore.kit.access import Question
from longshore.kit.call import Call
from longshore.policy.document import Document, listed, texts
from longshore.policy.evaluate import Policies
from longshore.policy.match import Context


def message(call: Call, question: Question, policies: Policies, context: Context) -> str:
    """Whether it was an explicit deny, by which statements, and what the policies were asked."""
    denying = list(_denying(policies, question, context))
    principal = call.principal
    who = {"id": principal.user_id, "arn": principal.arn}
    if principal.user_name is not None:
        who = {"id": principal.user_id, "name": principal.user_name, "arn": principal.arn}
    told = {
        "allowed": False,
        "explicitDeny": bool(denying),
        "matchedStatements": {"items": [_statement(source, principal.user_id) for source in denying]},
        "failures": {"items": []},
        "context": {
            "principal": who,
            "action": question.action,
            "resource": question.resource,
            "conditions": {"items": [_condition(name, listed(value)) for name, value in _asked(call, question)]},
        },
    }
    return msgspec.json.encode(told).decode()


def _denying(policies: Policies, question: Question, context: Context) -> Iterator[Mapping[str, Any]]:
    boundary = (policies.boundary,) if policies.boundary is not None else ()
    control = itertools.chain(*policies.service_control)
    documents: Iterable[Document] = (*control, *policies.identity, *boundary, *policies.session)
    for document in documents:
        for statement, source in zip(document.statements, document.sources, strict=True):
            speaks = not statement.allows and statement.speaks_of(question.action.lower())
            if speaks and statement.applies(question.resource, context):
                yield source


def _statement(source: Mapping[str, Any], user_id: str) -> dict[str, Any]:
    """One of the statements that denied; what it excepts (NotAction, NotResource) bears its own name."""
    shown: dict[str, Any] = {
        "statementId": source.get("Sid", ""),
        "effect": "DENY",
        "principals": _items([user_id.partition(":")[0]]),
        "principalGroups": _items([]),
    }
    for element, name in _ELEMENTS.items():
        if element in source:
            shown[name] = _items(texts(source[element]))
    conditions = (source.get("Condition") or {}).values()
    shown["conditions"] = {
        "items": [_condition(key, texts(values)) for keys in conditions for key, values in keys.items()]
    }
    return shown


_ELEMENTS = {
    "Action": "actions",
    "NotAction": "notActions",
    "Resource": "resources",
    "NotResource": "notResources",
}


def _asked(call: Call, question: Question) -> Iterator[tuple[str, Any]]:
    """The keys of the question itself, after those that name its resource."""
    yield "aws:Region", call.region
    yield "aws:Service", question.action.partition(":")[0]
    parts = question.resource.split(":", 5)
    if len(parts) == 6:
        yield "aws:Account", parts[4]
        yield "aws:Type", parts[5].partition("/")[0]
        yield "aws:Resource", parts[5]
        yield "aws:ARN", question.resource
    yield from sorted(question.context.items())


def _condition(key: str, values: Iterable[str]) -> dict[str, Any]:
    return {"key": key, "values": _items(values)}


def _items(values: Iterable[str]) -> dict[str, Any]:
    return {"items": [{"value": value} for value in values]}
