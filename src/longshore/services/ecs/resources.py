"""Resources of container instances: what is there, what a task takes, what is left. Pure.

Source: ECS API reference, ContainerInstance (registeredResources, remainingResources); developer guide, "Container
instance memory management" and "API failures messages".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from longshore.services.ecs.records import Amounts


def registered(total_resources: Sequence[Mapping[str, Any]]) -> Amounts:
    """Of `totalResources` as the agent sends them. What it does not name is not there."""
    by_name = {resource.get("name"): resource for resource in total_resources}

    def number(name: str) -> int:
        resource = by_name.get(name, {})
        value = resource.get("integerValue")
        if value is None:
            value = resource.get("longValue", resource.get("doubleValue", 0))
        return int(value)

    def strings(name: str) -> tuple[str, ...]:
        return tuple(by_name.get(name, {}).get("stringSetValue") or ())

    return Amounts(number("CPU"), number("MEMORY"), strings("PORTS"), strings("PORTS_UDP"), strings("GPU"))


def wire(amounts: Amounts) -> list[dict[str, Any]]:
    """As DescribeContainerInstances shows them: every number in three types, zeros where another type holds."""

    def number(name: str, value: int) -> dict[str, Any]:
        return {"name": name, "type": "INTEGER", "doubleValue": 0.0, "longValue": 0, "integerValue": value}

    def strings(name: str, values: tuple[str, ...]) -> dict[str, Any]:
        return {
            "name": name,
            "type": "STRINGSET",
            "doubleValue": 0.0,
            "longValue": 0,
            "integerValue": 0,
            "stringSetValue": list(values),
        }

    shown = [
        number("CPU", amounts.cpu),
        number("MEMORY", amounts.memory),
        strings("PORTS", amounts.ports),
        strings("PORTS_UDP", amounts.ports_udp),
    ]
    if amounts.gpus:
        shown.append(strings("GPU", amounts.gpus))
    return shown


class Need(Amounts, frozen=True):
    """What a task asks for, before devices are chosen."""

    gpu_count: int = 0


def need(
    definition: Mapping[str, Any], overrides: Mapping[str, Any], containers: list[dict[str, Any]] | None = None
) -> Need:
    """What a task of the definition takes, with the overrides of RunTask.

    A size of the task as a whole counts before the sum of its containers; a container's soft limit, where it has one,
    before its hard limit. `containers`: as they are to run, where they have been made already.
    """
    containers = effective_containers(definition, overrides) if containers is None else containers
    cpu = overrides.get("cpu") or definition.get("cpu")
    memory = overrides.get("memory") or definition.get("memory")
    tcp: list[str] = []
    udp: list[str] = []
    if definition.get("networkMode") not in ("awsvpc", "none"):
        for container in containers:
            for mapping in container.get("portMappings") or ():
                port = host_port(mapping, definition.get("networkMode"))
                if port:
                    (udp if mapping.get("protocol") == "udp" else tcp).append(str(port))
    return Need(
        cpu=cpu_units(cpu) if cpu else sum(container.get("cpu") or 0 for container in containers),
        memory=memory_mib(memory)
        if memory
        else sum(container.get("memoryReservation") or container.get("memory") or 0 for container in containers),
        ports=tuple(tcp),
        ports_udp=tuple(udp),
        gpu_count=sum(gpu_count(container) for container in containers),
    )


def host_port(mapping: Mapping[str, Any], network_mode: str | None) -> int:
    """The port of the instance that a mapping claims; 0: one is chosen when the container starts."""
    if network_mode == "host":
        return int(mapping.get("hostPort") or mapping.get("containerPort") or 0)
    return int(mapping.get("hostPort") or 0)


def gpu_count(container: Mapping[str, Any]) -> int:
    return sum(
        int(requirement["value"])
        for requirement in container.get("resourceRequirements") or ()
        if requirement["type"] == "GPU"
    )


def cpu_units(text: str) -> int:
    """`256`, `.25 vCPU`, `1 vcpu` -> CPU units. ValueError: neither."""
    text = text.strip().lower()
    if text.endswith("vcpu"):
        return round(float(text[:-4].strip()) * 1024)
    return int(text)


def memory_mib(text: str) -> int:
    """`512`, `1 GB`, `.5GB` -> MiB. ValueError: neither."""
    text = text.strip().lower()
    if text.endswith("gb"):
        return round(float(text[:-2].strip()) * 1024)
    return int(text)


def effective_containers(definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The containers as they are to run: RunTask's overrides over the definition, environment merged by name."""
    by_name = {override.get("name"): override for override in overrides.get("containerOverrides") or ()}
    return [_overridden(container, by_name.get(container["name"])) for container in definition["containerDefinitions"]]


