"""Jobs stay inside. Each test is a try, as root of a container, to reach what is not the job's; beside it stands what the
job may reach in the same way, so that a refusal is no accident of the probe.

What is not held back, and why, is in docs/security.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from system.chain import ASK, TASKS_TRUST, Chain, needs_local_machines
from system.running import ROOT_SECRET, wait_for

pytestmark = pytest.mark.xdist_group("isolation")

EPERM, ENOSYS, ESRCH = 1, 38, 3
OPTIMISED = "al2023-ami-ecs-hvm-*"
# The instance's root, as a definition may name it. Without proc and sys, which have no end.
INSTANCE = {
    "volumes": [{"name": "instance", "host": {"sourcePath": "/"}}],
    "mountPoints": [{"sourceVolume": "instance", "containerPath": "/instance"}],
}
FIND = "busybox find / -path '*/proc' -prune -o -path '*/sys' -prune -o {} -print 2>/dev/null; echo end"


@pytest.fixture(scope="module")
def open_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the operator shares with jobs."""
    return tmp_path_factory.mktemp("open")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, open_folder: Path) -> Iterator[Chain]:
    needs_local_machines()
    chain = Chain(
        tmp_path_factory.mktemp("house"), "--vcpus", "16", "--memory-mib", "49152", "--share", str(open_folder)
    )
    try:
        yield chain
    except BaseException:
        chain.destroy()
        raise
    assert chain.end() == 0


@pytest.fixture(scope="module")
def tight(house: Chain) -> str:
    """A queue of one instance with two vCPUs: two jobs that run at once are neighbours."""
    return house.queue("tight", vcpus=2)


@pytest.fixture(scope="module")
def probe(open_folder: Path) -> Callable[..., dict[str, Any]]:
    """Job properties under which `/open/probe` is tests/system/probe.c."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc makes the probe: not installed")
    made = subprocess.run(
        ["gcc", "-static", "-O1", "-o", str(open_folder / "probe"), str(Path(__file__).with_name("probe.c"))],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if made.returncode != 0:
        pytest.skip(f"gcc makes no static program here: {made.stderr.strip()}")
    return lambda **more: shared(open_folder, **more)


def shared(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "volumes": [{"name": "open", "host": {"sourcePath": str(folder)}}],
        "mountPoints": [{"sourceVolume": "open", "containerPath": "/open"}],
        **more,
    }


class Neighbour:
    """A job that runs until it is let go, on the queue's instance; `said` is the first line of its log."""

    def __init__(self, chain: Chain, folder: Path, queue: str, script: str, **more: Any) -> None:
        self._chain = chain
        self._gate = folder / f"gate-{uuid.uuid4().hex}"
        loop = f"{script}\nuntil [ -e /open/{self._gate.name} ]; do sleep 0.05; done"
        self.job_id = chain.submit(chain.define(loop, **shared(folder, **more)), queue)
        self.job = chain.until(self.job_id, "RUNNING")
        self.said = str(wait_for(lambda: chain.lines(chain.job(self.job_id)))[0])

    def let_go(self) -> dict[str, Any]:
        self._gate.touch()
        return self._chain.ended(self.job_id)


@contextlib.contextmanager
def neighbour(chain: Chain, folder: Path, queue: str, script: str, **more: Any) -> Iterator[Neighbour]:
    """AssertionError: it did not come to its own good end."""
    there = Neighbour(chain, folder, queue, script, **more)
    try:
        yield there
    finally:
        ended = there.let_go()
    assert ended["status"] == "SUCCEEDED"


def says_on(chain: Chain, queue: str, script: str, **more: Any) -> list[str]:
    job = chain.ended(chain.submit(chain.define(script, **more), queue))
    assert job["status"] == "SUCCEEDED", (job, chain.lines(job))
    return chain.lines(job)


# --- the server and the host ---


