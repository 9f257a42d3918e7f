"""From a job definition and what a submission overrides to the container of the job. Pure.

Sources: API reference, SubmitJob, ContainerOverrides, ContainerProperties; user guide, "Job definition parameters".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from longshore.services.batch.records import Wire

_REFERENCE = re.compile(r"Ref::([A-Za-z0-9_-]+)")
_EMPTY_LISTS = (
    "volumes",
    "environment",
    "mountPoints",
    "ulimits",
    "networkInterfaces",
    "resourceRequirements",
    "secrets",
)


class MissingParameter(Exception):
    """A command refers to a parameter that has no value."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Needs(Struct, frozen=True):
    """What a job takes of an instance."""

    cpu: int  # CPU units, 1024 a vCPU
    memory_mib: int
    gpus: int = 0


class Template(Struct, frozen=True):
    """A definition's container, made ready once for all that are submitted with it. Never changed."""

    container: Wire  # of a job that overrides nothing; its command not substituted
    needs: Needs
    refers: bool  # whether its command has a `Ref::`


class Merged(Struct, frozen=True):
    container: Wire  # as DescribeJobs shows it
    override: Wire  # the same, as containerOverrides of a task made from the definition
    needs: Needs


def template(properties: Wire) -> Template:
    container = {key: value for key, value in properties.items() if value is not None}
    container.setdefault("command", [])
    for name in _EMPTY_LISTS:
        container.setdefault(name, [])
    refers = any("Ref::" in part for part in container["command"])
    return Template(container, needs(properties), refers)


def merge(ready: Template, overrides: Wire, parameters: Mapping[str, str]) -> Merged:
    """The container of a job. MissingParameter: a `Ref::name` of its command has no value."""
    if not overrides and not ready.refers:
        return Merged(ready.container, {}, ready.needs)
    container = dict(ready.container)
    override: Wire = {}
    command = substitute(overrides.get("command") or container["command"], parameters)
    if command != container["command"]:
        override["command"] = command
    container["command"] = command
    if overrides.get("environment"):
        container["environment"] = merge_environment(container["environment"], overrides["environment"])
        override["environment"] = list(overrides["environment"])
    _merge_resources(container, overrides)
    before, after = ready.needs, needs(container)
    if after.cpu != before.cpu:
        override["cpu"] = after.cpu
    if after.memory_mib != before.memory_mib:
        override["memory"] = after.memory_mib
    if after.gpus != before.gpus:
        override["resourceRequirements"] = [{"type": "GPU", "value": str(after.gpus)}]
    return Merged(container, override, after)


def substitute(command: Sequence[str], parameters: Mapping[str, str]) -> list[str]:
    """The command with each `Ref::name` replaced, also within an element."""

    def value(match: re.Match[str]) -> str:
        try:
            return parameters[match[1]]
        except KeyError:
            raise MissingParameter(match[1]) from None

    return [_REFERENCE.sub(value, part) if "Ref::" in part else part for part in command]


def merge_environment(defined: Sequence[Wire], overriding: Sequence[Wire]) -> list[Wire]:
    """The definition's variables, those of the submission in their place or behind them."""
    merged = {variable.get("name", ""): variable for variable in (*defined, *overriding)}
    return list(merged.values())


def _merge_resources(container: Wire, overrides: Wire) -> None:
    defined = {entry["type"]: entry for entry in container.get("resourceRequirements", [])}
    # API reference, ContainerOverrides, memory, vcpus: they do not override what the definition's
    # resourceRequirements say.
    for member, kind in (("vcpus", "VCPU"), ("memory", "MEMORY")):
        if overrides.get(member) is not None and kind not in defined:
            container[member] = overrides[member]
    for entry in overrides.get("resourceRequirements") or []:
        defined[entry["type"]] = entry
        container.pop({"VCPU": "vcpus", "MEMORY": "memory"}.get(entry["type"], ""), None)
    if defined:
        container["resourceRequirements"] = list(defined.values())


def needs(container: Mapping[str, Any]) -> Needs:
    """What the container takes; nothing said counts as nothing."""
    amounts = {entry["type"]: entry["value"] for entry in container.get("resourceRequirements") or []}
    vcpus = float(amounts.get("VCPU") or container.get("vcpus") or 0)
    memory = int(amounts.get("MEMORY") or container.get("memory") or 0)
    return Needs(round(vcpus * 1024), memory, int(amounts.get("GPU") or 0))
