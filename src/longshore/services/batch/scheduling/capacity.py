"""Which instance type is launched for a job. Pure.

Sources: API reference, ComputeResource, allocationStrategy, instanceTypes, maxvCpus; user guide, "Allocation strategies".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from longshore.services.batch.scheduling.snapshot import EnvironmentView, Head, InstanceType

RESERVED_MIB = 32  # User guide, "Compute resource memory management": the ECS agent of Batch's images keeps 32 MiB.

_BUNDLES = {
    # Batch user guide and API reference of 2025: `optimal` and `default_x86_64` are these families.
    "optimal": ("m6i", "c6i", "r6i", "c7i"),
    "default_x86_64": ("m6i", "c6i", "r6i", "c7i"),
    "default_arm64": ("m6g", "c6g", "r6g", "c7g"),
}


def expand(wanted: Sequence[str], offered: Iterable[InstanceType]) -> tuple[InstanceType, ...]:
    """The types that `instanceTypes` of a compute environment stands for, in its order, without doubles.

    A family stands for its sizes, metal left out; a bundle for its families.
    """
    catalogue = list(offered)
    chosen: dict[str, InstanceType] = {}
    for entry in wanted:
        families = _BUNDLES.get(entry, (entry,))
        for one in catalogue:
            family, _, size = one.name.partition(".")
            if one.name == entry or (family in families and not size.startswith("metal")):
                chosen.setdefault(one.name, one)
    return tuple(chosen.values())


def unknown(wanted: Sequence[str], offered: Iterable[str]) -> list[str]:
    """Entries that name no type, family or bundle that is offered."""
    names = set(offered)
    families = {name.partition(".")[0] for name in names}
    return [entry for entry in wanted if entry not in names | families and entry not in _BUNDLES]


def can_ever_hold(environment: EnvironmentView, head: Head) -> bool:
    """Whether any instance that the environment may have is large enough."""
    if head.gpus:
        return False
    if not environment.managed:
        return any(head.cpu <= one.cpu and head.memory_mib <= one.memory_mib for one in environment.instances)
    return any(_holds(one, head) and one.vcpus <= environment.vcpus_max for one in environment.types)


def in_shortage(environment: EnvironmentView, instance_type: str, now: int) -> bool:
    return any(
        trouble.until > now and trouble.instance_type in (None, instance_type) for trouble in environment.troubles
    )


def choose(
    environment: EnvironmentView, head: Head, *, demand_cpu: int, vcpus_left: int, now: int
) -> InstanceType | None:
    """The type to launch for the job at the head of a demand; None: nothing may be launched now.

    The largest that the demand fills, so that a crowd of small jobs shares few instances; else the smallest that holds
    the job. Ordered strategies take the first that holds it. `vcpus_left` is what maxvCpus leaves.
    """
    candidates = [
        one
        for one in environment.types
        if _holds(one, head) and one.vcpus <= vcpus_left and not in_shortage(environment, one.name, now)
    ]
    if not candidates or environment.ordered:
        return candidates[0] if candidates else None
    filled = [one for one in candidates if one.cpu <= demand_cpu]
    if filled:
        return max(filled, key=lambda one: (one.cpu, -one.memory_mib))
    return min(candidates, key=lambda one: (one.cpu, one.memory_mib))


def smallest(environment: EnvironmentView, *, vcpus_left: int, now: int) -> InstanceType | None:
    """The type that keeps `minvCpus` up."""
    return choose(environment, Head(0, 0, 0), demand_cpu=1024 * vcpus_left, vcpus_left=vcpus_left, now=now)


def _holds(one: InstanceType, head: Head) -> bool:
    return head.cpu <= one.cpu and head.memory_mib <= one.memory_mib
