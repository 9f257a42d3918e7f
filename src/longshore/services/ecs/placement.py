"""Where RunTask puts a task. Pure: what it needs and the instances in, one instance or the reasons out.

Source: ECS developer guide, "How Amazon ECS places tasks on container instances": first the instances that satisfy CPU,
memory and ports; then the constraints; then the strategies, one after the other; then one of what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from longshore.services.ecs import cluster_query, resources
from longshore.services.ecs.records import Standing
from longshore.services.ecs.resources import Need


class Candidate(Struct, frozen=True):
    """An instance, and the groups of the tasks that are on it (for constraints and spreading)."""

    standing: Standing
    groups: tuple[str, ...] = ()


class Wish(Struct, frozen=True, kw_only=True):
    """What is asked of the place."""

    need: Need
    group: str
    attributes: Sequence[str] = ()  # that the instance must have
    constraints: Sequence[Mapping[str, Any]] = ()  # [{"type", "expression"?}]
    strategies: Sequence[Mapping[str, Any]] = ()  # [{"type", "field"?}]


class Refusal(Struct, frozen=True):
    """As in `failures`: the ARN of the instance, AWS's reason and its detail."""

    arn: str
    reason: str
    detail: str | None = None


def place(wish: Wish, candidates: Sequence[Candidate], shuffle: Callable[[int], int]) -> Candidate | list[Refusal]:
    """The instance for the task; or why each of them will not do, in their order.

    `shuffle(n)` gives a number below n, for the strategy `random`.
    """
    fitting: list[Candidate] = []
    refusals: list[Refusal] = []
    expressions = [
        cluster_query.parse(each.get("expression") or "") for each in wish.constraints if each["type"] == "memberOf"
    ]
    distinct = any(each["type"] == "distinctInstance" for each in wish.constraints)
    for candidate in candidates:
        refusal = unfit(candidate.standing, wish.need, wish.attributes)
        if refusal is None and distinct and wish.group in candidate.groups:
            refusal = Refusal(candidate.standing.instance.arn, "DistinctInstance placement constraint unsatisfied.")
        if refusal is None and expressions:
            known = cluster_query.facts(candidate.standing, candidate.groups)
            if not all(matches(known) for matches in expressions):
                refusal = Refusal(candidate.standing.instance.arn, "MemberOf placement constraint unsatisfied.")
        if refusal is None:
            fitting.append(candidate)
        else:
            refusals.append(refusal)
    if not fitting:
        return refusals
    return _chosen(wish, fitting, shuffle)


def unfit(standing: Standing, need: Need, attributes: Iterable[str]) -> Refusal | None:
    """Why a task can't be on this instance; None: it can. Asked by StartTask too."""
    arn = standing.instance.arn
    if standing.status != "ACTIVE":
        return Refusal(arn, "INACTIVE")
    if not standing.agent_connected:
        return Refusal(arn, "AGENT")
    have = {attribute["name"] for attribute in standing.instance.attributes}
    missing = [name for name in attributes if name not in have]
    if missing:
        return Refusal(arn, "ATTRIBUTE", f"Missing attributes: {', '.join(missing)}.")
    short = resources.lacking(standing.occupancy.remaining, need)
    return Refusal(arn, *short) if short is not None else None


def _chosen(wish: Wish, fitting: list[Candidate], shuffle: Callable[[int], int]) -> Candidate:
    """One of those left after the strategies. Without a strategy: spread over zones, then over instances."""
    strategies = wish.strategies or (
        {"type": "spread", "field": "attribute:ecs.availability-zone"},
        {"type": "spread", "field": "instanceId"},
    )
    left = fitting
    for strategy in strategies:
        kind, field = strategy["type"], strategy.get("field") or ""
        if kind == "random":
            return left[shuffle(len(left))]
        left = _packed(left, field) if kind == "binpack" else _spread(left, field, wish.group)
    return left[0]


def _packed(candidates: list[Candidate], field: str) -> list[Candidate]:
    """Those with the least left of CPU or memory."""

    def left(candidate: Candidate) -> int:
        remaining = candidate.standing.occupancy.remaining
        return remaining.cpu if field.lower() == "cpu" else remaining.memory

    least = min(left(candidate) for candidate in candidates)
    return [candidate for candidate in candidates if left(candidate) == least]


def _spread(candidates: list[Candidate], field: str, group: str) -> list[Candidate]:
    """Those in whose domain (zone, instance) the fewest tasks of the group are."""

    def domain(candidate: Candidate) -> str | None:
        if field in ("instanceId", "host"):
            return candidate.standing.instance.arn
        for attribute in candidate.standing.instance.attributes:
            if f"attribute:{attribute['name']}" == field:
                value: str | None = attribute.get("value")
                return value
        return None

    counts: dict[str | None, int] = {}
    for candidate in candidates:
        name = domain(candidate)
        counts[name] = counts.get(name, 0) + candidate.groups.count(group)
    fewest = min(counts.values())
    return [candidate for candidate in candidates if counts[domain(candidate)] == fewest]
