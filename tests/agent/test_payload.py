"""What a payload means for the instance."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from agent.scripted_server import CONFIG, container, session, task
from longshore.agent.payload import (
    BadTask,
    NotOffered,
    container_id,
    container_spec,
    machine_task,
    need,
    read_task,
    without_secrets,
)
from longshore.agent.runtimes.base import ContainerSpec, Device, Mount, Tmpfs, Ulimit


def spec(raw: dict[str, Any], **config: Any) -> ContainerSpec:
    read = read_task(raw)
    assert read.containers is not None
    return container_spec(read, read.containers[0], replace(CONFIG, **config), endpoint_id="e")


def configured(own: dict[str, Any] | None = None, host: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A task of one container with these parts of Docker's configuration."""
    return task(
        "t1",
        container(
            dockerConfig={
                "version": "1.18",
                "config": json.dumps(own or {}),
                "hostConfig": json.dumps({"NetworkMode": "host", **(host or {})}),
            },
            **more,
        ),
    )


def test_docker_s_spellings_are_read() -> None:
    made = spec(
        configured(
            {"User": "1000:1000", "WorkingDir": "/work", "Hostname": "h", "Labels": {"a": "b"}},
            {
                "MemoryReservation": 32 * 1024 * 1024, "MemorySwap": 128 * 1024 * 1024, "Privileged": True,
                "ReadonlyRootfs": True, "Init": True, "CapAdd": ["NET_ADMIN"], "CapDrop": ["ALL"],
                "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}], "ShmSize": 128 * 1024 * 1024,
                "Tmpfs": {"/scratch": "rw,noexec,size=32m"}, "Sysctls": {"net.core.somaxconn": "1"},
                "Devices": [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/f", "CgroupPermissions": "rw"}],
                "ExtraHosts": ["db:10.0.0.1"], "Dns": ["10.0.0.2"], "DnsSearch": ["local"],
            },
        )
    )  # fmt: skip
    assert (made.user, made.working_directory, made.hostname) == ("1000:1000", "/work", "h")
    assert (made.memory_mib, made.memory_reservation_mib, made.memory_swap_mib, made.shm_mib) == (64, 32, 128, 128)
    assert made.is_privileged and made.is_root_read_only and made.has_init
    assert (made.capabilities_added, made.capabilities_dropped) == (("NET_ADMIN",), ("ALL",))
    assert made.ulimits == (Ulimit(name="nofile", soft=10, hard=20),)
    assert made.tmpfs == (Tmpfs(destination="/scratch", size_mib=32, options=("rw", "noexec")),)
    assert made.devices == (Device(source="/dev/fuse", destination="/dev/f", permissions="rw"),)
    assert (made.sysctls, made.extra_hosts) == ({"net.core.somaxconn": "1"}, (("db", "10.0.0.1"),))
    assert (made.dns_servers, made.dns_search) == (("10.0.0.2",), ("local",))
    assert made.labels["a"] == "b"
    assert made.labels["com.amazonaws.ecs.task-definition-family"] == "fam"


def test_what_is_not_said_is_the_image_s_own() -> None:
    made = spec(task("t1", container(command=None, entryPoint=[], memory=0, cpu=0)))
    assert (made.command, made.entry_point, made.user, made.working_directory) == (None, None, None, None)
    assert (made.memory_mib, made.cpu_shares) == (None, 0)
    assert not made.is_logged


def test_the_container_finds_its_role_its_metadata_and_the_services_of_the_house() -> None:
    raw = task("t1", container(environment={"A": "b", "AWS_REGION": "eu-west-1"}), roleCredentials=session("c1"))
    said = spec(raw).environment
    assert said["A"] == "b"
    assert said["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] == "/v2/credentials/c1"
    assert said["ECS_CONTAINER_METADATA_URI_V4"] == "http://169.254.170.2/v4/e"
    assert said["ECS_AGENT_URI"] == "http://169.254.170.2/api/e"
    assert (said["AWS_REGION"], said["AWS_DEFAULT_REGION"]) == ("eu-west-1", "us-east-1")
    assert said["AWS_ENDPOINT_URL_BATCH"] == CONFIG.endpoint
    assert "AWS_ENDPOINT_URL_S3" not in said
    assert "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" not in spec(task()).environment
    assert "AWS_ENDPOINT_URL_BATCH" not in spec(task(), gives_endpoints=False).environment
    own = task("t1", container(environment={"AWS_ENDPOINT_URL": "http://other"}))
    assert "AWS_ENDPOINT_URL_BATCH" not in spec(own).environment


def test_volumes_become_mounts() -> None:
    raw = task(
        "t1",
        container(
            mountPoints=[
                {"sourceVolume": "host", "containerPath": "/data", "readOnly": True},
                {"sourceVolume": "fresh", "containerPath": "/fresh"},
            ],
            volumesFrom=[{"sourceContainer": "side", "readOnly": True}],
        ),
        container("side", mountPoints=[{"sourceVolume": "fresh", "containerPath": "/side"}]),
        volumes=[
            {"name": "host", "type": "host", "host": {"sourcePath": "/srv"}},
            {"name": "fresh", "type": "host", "host": {}},
        ],
    )
    assert set(spec(raw).mounts) == {
        Mount(destination="/data", source="/srv", volume="host", is_read_only=True),
        Mount(destination="/fresh", volume="fresh"),
        Mount(destination="/side", volume="fresh", is_read_only=True),
    }


def test_the_only_override_is_the_command() -> None:
    assert spec(task("t1", container(overrides='{"command":["x"]}'))).command == ("x",)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (task("t1", container(overrides='{"cpu":1}')), "unsupported overrides: cpu"),
        (task("t1", container(overrides="nonsense")), "malformed"),
        (task("t1", container(image=None)), "Expected `str`"),
        (task("t1", container(), container()), "two containers of one name"),
        ({**task(), "containers": []}, "no containers"),
        (task("t1", container(dependsOn=[{"containerName": "main", "condition": "START"}])), "circle"),
        (task("t1", container(dependsOn=[{"containerName": "no", "condition": "START"}])), "not in the task"),
        (task("t1", container(dependsOn=[{"containerName": "main", "condition": "HEALTHY"}])), "HEALTHY"),
        (task("t1", container(mountPoints=[{"sourceVolume": "no", "containerPath": "/x"}])), "invalid volume"),
        (task("t1", container(volumesFrom=[{"sourceContainer": "no"}])), "could not find container"),
        (task("t1", networkMode="awsvpc"), "awsvpc"),
        (task("t1", executionRoleCredentials=session("e1", ends="soon")), "credentials of"),
        (configured(host={"Ulimits": [{"Name": "nofile"}]}), "missing required field"),
    ],
)
def test_what_can_not_be_understood_is_a_bad_task(raw: dict[str, Any], text: str) -> None:
    with pytest.raises(BadTask, match=text):
        read_task(raw)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (configured(host={"LogConfig": {"Type": "splunk", "Config": {}}}), "no log driver named 'splunk'"),
        (configured(host={"LogConfig": {"Type": "awslogs", "Config": {}}}), "awslogs-group"),
        (
            configured(host={"LogConfig": {"Type": "awslogs", "Config": {"awslogs-group": "g", "tail": "1"}}}),
            "unknown log opt 'tail'",
        ),
        (
            configured(
                host={"LogConfig": {"Type": "awslogs", "Config": {"awslogs-group": "g", "awslogs-region": "x"}}}
            ),
            "us-east-1 alone",
        ),
        (configured(host={"SecurityOpt": ["no-new-privileges"]}), "security options"),
        (task("t1", container(secrets=[{"name": "x", "valueFrom": "y"}])), "ResourceInitializationError"),
        (task("t1", container(links=["other"])), "links"),
        (task("t1", container(portMappings=[{"containerPort": 80}]), networkMode="bridge"), "port mappings"),
        (task("t1", container(environmentFiles=[{"value": "x"}])), "environment files"),
        (task("t1", pidMode="host"), "PID namespace"),
    ],
)
def test_what_would_change_how_it_runs_is_refused_and_never_passed_over(raw: dict[str, Any], text: str) -> None:
    with pytest.raises(NotOffered, match=text):
        spec(raw)


