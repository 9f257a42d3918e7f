"""What the agent is sent, in the shapes that were captured."""

import json
from datetime import UTC, datetime

import pytest

from longshore.services.ecs import acs
from longshore.services.ecs.records import Amounts, Container, Task

NOW = datetime(2026, 11, 23, 17, 48, 25, tzinfo=UTC)
ENDPOINT = "http://127.0.0.1:4570"


def task(*containers: Container) -> Task:
    return Task(
        id="a" * 32, arn="arn:task", cluster="demo", cluster_arn="arn:cluster", task_definition_arn="arn:d", family="fam",
        revision=7, container_instance_id="i", container_instance_arn="arn:i", ec2_instance_id="i-1",
        availability_zone="us-east-1a", containers=containers or (container_record(),), takes=Amounts(), created_at=NOW,
        group="family:fam", cpu=128, memory=64,
    )  # fmt: skip


def container_record(name: str = "main", gpus: tuple[str, ...] = ()) -> Container:
    return Container(name=name, arn="arn:container", image="busybox", essential=True, cpu=1, gpu_ids=gpus)


def sent(container: dict, **body):  # type: ignore[no-untyped-def, type-arg]
    definition = {"containerDefinitions": [{"name": "main", "image": "busybox", "memory": 64, **container}], **body}
    message = acs.payload_task(task(), definition, account="1", region="us-east-1", endpoint=ENDPOINT)
    (shown,) = message["containers"]
    docker = shown["dockerConfig"]
    return message, shown, json.loads(docker["config"]), json.loads(docker["hostConfig"])


def test_the_task_itself() -> None:
    message, _, _, _ = sent({}, volumes=[{"name": "v", "host": {"sourcePath": "/dir"}}, {"name": "empty"}])
    assert {key: message[key] for key in ("cpu", "memory", "version", "overrides", "networkMode", "launchType")} == {
        "cpu": 0.125, "memory": 64, "version": "7", "overrides": "{}", "networkMode": "bridge", "launchType": "EC2",
    }  # fmt: skip
    assert message["volumes"] == [
        {"name": "v", "type": "host", "host": {"sourcePath": "/dir"}},
        {"name": "empty", "type": "host", "host": {}},
    ]
    assert "roleCredentials" not in message


CASES = [
    ({"user": "1000:1000"}, "config", {"User": "1000:1000"}),
    ({"workingDirectory": "/w", "hostname": "h"}, "config", {"WorkingDir": "/w", "Hostname": "h"}),
    ({"dockerLabels": {"a": "b"}}, "config", {"Labels": {"a": "b"}}),
    (
        {"healthCheck": {"command": ["CMD", "true"], "interval": 10}},
        "config",
        {
            "Healthcheck": {
                "Test": ["CMD", "true"], "Interval": 10**10, "Timeout": 5 * 10**9, "Retries": 3, "StartPeriod": 0,
            }
        },
    ),
    ({"privileged": True, "readonlyRootFilesystem": True}, "host", {"Privileged": True, "ReadonlyRootfs": True}),
    (
        {"ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": 2}]},
        "host",
        {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}]},
    ),
    ({"memoryReservation": 32}, "host", {"MemoryReservation": 32 * 1024 * 1024}),
    ({"extraHosts": [{"hostname": "db", "ipAddress": "10.0.0.1"}]}, "host", {"ExtraHosts": ["db:10.0.0.1"]}),
    ({"systemControls": [{"namespace": "net.core.somaxconn", "value": "9"}]}, "host", {"Sysctls": {"net.core.somaxconn": "9"}}),
    (
        {
            "linuxParameters": {
                "capabilities": {"add": ["SYS_PTRACE"], "drop": ["MKNOD"]}, "initProcessEnabled": True,
                "sharedMemorySize": 64, "tmpfs": [{"containerPath": "/t", "size": 16, "mountOptions": ["noexec"]}],
                "devices": [{"hostPath": "/dev/fuse", "permissions": ["read", "write"]}], "maxSwap": 64, "swappiness": 10,
            }
        },
        "host",
        {
            "CapAdd": ["SYS_PTRACE"], "CapDrop": ["MKNOD"], "Init": True, "ShmSize": 64 * 1024 * 1024,
            "Tmpfs": {"/t": "noexec,size=16m"}, "MemorySwap": 128 * 1024 * 1024, "MemorySwappiness": 10,
            "Devices": [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rw"}],
        },
    ),
    (
        {"logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g", "awslogs-stream-prefix": "jd"}}},
        "host",
        {
            "LogConfig": {
                "Type": "awslogs",
                "Config": {
                    "awslogs-group": "g", "awslogs-stream": f"jd/main/{'a' * 32}", "awslogs-region": "us-east-1",
                    "awslogs-endpoint": ENDPOINT,
                },
            }
        },
    ),
    (
        {"logConfiguration": {"logDriver": "json-file", "options": {"max-size": "1m"}}},
        "host",
        {"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("container", "where", "expected"), CASES)
def test_what_docker_is_told_in_its_own_spelling(container, where, expected) -> None:  # type: ignore[no-untyped-def]
    _, _, config, host = sent(container)
    if where == "host":
        assert host == {"NetworkMode": "bridge", **expected}
    else:
        assert config == expected


def test_environment_is_a_map_and_ports_bear_their_protocol() -> None:
    _, shown, _, _ = sent(
        {"environment": [{"name": "FOO", "value": "bar"}], "portMappings": [{"containerPort": 80}]}, networkMode="host"
    )
    assert shown["environment"]["FOO"] == "bar"
    assert shown["portMappings"] == [{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}]


def test_credentials_are_in_the_form_of_the_capture() -> None:
    credentials = acs.RoleCredentials(
        credentials_id="id",
        role_arn="arn:r",
        access_key_id="ASIA",
        secret_access_key="s",
        session_token="t",
        expires_at=NOW,
    )
    definition = {"containerDefinitions": [{"name": "main", "image": "busybox", "memory": 64}]}
    message = acs.payload_task(
        task(), definition, account="1", region="r", endpoint=ENDPOINT, application=credentials, execution=credentials
    )
    assert message["roleCredentials"] == message["executionRoleCredentials"] == {
        "credentialsId": "id", "roleArn": "arn:r", "accessKeyId": "ASIA", "secretAccessKey": "s", "sessionToken": "t",
        "expiration": "2026-11-23T17:48:25Z",
    }  # fmt: skip
    assert message["containers"][0]["logsAuthStrategy"] == "ExecutionRole"


def test_devices_are_told_by_association() -> None:
    definition = {"containerDefinitions": [{"name": "main", "image": "busybox", "memory": 64}]}
    given = task(container_record(gpus=("GPU-1", "GPU-2")))
    message = acs.payload_task(given, definition, account="1", region="r", endpoint=ENDPOINT)
    assert [(each["name"], each["type"], each["containers"]) for each in message["associations"]] == [
        ("GPU-1", "gpu", ["main"]),
        ("GPU-2", "gpu", ["main"]),
    ]
