"""The evaluator against the second statement of the rules, over generated cases.

From `tests`: `python -m policy.compare --count 100000 --processes 2`. Each disagreement is printed with its seed and number,
and with all of the case that it needs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import Any, NamedTuple

from longshore.aws.principal import Principal
from longshore.policy import evaluate
from longshore.policy.document import Document, parse
from policy import cases, reference

Json = dict[str, Any]


class Disagreement(NamedTuple):
    number: int
    case: Json
    reference: str
    evaluator: str


class Outcome(NamedTuple):
    counts: Counter[str]  # allowed, explicitDeny, implicitDeny, unsettled; and the same by the kind of caller
    disagreements: list[Disagreement]


def compiled(document: Json) -> Document:
    return parse(json.dumps(document))


def compiled_policies(case: Json) -> evaluate.Policies:
    boundary = case["boundary"]
    return evaluate.Policies(
        identity=tuple(compiled(one) for one in case["identity"]),
        boundary=None if boundary is None else compiled(boundary),
        session=tuple(compiled(one) for one in case["session"]),
        service_control=tuple(tuple(compiled(one) for one in level) for level in case["service_control"]),
    )


def question_of(case: Json) -> evaluate.Question:
    return evaluate.Question(Principal(**case["who"]), case["action"], case["resource"], case["context"])


def in_words(decision: evaluate.Decision) -> tuple[str, str]:
    word = "allowed" if decision.allowed else "explicitDeny" if decision.is_explicit else "implicitDeny"
    return word, decision.because


def of_the_evaluator(case: Json) -> list[tuple[str, str]]:
    """Decision and reason, by each public way to ask."""
    question, policies, on_the_resource = question_of(case), compiled_policies(case), case["resource_policy"]
    owner = case.get("owner")
    if on_the_resource is not None:
        kind: Any = "trust" if case["is_trust"] else None
        return [in_words(evaluate.evaluate(question, policies, compiled(on_the_resource), kind, owner=owner))]
    answers = [evaluate.evaluate(question, policies, owner=owner)]
    if owner is None:
        answers += [evaluate.decide(question, policies), evaluate.decide(question, policies)]
    return [in_words(one) for one in answers]


def disagree(case: Json, said: list[tuple[str, str]] | None = None) -> tuple[str, str] | None:
    """What the two say, where they differ. `said`: what the evaluator says, where known. May raise `reference.Unsettled`."""
    answer = reference.decide(**case)
    reasons = answer.reasons
    is_across = reference.is_of_another_account(case["who"], case["resource"], case.get("owner"))
    if case["resource_policy"] is None and not is_across:
        reasons = reasons[:1]  # all on the caller's side, where the order is known
    wanted = {reference.text_of(answer, reason, case["action"]) for reason in reasons} or {""}
    for decision, because in said if said is not None else of_the_evaluator(case):
        if decision != answer.decision or because not in wanted:
            return f"{answer.decision} {sorted(wanted)}", f"{decision} {because!r}"
    return None


def misremembered(seed: int, number: int, case: Json) -> Disagreement | None:
    """What `decide` says of questions that are like one it has answered: does it take one for the other?"""
    policies = compiled_policies(case)
    evaluate.decide(question_of(case), policies)
    for other in cases.neighbours(seed, number, case):
        said = [in_words(evaluate.decide(question_of(other), policies))]
        try:
            texts = disagree(other, said)
        except reference.Unsettled:
            continue
        if texts is not None:
            return Disagreement(number, other | {"asked before": case}, *texts)
    return None


def smaller(case: Json) -> Iterator[Json]:
    """The case with one thing less, in every way."""
    for key in ("boundary", "resource_policy"):
        if case[key] is not None and not case["is_trust"]:
            yield case | {key: None}
    for key in ("identity", "session", "service_control"):
        for place in range(len(case[key])):
            yield case | {key: case[key][:place] + case[key][place + 1 :]}
    for key in case["context"]:
        yield case | {"context": {name: value for name, value in case["context"].items() if name != key}}
    for key, found in case.items():
        if key in ("boundary", "resource_policy") and found is not None:
            yield from (case | {key: one} for one in smaller_document(found))
        if key in ("identity", "session"):
            for place, document in enumerate(found):
                for one in smaller_document(document):
                    yield case | {key: [*found[:place], one, *found[place + 1 :]]}
        if key == "service_control":
            for place, level in enumerate(found):
                for number, document in enumerate(level):
                    for one in [*smaller_document(document)]:
                        narrowed = [*level[:number], one, *level[number + 1 :]]
                        yield case | {key: [*found[:place], narrowed, *found[place + 1 :]]}


def smaller_document(document: Json) -> Iterator[Json]:
    statements = reference.as_list(document["Statement"])
    for place, statement in enumerate(statements):
        if len(statements) > 1:
            yield document | {"Statement": statements[:place] + statements[place + 1 :]}
        less = [
            {key: value for key, value in statement.items() if key != name}
            for name in ("Sid", "Condition")
            if name in statement
        ]
        for key in ("Action", "NotAction", "Resource", "NotResource"):
            value = statement.get(key)
            if isinstance(value, list):
                less += [statement | {key: one} for one in value]
        for operator, keys in statement.get("Condition", {}).items():
            others = {name: block for name, block in statement["Condition"].items() if name != operator}
            less += [statement | {"Condition": others}] if others else []
            for key, value in keys.items():
                if isinstance(value, list):
                    less += [statement | {"Condition": {**others, operator: {**keys, key: one}}} for one in value]
        for one in less:
            yield document | {"Statement": [*statements[:place], one, *statements[place + 1 :]]}


def minimal(case: Json) -> Json:
    while True:
        for one in smaller(case):
            try:
                if disagree(one) is not None:
                    case = one
                    break
            except reference.Unsettled:
                continue
        else:
            return case


def compare(seed: int, first: int, count: int) -> Outcome:
    counts: Counter[str] = Counter()
    found = []
    for number in range(first, first + count):
        case = cases.make(seed, number)
        try:
            decision = reference.decide(**case).decision
        except reference.Unsettled:
            counts["unsettled"] += 1
            continue
        counts[decision] += 1
        counts[f"{case['who']['kind']}: {decision}"] += 1
        if disagree(case) is not None:
            least = minimal(case) if len(found) < 25 else case
            texts = disagree(least)
            assert texts is not None
            found.append(Disagreement(number, least, *texts))
        elif case["resource_policy"] is None and "owner" not in case and number % 4 == 0:
            counts["with neighbours"] += 1
            if wrong := misremembered(seed, number, case):
                found.append(wrong)
    return Outcome(counts, found)


def in_processes(seed: int, count: int, processes: int) -> Outcome:
    size = max(1, min(2000, -(-count // processes)))
    starts = list(range(0, count, size))
    counts: Counter[str] = Counter()
    found: list[Disagreement] = []
    with ProcessPoolExecutor(processes) as pool:
        for outcome in pool.map(compare, repeat(seed), starts, [min(size, count - start) for start in starts]):
            counts += outcome.counts
            found += outcome.disagreements
    return Outcome(counts, found)


def told(seed: int, found: Disagreement) -> str:
    said = f"  reference: {found.reference}\n  evaluator: {found.evaluator}"
    return f"seed {seed}, case {found.number}\n{said}\n{json.dumps(found.case, indent=1)}\n"


def main() -> int:
    wanted = argparse.ArgumentParser(description=__doc__)
    wanted.add_argument("--seed", type=int, default=1)
    wanted.add_argument("--count", type=int, default=100_000)
    wanted.add_argument("--processes", type=int, default=2)
    given = wanted.parse_args()
    outcome = in_processes(given.seed, given.count, given.processes)
    for one in outcome.disagreements[:50]:
        print(told(given.seed, one))
    print(f"seed {given.seed}: {given.count} cases, {len(outcome.disagreements)} disagreements")
    print(dict(sorted(outcome.counts.items())))
    return 1 if outcome.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
