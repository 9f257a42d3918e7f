"""What can be said of a decision before the call is made: some condition keys are known to the call alone.

A statement that looks at such a key may apply or not. Taken once as the caller would like it and once as he would not, the
policies give the same answer, which is then sure, or two, and then only the call can tell.
"""

from __future__ import annotations

import itertools

from msgspec.structs import replace

from longshore.policy.document import Document, Statement
from longshore.policy.evaluate import Policies, Question, ResourcePolicyKind, evaluate


def open_keys(
    question: Question,
    policies: Policies,
    unknown: frozenset[str],
    resource_policy: Document | None = None,
    resource_policy_kind: ResourcePolicyKind | None = None,
) -> frozenset[str]:
    """Those of the `unknown` keys (in lower case) on which the decision rests. Empty: it is the same whatever they are."""

    def decided(*, hopeful: bool) -> bool:
        seen = Policies(
            identity=tuple(_seen(each, unknown, hopeful=hopeful) for each in policies.identity),
            boundary=None if policies.boundary is None else _seen(policies.boundary, unknown, hopeful=hopeful),
            session=tuple(_seen(each, unknown, hopeful=hopeful) for each in policies.session),
            service_control=tuple(
                tuple(_seen(each, unknown, hopeful=hopeful) for each in level) for level in policies.service_control
            ),
        )
        resource = None if resource_policy is None else _seen(resource_policy, unknown, hopeful=hopeful)
        return evaluate(question, seen, resource, resource_policy_kind).allowed

    if decided(hopeful=True) == decided(hopeful=False):
        return frozenset()
    boundary = (policies.boundary,) if policies.boundary is not None else ()
    resource = (resource_policy,) if resource_policy is not None else ()
    control = itertools.chain(*policies.service_control)
    speaking = [
        statement
        for document in (*policies.identity, *boundary, *policies.session, *control, *resource)
        for side in document.on(question.action)
        for statement in side
    ]
    return frozenset().union(*(statement.names() for statement in speaking)) & unknown


def _seen(document: Document, unknown: frozenset[str], *, hopeful: bool) -> Document:
    """The document as if every statement that looks at an unknown key were in the caller's favour, or none."""
    statements: list[Statement] = []
    for statement in document.statements:
        if not statement.names() & unknown:
            statements.append(statement)
        elif statement.allows is hopeful:
            statements.append(_without(statement, unknown))
    return Document(tuple(statements))


def _without(statement: Statement, unknown: frozenset[str]) -> Statement:
    """The statement with its conditions on unknown keys held; resources that name one match whatever is asked."""
    patterns = statement.resources.patterns if statement.resources is not None else ()
    is_open = any(pattern.names() & unknown for pattern in patterns)
    return replace(
        statement,
        resources=None if is_open else statement.resources,
        sieve=None if is_open else statement.sieve,
        conditions=tuple(each for each in statement.conditions if not each.names & unknown),
    )