def test_the_servers_state_and_keys_are_nowhere(house: Chain) -> None:
    # Not `lock`, which is in every root's /var.
    names = [path.name for path in house.state.iterdir() if path.is_file() and path.name != "lock"]
    assert "longshore.db" in names and len(names) > 2
    wanted = " -o ".join(f"-name '{name}'" for name in [*names, "busybox"])
    found = house.says(FIND.format(f"\\( {wanted} \\)"), **INSTANCE)
    # The search finds what is there, in the container and in its instance.
    assert "/bin/busybox" in found and any(each.startswith("/instance/") for each in found)
    assert {each.rpartition("/")[2] for each in found} == {"busybox", "end"}


def test_the_environment_of_no_process_has_the_keys_of_root(house: Chain) -> None:
    script = (
        f"busybox cat /proc/*/environ | busybox tr '\\0' '\\n' | grep -c -e {ROOT_SECRET}; echo; env | grep -c PATH="
    )
    assert house.says(script)[:1] == ["0"]
    assert house.says(script)[-1] == "1"
    # Nor in what the agent, root in the instance, was given.
    job = house.run("true")
    agent = house.agent_process(house.instance_of(job))
    environment = Path(f"/proc/{agent}/environ").read_bytes()
    assert b"LONGSHORE_ENDPOINT" in environment and ROOT_SECRET.encode() not in environment


def test_of_the_hosts_files_a_job_sees_what_the_list_names(house: Chain, tmp_path: Path) -> None:
    """Though its definition names the instance's root, it is the instance's, not the host's."""
    mark = f"mark-{uuid.uuid4().hex}"
    homes = [Path("/root"), Path("/var/tmp"), Path("/srv"), tmp_path]
    for home in homes:
        (home / mark).write_text("of the host")
    try:
        found = house.says(FIND.format(f"\\( -name '{mark}' -o -path '/instance/etc/passwd' \\)"), **INSTANCE)
        assert found == ["/instance/etc/passwd", "end"]
        shadow = house.says(
            "ls /instance/etc/shadow /instance/etc/ssh /instance/boot 2>/dev/null; echo end", **INSTANCE
        )
        assert shadow == ["end"]
    finally:
        for home in homes:
            (home / mark).unlink()


def test_what_the_host_shows_can_not_be_written(house: Chain) -> None:
    mark = f"mark-{uuid.uuid4().hex}"
    script = (
        "for at in /usr /usr/bin /usr/lib /var/lib/longshore/images; do\n"
        f"  touch /instance$at/{mark} 2>/dev/null && echo $at\n"
        "done\n"
        "mount -o remount,rw,bind /instance/usr 2>/dev/null && echo remounted\n"
        f"touch /instance/srv/{mark} && rm /instance/srv/{mark} && echo own"
    )
    assert house.says(script, **INSTANCE) == ["own"]
    assert not Path("/usr", mark).exists()


def test_the_supervisors_socket_is_not_there(house: Chain) -> None:
    assert house.supervisor_process() > 0
    script = FIND.format("-type s") + "; cat /proc/net/unix | busybox awk '{print $8}'"
    found = house.says(script, **INSTANCE)
    state = str(house.state)
    assert "end" in found
    assert [each for each in found if state in each or "supervisor" in each] == []
    # What init tells the supervisor lies outside the instance's root; inside is no door to it.
    assert [each for each in found if each.startswith("/instance") and each.endswith("/control")] == []


def test_services_on_the_hosts_loopback_are_not_reached(house: Chain) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        heard: list[str] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, peer = listener.accept()
                    heard.append(peer[0])
                    connection.sendall(b"of the host\n")
                    connection.close()

        waiting = threading.Thread(target=accept)
        waiting.start()
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as tried:
                assert tried.recv(20) == b"of the host\n"
            places = "127.0.0.1 127.0.0.2 localhost host.longshore.internal 169.254.1.1 169.254.169.253 169.254.169.254"
            script = (
                f"for at in {places}; do busybox timeout 2 busybox nc $at {port} </dev/null 2>/dev/null; done\n"
                "ip route add 127.0.0.9 via 169.254.1.1 2>/dev/null && echo routed\n"
                "busybox wget -qO- $AWS_ENDPOINT_URL_BATCH/healthz"
            )
            assert house.says(script) == ["ok"]
            assert heard == ["127.0.0.1"]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            waiting.join(5)


