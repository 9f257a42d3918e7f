"""The evaluator against the second statement of the rules.

A run in CI takes a few thousand cases, always the same. LONGSHORE_CASES=100000 in the environment of pytest takes as many as
one likes, and LONGSHORE_SEED others.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from policy import cases, reference
from policy.compare import Outcome, compare, in_processes, told

SEED = int(os.environ.get("LONGSHORE_SEED", "1"))
COUNT = int(os.environ.get("LONGSHORE_CASES", "2000"))


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    if COUNT > 10_000:
        return in_processes(SEED, COUNT, processes=2)
    return compare(SEED, 0, COUNT)


def test_the_two_statements_of_the_rules_agree(outcome: Outcome) -> None:
    assert not outcome.disagreements, "\n".join(told(SEED, one) for one in outcome.disagreements[:5])


def test_each_decision_occurs_often(outcome: Outcome) -> None:
    counts = outcome.counts
    for decision in ("allowed", "explicitDeny", "implicitDeny"):
        assert counts[decision] > 0.15 * COUNT, counts
        for kind in ("user", "assumed-role", "federated-user", "root", "service"):
            assert counts[f"{kind}: {decision}"] >= 0.003 * COUNT, (kind, counts)
    assert counts["unsettled"] < 0.1 * COUNT, counts


def test_the_cases_hold_all_that_they_should() -> None:
    text = str([cases.make(SEED, number) for number in range(400)])
    operators = [operator for family in cases.FAMILIES.values() for operator in family[0]]
    words = [
        "NotAction",
        "NotResource",
        "NotPrincipal",
        "'Null'",
        "2008-10-17",
        "ForAllValues:",
        "ForAnyValue:",
        "IfExists",
        "${",
    ]
    assert [word for word in (*words, *(f"{one}'" for one in operators)) if word not in text] == []


def test_a_wrong_statement_of_a_rule_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these turned the other way in the reference makes some case come out differently."""
    right_fits, right_holds = reference.fits, reference.condition_holds

    def whatever_the_case(pattern: list[Any], text: str) -> bool:
        return right_fits([one.lower() if isinstance(one, str) else one for one in pattern], text.lower())

    def across_colons(pattern: list[Any], arn: str) -> bool:
        return right_fits(pattern, arn)

    def absent_is_false(operator: str, key: str, wanted: list[Any], version: str, context: dict[str, Any]) -> bool:
        is_absent = context.get(key.lower()) is None and operator != "Null"
        return not is_absent and right_holds(operator, key, wanted, version, context)

    def each_is_any(operator: str, key: str, wanted: list[Any], version: str, context: dict[str, Any]) -> bool:
        return right_holds(operator.replace("ForAnyValue", "ForAllValues"), key, wanted, version, context)

    right_spared, right_ways = reference.is_spared, reference.ways_named

    def whoever_has_a_boundary(element: Any, who: dict[str, Any], has_boundary: bool) -> bool:
        return right_spared(element, who, False)

    def a_role_is_its_session(element: Any, who: dict[str, Any]) -> set[str]:
        return {reference.DIRECT if way == reference.AS_ROLE else way for way in right_ways(element, who)}

    def an_account_is_its_user(element: Any, who: dict[str, Any]) -> set[str]:
        return {reference.DIRECT if way == reference.ACCOUNT else way for way in right_ways(element, who)}

    wrong: dict[str, object] = {
        "fits": whatever_the_case,
        "arn_fits": across_colons,
        "condition_holds": absent_is_false,
        "is_spared": whoever_has_a_boundary,
        "ways_named": a_role_is_its_session,
        "is_of_another_account": lambda who, resource, owner: False,
        "account_forms": lambda account: [account],
        "substituted": lambda text, version, context: reference.pattern_of(text),
    }
    monkeypatch.setattr("policy.compare.minimal", lambda case: case)
    unseen = []
    for name, mistake in [
        *wrong.items(),
        ("condition_holds", each_is_any),
        ("ways_named", an_account_is_its_user),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(reference, name, mistake)
            if not any(compare(1, first, 50).disagreements for first in range(0, 4000, 50)):
                unseen.append(mistake)
    assert unseen == []
