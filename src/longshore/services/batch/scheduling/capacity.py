"""Which instance type is launched for a job. Pure.

Sources: API reference, ComputeResource, allocationStrategy, instanceTypes, maxvCpus; user guide, "Allocation strategies".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from longshore.services.batch.scheduling.snapshot import EnvironmentView, Head, InstanceType, InstanceView

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
    if not environment.managed:
        return any(_holds(one, head) for one in environment.instances)
    return any(_holds(one, head) and _is_allowed(environment, one) for one in environment.types)


def _is_allowed(environment: EnvironmentView, one: InstanceType) -> bool:
    """Whether maxvCpus ever lets the type be launched."""
    return one.vcpus <= environment.vcpus_max or (environment.may_exceed and environment.vcpus_max > 0)


def launchable(environment: EnvironmentView, types: Sequence[InstanceType], now: int) -> Sequence[InstanceType]:
    """Those that no trouble keeps from being launched now. Where one type found no room, none that is as large does.

    At AWS each type has a pool of its own; here all come out of the same machines.
    """
    troubles = [trouble for trouble in environment.troubles if trouble.until > now]
    if not troubles:
        return types
    if any(trouble.instance_type is None for trouble in troubles):
        return []
    names = {trouble.instance_type for trouble in troubles}
    lacking = [one for one in environment.types if one.name in names]
    return [
        one for one in types if not any(each.cpu <= one.cpu and each.memory_mib <= one.memory_mib for each in lacking)
    ]


def choose(
    environment: EnvironmentView, head: Head, *, demand_cpu: int, vcpus_left: int, now: int
) -> InstanceType | None:
    """The type to launch for the job at the head of a demand; None: nothing may be launched now.

    The largest that the demand fills, so that a crowd of small jobs shares few instances; else the smallest that holds
    the job. Ordered strategies take the first that holds it. `vcpus_left` is what maxvCpus leaves.
    """
    available = launchable(environment, _fitting(environment, head, vcpus_left), now)
    if not available or environment.ordered:
        return available[0] if available else None
    filled = [one for one in available if one.cpu <= demand_cpu]
    if filled:
        return max(filled, key=lambda one: (one.cpu, -one.memory_mib))
    return min(available, key=_size)


def _fitting(environment: EnvironmentView, head: Head, vcpus_left: int) -> list[InstanceType]:
    """Types that hold the job and that maxvCpus leaves room for.

    API reference, ComputeResource, maxvCpus: every strategy but BEST_FIT may exceed it, by one instance at most.
    """
    holding = [one for one in environment.types if _holds(one, head)]
    within = [one for one in holding if one.vcpus <= vcpus_left]
    if within or not holding or not environment.may_exceed or vcpus_left <= 0:
        return within
    least = min(one.vcpus for one in holding)
    return [one for one in holding if one.vcpus == least]


def lacks(environment: EnvironmentView, head: Head, *, vcpus_left: int, now: int) -> bool:
    """Whether nothing but a shortage keeps an instance for the job from being launched."""
    fitting = _fitting(environment, head, vcpus_left)
    return bool(fitting) and not launchable(environment, fitting, now)


def _size(one: InstanceType) -> tuple[int, int]:
    return one.cpu, one.memory_mib


def _holds(one: InstanceType | InstanceView, head: Head) -> bool:
    """No type here has a GPU."""
    return head.cpu <= one.cpu and head.memory_mib <= one.memory_mib and not head.gpus
