from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.services.batch.merge import MissingParameter, merge, needs, substitute, template

DEFINED: dict[str, Any] = {
    "image": "i",
    "command": ["run", "Ref::x"],
    "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
    "resourceRequirements": [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "64"}],
}
OLD: dict[str, Any] = {"image": "i", "vcpus": 1, "memory": 32}


def requirement(kind: str, value: str) -> dict[str, str]:
    return {"type": kind, "value": value}


@pytest.mark.parametrize(
    ("command", "parameters", "made"),
    [
        (["Ref::a"], {"a": "1"}, ["1"]),
        (["--x=Ref::a"], {"a": "1"}, ["--x=1"]),
        (["Ref::a/Ref::b"], {"a": "1", "b": "2"}, ["1/2"]),
        (["Ref::a", "plain"], {"a": "Ref::b"}, ["Ref::b", "plain"]),  # What was put in is not looked at again.
        (["Ref:a", "$Ref", "Ref::"], {}, ["Ref:a", "$Ref", "Ref::"]),
        (["Ref::a-b_c.d"], {"a-b_c": "1"}, ["1.d"]),
        ([], {"a": "1"}, []),
    ],
)
def test_references_in_a_command(command: list[str], parameters: dict[str, str], made: list[str]) -> None:
    assert substitute(command, parameters) == made


def test_a_reference_without_a_value_is_named() -> None:
    with pytest.raises(MissingParameter) as caught:
        substitute(["Ref::a", "Ref::lost"], {"a": "1"})
    assert caught.value.name == "lost"


def test_a_submission_that_overrides_nothing_is_the_definition() -> None:
    made = merge(template({**DEFINED, "command": ["run"]}), {}, {})
    assert made.override == {}
    assert made.container["command"] == ["run"]
    assert made.container["ulimits"] == made.container["networkInterfaces"] == []
    assert (made.needs.cpu, made.needs.memory_mib, made.needs.gpus) == (2048, 64, 0)


def test_the_override_says_only_what_the_task_definition_does_not() -> None:
    made = merge(template(DEFINED), {}, {"x": "1"})
    assert made.override == {"command": ["run", "1"]}
    made = merge(template(DEFINED), {"command": ["run", "Ref::x"]}, {"x": "1"})
    assert made.override == {"command": ["run", "1"]}
    made = merge(
        template(DEFINED), {"environment": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]}, {"x": "1"}
    )
    assert [(each["name"], each["value"]) for each in made.container["environment"]] == [
        ("A", "1"),
        ("B", "3"),
        ("C", "4"),
    ]
    assert made.override["environment"] == [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]


RESOURCES: list[tuple[dict[str, Any], dict[str, Any], tuple[int, int, int], dict[str, Any]]] = [
    (DEFINED, {"vcpus": 4, "memory": 128}, (2048, 64, 0), {}),  # A deprecated form does not override the present one.
    (DEFINED, {"resourceRequirements": [requirement("VCPU", "4")]}, (4096, 64, 0), {"cpu": 4096}),
    (DEFINED, {"resourceRequirements": [requirement("MEMORY", "65")]}, (2048, 65, 0), {"memory": 65}),
    (
        DEFINED,
        {"resourceRequirements": [requirement("GPU", "1")]},
        (2048, 64, 1),
        {"resourceRequirements": [requirement("GPU", "1")]},
    ),
    (OLD, {"vcpus": 4, "memory": 128}, (4096, 128, 0), {"cpu": 4096, "memory": 128}),
    (OLD, {"resourceRequirements": [requirement("MEMORY", "64")]}, (1024, 64, 0), {"memory": 64}),
]


@pytest.mark.parametrize(("defined", "overrides", "wanted", "override"), RESOURCES)
def test_amounts(
    defined: dict[str, Any], overrides: dict[str, Any], wanted: tuple[int, int, int], override: dict[str, Any]
) -> None:
    made = merge(template({**defined, "command": []}), overrides, {})
    assert (made.needs.cpu, made.needs.memory_mib, made.needs.gpus) == wanted
    assert made.override == override
    assert needs(made.container) == made.needs


NAMES = st.text("ABC", min_size=1, max_size=2)
VARIABLES = st.lists(st.fixed_dictionaries({"name": NAMES, "value": st.text("xyz", max_size=3)}), max_size=4)
OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "command": st.lists(st.sampled_from(["a", "Ref::x", "--y=Ref::x"]), max_size=3),
        "environment": VARIABLES,
        "vcpus": st.integers(1, 4),
        "memory": st.integers(4, 100),
        "resourceRequirements": st.lists(
            st.builds(requirement, st.sampled_from(["VCPU", "MEMORY", "GPU"]), st.integers(4, 9).map(str)),
            unique_by=lambda each: each["type"],
            max_size=3,
        ),
    },
)


@given(st.sampled_from([DEFINED, OLD]), OVERRIDES)
def test_whatever_is_overridden_the_definition_stays_and_the_task_gets_what_is_shown(
    defined: dict[str, Any], overrides: dict[str, Any]
) -> None:
    """ECS lays the override over the task definition; what comes of it must be what DescribeJobs shows."""
    ready = template(defined)
    before = copy.deepcopy((ready.container, defined, overrides))
    made = merge(ready, overrides, {"x": "1"})
    assert (ready.container, defined, overrides) == before
    assert made.override.get("command", ready.container["command"]) == made.container["command"]
    task = {each["name"]: each["value"] for each in ready.container["environment"]}
    task |= {each["name"]: each["value"] for each in made.override.get("environment", [])}
    assert task == {each["name"]: each["value"] for each in made.container["environment"]}
    assert made.override.get("cpu", ready.needs.cpu) == made.needs.cpu
    assert made.override.get("memory", ready.needs.memory_mib) == made.needs.memory_mib
    kinds = [each["type"] for each in made.container["resourceRequirements"]]
    assert len(kinds) == len(set(kinds))
    assert not ({"vcpus"} & set(made.container) and "VCPU" in kinds)