def _overridden(container: dict[str, Any], override: Mapping[str, Any] | None) -> dict[str, Any]:
    if not override:
        return container
    changed = dict(container)
    for member in ("command", "cpu", "memory", "memoryReservation"):
        if override.get(member) is not None:
            changed[member] = override[member]
    if override.get("environment"):
        environment = {pair["name"]: pair for pair in container.get("environment") or ()}
        environment.update({pair["name"]: pair for pair in override["environment"]})
        changed["environment"] = list(environment.values())
    if override.get("environmentFiles"):
        changed["environmentFiles"] = [*(container.get("environmentFiles") or ()), *override["environmentFiles"]]
    if override.get("resourceRequirements"):
        requirements = {each["type"]: each for each in container.get("resourceRequirements") or ()}
        requirements.update({each["type"]: each for each in override["resourceRequirements"]})
        changed["resourceRequirements"] = list(requirements.values())
    return changed


def lacking(remaining: Amounts, wanted: Need) -> tuple[str, str] | None:
    """Reason and detail by which RunTask and StartTask say what is short; None: it fits."""
    if wanted.cpu > remaining.cpu:
        return "RESOURCE:CPU", f"Insufficient CPU available ({wanted.cpu} requested, {remaining.cpu} available)."
    if wanted.memory > remaining.memory:
        return (
            "RESOURCE:MEMORY",
            f"Insufficient memory available ({wanted.memory} requested, {remaining.memory} available).",
        )
    if wanted.gpu_count > len(remaining.gpus):
        return (
            "RESOURCE:GPU",
            f"Insufficient GPU available ({wanted.gpu_count} requested, {len(remaining.gpus)} available).",
        )
    taken = [port for port in wanted.ports if port in remaining.ports]
    taken += [port for port in wanted.ports_udp if port in remaining.ports_udp]
    if taken or len(set(wanted.ports)) < len(wanted.ports) or len(set(wanted.ports_udp)) < len(wanted.ports_udp):
        return "RESOURCE:PORTS", f"Ports not available ({', '.join(taken or wanted.ports)} requested)."
    return None


def chosen(remaining: Amounts, wanted: Need) -> Amounts:
    """What the task takes of an instance on which it fits."""
    return Amounts(wanted.cpu, wanted.memory, wanted.ports, wanted.ports_udp, remaining.gpus[: wanted.gpu_count])


def less(remaining: Amounts, takes: Amounts) -> Amounts:
    return Amounts(
        remaining.cpu - takes.cpu,
        remaining.memory - takes.memory,
        remaining.ports + takes.ports,  # In ECS the ports that "remain" are those in use.
        remaining.ports_udp + takes.ports_udp,
        tuple(gpu for gpu in remaining.gpus if gpu not in takes.gpus),
    )


def more(remaining: Amounts, takes: Amounts) -> Amounts:
    return Amounts(
        remaining.cpu + takes.cpu,
        remaining.memory + takes.memory,
        tuple(port for port in remaining.ports if port not in takes.ports),
        tuple(port for port in remaining.ports_udp if port not in takes.ports_udp),
        remaining.gpus + takes.gpus,
    )


def reregistered(before: Amounts, remaining: Amounts, after: Amounts) -> Amounts:
    """What remains when an instance registers again with other totals while tasks are on it."""
    ports = [port for port in remaining.ports if port not in before.ports]
    udp = [port for port in remaining.ports_udp if port not in before.ports_udp]
    used = [gpu for gpu in before.gpus if gpu not in remaining.gpus]
    return Amounts(
        after.cpu - (before.cpu - remaining.cpu),
        after.memory - (before.memory - remaining.memory),
        (*after.ports, *(port for port in ports if port not in after.ports)),
        (*after.ports_udp, *(port for port in udp if port not in after.ports_udp)),
        tuple(gpu for gpu in after.gpus if gpu not in used),
    )