def test_privileged_containers_are_refused_where_the_operator_does_not_allow_them() -> None:
    with pytest.raises(NotOffered, match="not allowed on this instance"):
        spec(configured(host={"Privileged": True}), is_privileged_allowed=False)


@pytest.mark.parametrize(
    ("raw", "cpu", "memory_mib"),
    [
        (task("t1", container(cpu=100, memory=50), container("b", cpu=28, memory=14)), 128, 64),
        (task("t1", cpu=0.5, memory=1000), 512, 1000),
        (configured(host={"MemoryReservation": 16 * 1024 * 1024}), 128, 16),
    ],
)
def test_what_a_task_needs(raw: dict[str, Any], cpu: int, memory_mib: int) -> None:
    found = need(read_task(raw))
    assert (found.cpu, found.memory_mib) == (cpu, memory_mib)


def test_a_container_s_id_names_its_place_and_fits_a_file_s_name() -> None:
    read = read_task(task("t" * 32, container("n" * 255)))
    assert read.containers is not None
    made = container_id(read, read.containers[0])
    assert made.startswith("t" * 32 + "-0-nnn")
    assert len(made) < 128


def test_the_grace_of_a_stop_is_the_container_s_or_the_instance_s() -> None:
    read = read_task(task("t1", container("a", stopTimeout=5), container("b")))
    assert [each.stop_timeout_seconds for each in machine_task(read, CONFIG).containers] == [5, 30]


def test_sessions_are_taken_out_before_a_payload_is_kept() -> None:
    kept = without_secrets(task("t1", roleCredentials=session("c1"), executionRoleCredentials=None))
    assert kept["roleCredentials"] == {"credentialsId": "c1", "roleArn": "arn:aws:iam::123456789012:role/job"}
    assert read_task(kept).role_credentials is not None