# --- what a container's root may do ---


def test_capabilities_are_the_few_seccomp_is_on_and_no_privilege_is_gained(house: Chain) -> None:
    lines = house.says("cat /proc/self/status")
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    allowed = 0xA80425FB  # Docker's fourteen.
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status[name], 16) & ~allowed == 0 and int(status[name], 16) != 0
    assert int(status["CapAmb"], 16) == int(status["CapInh"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"


def test_proc_and_sys_are_masked(house: Chain) -> None:
    script = """
        for file in kcore keys timer_list interrupts; do busybox head -c 100 /proc/$file 2>/dev/null | busybox wc -c; done
        ls /sys/firmware 2>/dev/null | busybox wc -l
        for file in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/uevent_helper; do
          (echo x >$file) 2>/dev/null && echo wrote $file
        done
        busybox find /sys -maxdepth 3 -type d 2>/dev/null | while read at; do
          mkdir $at/made 2>/dev/null && busybox rmdir $at/made && echo made in $at
        done
        for node in mem kmem kmsg port sda vda nvme0n1 loop0 fuse kvm; do [ -e /dev/$node ] && echo $node; done
        mknod /tmp/disk b 254 0 2>/dev/null && echo made a disk
        [ -r /proc/self/status ] && echo end
    """
    lines = house.says(script)
    # On v1 this one is a tmpfs of the container's own, with the hierarchies, which are read-only, on it.
    assert [line for line in lines if line != "made in /sys/fs/cgroup"] == ["0", "0", "0", "0", "0", "end"]


def test_calls_to_the_kernel_itself_are_refused(house: Chain, probe: Callable[..., dict[str, Any]]) -> None:
    said = dict(line.split() for line in house.says("/open/probe", **probe()))
    found = {name: int(number) for name, number in said.items()}
    allowed = {name for name, number in found.items() if number == 0}
    # Root as it is, it may ping; and nothing of the rest.
    assert allowed == {"raw-icmp", "stream"}
    assert {name: number for name, number in found.items() if number not in (0, EPERM)} == {}


def test_a_privileged_job_with_the_instances_root_is_root_of_nothing_else(house: Chain) -> None:
    """`up` honours `privileged`, and gives any folder of the instance: what all of it together leads to.

    Of more tries as the instance's root, see tests/supervisor/test_escapes.py.
    """
    mark = f"mark-{uuid.uuid4().hex}"
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    disk = os.stat("/").st_dev
    script = f"""
        grep CapEff /proc/self/status
        mkdir /t && mount -t tmpfs none /t && echo mounts
        mkdir /instance/etc/{mark} && rmdir /instance/etc/{mark} && echo writes the instance
        exec 2>/dev/null
        mknod /tmp/disk b {os.major(disk)} {os.minor(disk)} && echo made a disk
        mknod /tmp/mem c 1 1 && echo made the memory
        for at in /instance/usr /instance/var/lib/longshore/images; do
          mount -o remount,rw,bind $at && echo remounted $at
          umount $at && echo uncovered $at
          touch $at/{mark} && echo wrote $at
        done
        (echo '|/tmp/run' >/proc/sys/kernel/core_pattern) && echo set the core pattern
        (echo x >/proc/sysrq-trigger) && echo asked the kernel
        (echo 1 >/sys/kernel/profiling) && echo wrote /sys
        for at in $(find /sys/fs/cgroup /instance/sys/fs/cgroup -name release_agent); do
          (echo /tmp/run >$at) && echo wrote $at
          made=$(busybox dirname $at)/made
          mkdir $made && busybox rmdir $made && echo made a group beside $at
        done
        mount -t cgroup -o rdma none /t && echo mounted a hierarchy
        mount -t debugfs none /t && echo mounted debugfs
        chroot /instance sh -c 'echo -1 >/sys/fs/cgroup/memory/memory.limit_in_bytes' && echo took more memory
        chroot /instance sh -c 'cat /proc/1/environ | grep -q .' && echo looked into the first process
        chroot /instance sh -c 'ls /proc/1/root/home' | grep -v ec2-user
        echo end
    """
    lines = house.says(script, privileged=True, **INSTANCE)
    assert lines[0].startswith("CapEff:") and int(lines[0].split()[1], 16) >> 21 & 1  # CAP_SYS_ADMIN
    # It is privileged, and the instance is its own; nothing of what follows is.
    assert lines[1:] == ["mounts", "writes the instance", "end"]
    assert not Path("/usr", mark).exists() and Path("/proc/sys/kernel/core_pattern").read_text() == before


# --- neighbours ---


def test_a_neighbours_processes_files_and_memory_are_not_there(
    house: Chain, open_folder: Path, tight: str, probe: Callable[..., dict[str, Any]]
) -> None:
    mark = f"mark-{uuid.uuid4().hex}"
    script = (
        f"export SECRET={mark}; echo {mark} >/tmp/{mark}; echo {mark} >/dev/shm/{mark}; sh -c 'sleep 600' & echo up"
    )
    with neighbour(house, open_folder, tight, script + "; trap 'kill $!' EXIT") as other:
        find = (
            # By a pattern that does not match itself: the search's own command line is among those searched.
            f"busybox find / -xdev -name '[m]{mark[1:]}' 2>/dev/null; ls /dev/shm\n"
            f"busybox cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | busybox tr '\\0' '\\n' | grep '[m]{mark[1:]}'\n"
            "ls /proc | grep -c '^[0-9]'\n"
            "for pid in $(busybox seq 2 60) 200 2000 20000; do [ -d /proc/$pid ] || /open/probe $pid; done\n"
            "/open/probe 1 | grep pidfd"
        )
        lines = says_on(house, tight, find, **probe())
        assert house.job(other.job_id)["status"] == "RUNNING"
        numbers = [line for line in lines if line.isdecimal()]
        assert len(numbers) == 1 and int(numbers[0]) < 10
        assert [line for line in lines if mark in line] == []
        tries = [line.split() for line in lines if not line.isdecimal()]
        assert tries.pop() == ["pidfd", "0"]
        assert len(tries) > 100
        assert {(name, int(number)) for name, number in tries} <= {
            ("attach", ESRCH), ("read-memory", ESRCH), ("pidfd", ESRCH),
        }  # fmt: skip


def test_a_neighbours_credentials_id_is_not_told_and_can_not_be_guessed(
    house: Chain, open_folder: Path, tight: str
) -> None:
    role = house.role("isolation-neighbour", TASKS_TRUST)
    script = "echo $AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
    with neighbour(house, open_folder, tight, script, jobRoleArn=role) as other:
        secret = other.said.rpartition("/")[2]
        assert len(secret) >= 32
        ask = ASK + (
            "own=$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI\n"
            "ask GET 169.254.170.2 $own | grep -o -e RoleArn | head -n 1\n"
            "echo ---\n"
            "ask GET 169.254.170.2 /v2/credentials/ | head -n 1\n"
            "ask GET 169.254.170.2 /v2/credentials/00000000-0000-4000-8000-000000000000 | head -n 1\n"
            "ask GET 169.254.170.2 ${own%?} | head -n 1\n"
            "ask GET 169.254.170.2 '/v2/credentials/*' | head -n 1\n"
            "ask GET 169.254.170.2 $own/../ | head -n 1\n"
            "echo ---\n"
            "for what in '' /task /stats /task/stats; do busybox wget -qO- $ECS_CONTAINER_METADATA_URI_V4$what; echo; done\n"
            "env; cat /proc/self/mountinfo /proc/self/cgroup /proc/net/unix /proc/net/tcp /etc/hosts"
        )
        lines = says_on(house, tight, ask, jobRoleArn=role)
        first, second = (number for number, line in enumerate(lines) if line == "---")
        assert lines[:first] == ["RoleArn"]
        refusals = lines[first + 1 : second]
        assert len(refusals) == 5 and all(line.split()[1][0] == "4" for line in refusals), refusals
        shown = "\n".join(lines[second:])
        assert secret not in shown and other.job["container"]["taskArn"] not in shown
        assert "KnownStatus" in shown


def test_a_neighbours_log_stream_is_closed_to_a_job_role_without_rights(
    house: Chain, open_folder: Path, tight: str
) -> None:
    role = house.role("isolation-silent", TASKS_TRUST)
    with neighbour(house, open_folder, tight, "echo mine") as other:
        stream = house.job(other.job_id)["container"]["logStreamName"]
        credentials = ASK + 'ask GET 169.254.170.2 $AWS_CONTAINER_CREDENTIALS_RELATIVE_URI | grep -o "{.*}"'
        (text,) = says_on(house, tight, credentials, jobRoleArn=role)
        given = json.loads(text)
        logs = house.server.client("logs", given["AccessKeyId"], given["SecretAccessKey"], given["Token"])
        named = {"logGroupName": "/aws/batch/job", "logStreamName": stream}
        event = {"timestamp": int(time.time() * 1000), "message": "not mine"}
        for call in (
            lambda: logs.get_log_events(**named),
            lambda: logs.put_log_events(**named, logEvents=[event]),
            lambda: logs.delete_log_stream(**named),
        ):
            with pytest.raises(ClientError) as refused:
                call()
            assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
        # And without a signature, from inside.
        body = json.dumps({**named, "logEvents": [event]})
        post = (
            f"busybox wget -S -qO- --header 'X-Amz-Target: Logs_20140328.PutLogEvents' --post-data '{body}' "
            "--header 'Content-Type: application/x-amz-json-1.1' $AWS_ENDPOINT_URL_CLOUDWATCH_LOGS/ 2>&1 | grep HTTP/"
        )
        assert " 40" in says_on(house, tight, f"{post}; echo", jobRoleArn=role)[0]
        assert house.lines(house.job(other.job_id)) == ["mine"]


# --- instances ---


@pytest.fixture
def instances(house: Chain) -> Iterator[Callable[..., str]]:
    """An instance in a cluster of this name; with these metadata options. Its container instance's ARN."""
    made: list[str] = []

    def run(cluster: str, **options: Any) -> str:
        images = house.ec2.describe_images(
            Owners=["amazon"],
            Filters=[{"Name": "name", "Values": [OPTIMISED]}, {"Name": "architecture", "Values": ["x86_64"]}],
        )["Images"]
        house.ecs.create_cluster(clusterName=cluster)
        answer = house.ec2.run_instances(
            ImageId=images[0]["ImageId"], InstanceType="t3.small", MinCount=1, MaxCount=1,
            UserData=f"#!/bin/bash\necho ECS_CLUSTER={cluster} >> /etc/ecs/ecs.config\n",
            IamInstanceProfile={"Name": "ecsInstanceRole"}, **({"MetadataOptions": options} if options else {}),
        )  # fmt: skip
        made.append(answer["Instances"][0]["InstanceId"])

        def joined() -> str | None:
            arns = house.ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
            if not arns:
                return None
            found = house.ecs.describe_container_instances(cluster=cluster, containerInstances=arns)
            here = [each for each in found["containerInstances"] if each["ec2InstanceId"] == made[-1]]
            return str(here[0]["containerInstanceArn"]) if here and here[0]["agentConnected"] else None

        return str(wait_for(joined))

    yield run
    if made:
        house.ec2.terminate_instances(InstanceIds=made)
        wait_for(lambda: all(state == "terminated" for key, state in house.states().items() if key in made))


class Task:
    """One that StartTask starts on this container instance, with its log."""

    def __init__(self, chain: Chain, cluster: str, where: str, mode: str, script: str) -> None:
        self._chain, self._cluster = chain, cluster
        with contextlib.suppress(chain.logs.exceptions.ResourceAlreadyExistsException):
            chain.logs.create_log_group(logGroupName="isolation")
        options = {"awslogs-group": "isolation", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"}
        definition = chain.ecs.register_task_definition(
            family="isolation",
            networkMode=mode,
            containerDefinitions=[
                {
                    "name": "c", "image": "busybox", "memory": 64, "command": ["sh", "-c", script],
                    "logConfiguration": {"logDriver": "awslogs", "options": options},
                }
            ],
        )["taskDefinition"]["taskDefinitionArn"]  # fmt: skip
        answer = chain.ecs.start_task(cluster=cluster, taskDefinition=definition, containerInstances=[where])
        assert answer["failures"] == []
        self.arn = answer["tasks"][0]["taskArn"]

    def status(self) -> str:
        return str(self._chain.ecs.describe_tasks(cluster=self._cluster, tasks=[self.arn])["tasks"][0]["lastStatus"])

    def lines(self) -> list[str]:
        stream = f"p/c/{self.arn.rpartition('/')[2]}"
        found = self._chain.logs.get_log_events(logGroupName="isolation", logStreamName=stream, startFromHead=True)
        return [event["message"] for event in found["events"]]

    def says(self) -> list[str]:
        wait_for(lambda: self.status() == "STOPPED")
        return self.lines()

    def stop(self) -> None:
        self._chain.ecs.stop_task(cluster=self._cluster, task=self.arn)
        wait_for(lambda: self.status() == "STOPPED", 60)


TOKEN = (
    "exec 2>/dev/null; busybox timeout 3 sh -c 'busybox mkfifo /tmp/s; printf \"PUT /latest/api/token HTTP/1.0\\r\\nHost: x\\r\\n"
    "X-aws-ec2-metadata-token-ttl-seconds: 60\\r\\n\\r\\n\" >/tmp/s & busybox nc 169.254.169.254 80 <>/tmp/s'"
    " | grep -c '200 OK'; echo end"
)


@pytest.mark.parametrize("hops, expected", [(1, "0"), (2, "1")])
def test_a_bridged_container_gets_the_instance_role_only_as_the_hop_limit_allows(
    house: Chain, instances: Callable[..., str], hops: int, expected: str
) -> None:
    cluster = f"hops-{hops}"
    where = instances(cluster, HttpPutResponseHopLimit=hops, HttpTokens="required")
    assert Task(house, cluster, where, "bridge", TOKEN).says() == [expected, "end"]
    # The instance itself is one hop near.
    assert Task(house, cluster, where, "host", TOKEN).says() == ["1", "end"]


def test_another_instance_is_not_reached_nor_taken_for_ones_own(house: Chain, instances: Callable[..., str]) -> None:
    here, there = instances("two"), instances("two")
    shown = house.ecs.describe_container_instances(cluster="two", containerInstances=[here, there])
    ids = {each["containerInstanceArn"]: each["ec2InstanceId"] for each in shown["containerInstances"]}
    found = house.ec2.describe_instances(InstanceIds=list(ids.values()))["Reservations"]
    addresses = {each["InstanceId"]: each["PrivateIpAddress"] for one in found for each in one["Instances"]}
    other = addresses[ids[there]]
    listening = Task(house, "two", there, "host", "echo up; while :; do echo heard | busybox nc -l -p 4711; done")
    try:
        wait_for(lambda: listening.status() == "RUNNING" and listening.lines() == ["up"])
        call = f"busybox timeout 3 busybox nc {other} 4711 </dev/null 2>/dev/null; echo end"
        assert Task(house, "two", there, "host", call).says() == ["heard", "end"]
        assert Task(house, "two", here, "host", call).says() == ["end"]
    finally:
        listening.stop()
    claims = ASK + (
        f"ip addr add {other}/32 dev eth0 2>/dev/null && echo moved\n"
        'token=$(ask PUT 169.254.169.254 /latest/api/token "X-aws-ec2-metadata-token-ttl-seconds: 60\\r\\n" | tail -n 1)\n'
        f'for claim in "Host: {other}" "X-Forwarded-For: {other}" "X-Real-IP: {other}" "Forwarded: for={other}"; do\n'
        "  ask GET 169.254.169.254 /latest/meta-data/instance-id "
        '"X-aws-ec2-metadata-token: $token\\r\\n$claim\\r\\n" | tail -n 1\n'
        "  echo\n"
        "done"
    )
    said = [line for line in Task(house, "two", here, "host", claims).says() if line.strip()]
    assert said == [ids[here]] * 4
