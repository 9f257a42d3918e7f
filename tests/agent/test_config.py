from __future__ import annotations

import pytest

from longshore.agent.config import AgentConfig

GIVEN = {
    "LONGSHORE_ENDPOINT": "http://10.0.0.1:4570/",
    "LONGSHORE_INSTANCE_VCPUS": "2",
    "LONGSHORE_INSTANCE_MEMORY_MIB": "4096",
}


def test_settings_are_read_as_the_developer_guide_names_them() -> None:
    config = AgentConfig.from_environment(
        GIVEN,
        "# a comment\nECS_CLUSTER=demo\nECS_RESERVED_MEMORY=32\nECS_RESERVED_PORTS=[22]\n"
        'ECS_INSTANCE_ATTRIBUTES={"stack":"test"}\nECS_CONTAINER_STOP_TIMEOUT=1m30s\n'
        'ECS_CONTAINER_INSTANCE_TAGS={"team":"batch"}\n',
    )
    assert config.endpoint == "http://10.0.0.1:4570"
    assert (config.cluster, config.reserved_memory_mib, config.reserved_ports) == ("demo", 32, (22,))
    assert (config.instance_attributes, config.instance_tags) == ((("stack", "test"),), (("team", "batch"),))
    assert config.stop_timeout_seconds == 90


def test_the_environment_wins_over_the_file() -> None:
    assert AgentConfig.from_environment({**GIVEN, "ECS_CLUSTER": "a"}, "ECS_CLUSTER=b").cluster == "a"


@pytest.mark.parametrize("missing", GIVEN)
def test_what_it_can_not_do_without_is_named(missing: str) -> None:
    with pytest.raises(KeyError, match=missing):
        AgentConfig.from_environment({name: value for name, value in GIVEN.items() if name != missing})


@pytest.mark.parametrize("text", ["ECS_RESERVED_PORTS=many", "ECS_INSTANCE_ATTRIBUTES=[1]", "ECS_RESERVED_MEMORY=x"])
def test_what_can_not_be_read_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        AgentConfig.from_environment(GIVEN, text)
