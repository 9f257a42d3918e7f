"""A real server with machines of this host, and what tests do with one: define jobs, submit, wait, look inside.

At its end nothing of it may be left on the host: `Chain.end` says what is, after it has cleared that away.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crun_scenarios import busybox_archive
from longshore.host.cgroups import Hierarchy
from longshore.host.supervised import Connection, Standing, open_connection
from longshore.supervisor import client as supervisor
from patience import patient
from system.running import LONGSHORE, Server, wait_for

EC2_TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)
TASKS_TRUST = EC2_TRUST.replace("ec2.", "ecs-tasks.")
INSTANCE_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
ENDED = ("SUCCEEDED", "FAILED")

# What a request to a link-local address answers, head and all: busybox's wget keeps the body of a refusal to itself.
# nc's input stays open: a server may take the end of what it is sent for the end of all.
ASK = """ask() {
  busybox mkfifo /tmp/said; printf "$1 $3 HTTP/1.0\\r\\nHost: $2\\r\\n$4\\r\\n" >/tmp/said & busybox nc -w 10 $2 80 <>/tmp/said
  rm /tmp/said
}
"""
# The session of the instance's role, as an SDK in the job finds it.
INSTANCE_SESSION = ASK + (
    'token=$(ask PUT 169.254.169.254 /latest/api/token "X-aws-ec2-metadata-token-ttl-seconds: 60\\r\\n" | tail -n 1)\n'
    "roles=/latest/meta-data/iam/security-credentials/\n"
    'role=$(ask GET 169.254.169.254 $roles "X-aws-ec2-metadata-token: $token\\r\\n" | tail -n 1)\n'
    'ask GET 169.254.169.254 $roles$role "X-aws-ec2-metadata-token: $token\\r\\n" | sed "1,/^.\\?$/d"'
)


def needs_local_machines() -> None:
    """Skips the test where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("local machines need root")
    missing = [name for name in ("crun", "umoci", "busybox", "nsenter") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; scripts/setup installs them")


class Chain:
    """`up --machines local`, an image `busybox` imported. `server` is another one after `start_again`."""

    def __init__(self, folder: Path, *arguments: str, command: str = "up") -> None:
        self.state = folder / "state"
        self._arguments = ("--machines", "local", *arguments)
        self._command = command
        self._instances: set[str] = set()
        self._numbers = itertools.count(1)
        self.state.mkdir(mode=0o700)
        busybox_archive(folder / "busybox.tar")
        self.longshore("images", "import", "--state", str(self.state), "busybox", str(folder / "busybox.tar"))
        self._server: Server | None = None
        try:
            self.start_again()
        except BaseException:
            self.destroy()
            raise

    def start_again(self) -> None:
        self._server = Server(self.state, *self._arguments, command=self._command)
        self.batch, self.ecs, self.ec2, self.iam, self.logs = (
            self.server.client(name) for name in ("batch", "ecs", "ec2", "iam", "logs")
        )

    @property
    def server(self) -> Server:
        assert self._server is not None
        return self._server

    def longshore(self, *arguments: str) -> str:
        done = subprocess.run([*LONGSHORE, *arguments], capture_output=True, text=True, timeout=patient(60))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # --- jobs ---

    def define(self, script: str = "true", **more: Any) -> str:
        """A job definition of its own for `sh -c script`: 1 vCPU, 64 MiB, and what else is said. Its name."""
        name = f"job-{next(self._numbers)}"
        properties = {
            "image": "busybox",
            "command": ["sh", "-c", script],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
            **more,
        }
        self.batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=properties)
        return name

    def submit(self, definition: str, queue: str = "default", **more: Any) -> str:
        asked = {"jobName": definition, "jobQueue": queue, "jobDefinition": definition, **more}
        job_id: str = self.batch.submit_job(**asked)["jobId"]
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.batch.describe_jobs(jobs=[job_id])["jobs"][0]
        return found

    def when(self, job_id: str, holds: Callable[[dict[str, Any]], object], seconds: float = 30.0) -> dict[str, Any]:
        """The job as soon as it `holds`; within the time, else what was found instead is told."""
        end = time.monotonic() + patient(seconds)
        while not holds(job := self.job(job_id)):
            if time.monotonic() > end:
                explained = self.longshore("explain", "--state", str(self.state), job_id)
                raise AssertionError(f"not within {seconds} s:\n{explained}{json.dumps(job, indent=1, default=str)}")
            time.sleep(0.03)
        return job

    def until(self, job_id: str, *statuses: str, seconds: float = 30.0) -> dict[str, Any]:
        return self.when(job_id, lambda job: job["status"] in statuses, seconds)

    def ended(self, job_id: str, seconds: float = 30.0) -> dict[str, Any]:
        return self.until(job_id, *ENDED, seconds=seconds)

    def run(self, script: str, **more: Any) -> dict[str, Any]:
        """The job of a definition of its own, after its end."""
        return self.ended(self.submit(self.define(script, **more)))

    def says(self, script: str, **more: Any) -> list[str]:
        """What a job that succeeds writes."""
        job = self.run(script, **more)
        assert job["status"] == "SUCCEEDED", (job, self.lines(job))
        return self.lines(job)

    def lines(self, job: dict[str, Any], group: str = "/aws/batch/job") -> list[str]:
        """Its log, all pages."""
        lines: list[str] = []
        token: dict[str, str] = {}
        while True:
            stream = job["container"]["logStreamName"]
            page = self.logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **token)
            lines += [event["message"] for event in page["events"]]
            if not page["events"]:
                return lines
            token = {"nextToken": page["nextForwardToken"]}

    def explained(self, job_id: str) -> dict[str, Any]:
        shown = self.longshore("explain", "--state", str(self.state), "--output", "json", job_id)
        explained: dict[str, Any] = json.loads(shown)
        return explained

    def session(self, credentials: dict[str, str]) -> str:
        """Whose it is, as STS says: `assumed-role/ROLE/SESSION`."""
        key, secret = credentials["AccessKeyId"], credentials["SecretAccessKey"]
        sts = self.server.client("sts", key, secret, credentials["Token"])
        arn: str = sts.get_caller_identity()["Arn"]
        return arn.rpartition(":")[2]

    # --- roles, environments, instances ---

    def role(self, name: str, trust: str = EC2_TRUST, *policies: str) -> str:
        arn: str = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        for policy in policies:
            self.iam.attach_role_policy(RoleName=name, PolicyArn=policy)
        return arn

    def instance_role(self, name: str) -> None:
        """The role and its profile, by the four steps of the Batch guide."""
        self.role(name, EC2_TRUST, INSTANCE_POLICY)
        self.iam.create_instance_profile(InstanceProfileName=name)
        self.iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)

    def queue(self, name: str, instance_role: str = "ecsInstanceRole", vcpus: int = 2, **more: Any) -> str:
        """A compute environment of c6i.large and its queue, both VALID."""
        resources = {
            "type": "EC2",
            "minvCpus": 0,
            "maxvCpus": vcpus,
            "instanceTypes": ["c6i.large"],
            "subnets": [self.ec2.describe_subnets()["Subnets"][0]["SubnetId"]],
            "securityGroupIds": [self.ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
            "instanceRole": instance_role,
            **more,
        }
        self.batch.create_compute_environment(computeEnvironmentName=name, type="MANAGED", computeResources=resources)
        wait_for(lambda: self.environment(name)["status"] == "VALID")
        order = [{"order": 1, "computeEnvironment": name}]
        self.batch.create_job_queue(jobQueueName=name, priority=1, computeEnvironmentOrder=order)
        wait_for(lambda: self.batch.describe_job_queues(jobQueues=[name])["jobQueues"][0]["status"] == "VALID")
        return name

    def environment(self, name: str) -> dict[str, Any]:
        found = self.batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
        return dict(found[0]) if found else {"status": "gone"}

    def delete(self, name: str) -> None:
        """The queue and the compute environment of this name, with its instances."""
        self.batch.update_job_queue(jobQueue=name, state="DISABLED")
        wait_for(lambda: self.batch.describe_job_queues(jobQueues=[name])["jobQueues"][0]["status"] == "VALID")
        self.batch.delete_job_queue(jobQueue=name)
        wait_for(lambda: not self.batch.describe_job_queues(jobQueues=[name])["jobQueues"])
        self.batch.update_compute_environment(computeEnvironment=name, state="DISABLED")
        wait_for(lambda: self.environment(name)["status"] == "VALID")
        self.batch.delete_compute_environment(computeEnvironment=name)
        wait_for(lambda: self.environment(name)["status"] == "gone")

    def instance_of(self, job: dict[str, Any]) -> str:
        """The id of the instance that the job runs or ran on."""
        arn = job["container"]["containerInstanceArn"]
        cluster = arn.split("/")[1]
        shown = self.ecs.describe_container_instances(cluster=cluster, containerInstances=[arn])
        instance_id: str = shown["containerInstances"][0]["ec2InstanceId"]
        return instance_id

    def console(self, instance_id: str) -> str:
        return str(self.ec2.get_console_output(InstanceId=instance_id).get("Output", ""))

    def states(self) -> dict[str, str]:
        """Instance id -> its state."""
        found = self.ec2.describe_instances()["Reservations"]
        return {each["InstanceId"]: each["State"]["Name"] for one in found for each in one["Instances"]}

    # --- the host ---

    def standing(self, instance_id: str) -> Standing:
        """Of an instance, as the supervisor sees it: its processes' numbers on this host. LookupError: it has none such."""

        async def ask(connection: Connection) -> tuple[Standing, ...]:
            return await connection.list()

        for each in self._supervisor(ask):
            if each.instance_id == instance_id:
                return each
        raise LookupError(instance_id)

    def agent_process(self, instance_id: str) -> int | None:
        """The host's number of the instance's agent. None: none runs at the moment."""
        standing = self.standing(instance_id)
        if standing.agent_pid is None:
            return None
        inner = os.stat(f"/proc/{standing.pid}/ns/pid").st_ino
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.stat(folder / "ns/pid").st_ino != inner:
                    continue
                numbers = next(line for line in (folder / "status").read_text().splitlines() if line[:6] == "NSpid:")
                if int(numbers.split()[-1]) == standing.agent_pid:
                    return int(folder.name)
        return None

    def supervisor_process(self) -> int:
        async def ask(connection: Connection) -> int:
            return (await connection.about()).pid

        return self._supervisor(ask)

    def _supervisor(self, ask: Callable[[Connection], Any]) -> Any:
        async def run() -> Any:
            connection = open_connection(supervisor.socket_path(self.state))
            try:
                async with asyncio.timeout(10):
                    return await ask(connection)
            finally:
                connection.close()

        return asyncio.run(run())

    # --- the end ---

    def end(self) -> int:
        """SIGTERM. Its exit code; AssertionError: something is left on the host, which it clears away."""
        try:
            self._instances |= self.states().keys()
            code = self.server.end()
            left = self.remains()
        except BaseException:
            self.destroy()
            raise
        if left:
            self.destroy()
        assert left == []
        return code

    def destroy(self) -> None:
        """Whatever state it is in: no server, no supervisor, no instance afterwards."""
        if self._server is not None and self._server.process.poll() is None:
            self._server.kill()

        async def run() -> None:
            async with asyncio.timeout(60):
                connection = open_connection(await supervisor.start(self.state))
                await connection.shutdown()
                await connection.closed.wait()

        if self.remains():
            asyncio.run(run())

    def remains(self) -> list[str]:
        """All that is of it on this host now, beside its state folder."""
        self._note_instances()
        digest = hashlib.sha256(os.fsencode(self.state.resolve())).hexdigest()[:8]
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        found = [f"name: {path}" for path in Path("/run/longshore").glob(f"*{digest}*")]
        found += [f"link: {name}" for name in os.listdir("/sys/class/net") if digest in name]
        found += [f"mount: {line}" for line in mounts if digest in line or str(self.state) in line]
        groups = Hierarchy.of_this_process()
        for instance_id in self._instances:
            found += [f"group: {path}" for path in groups.folders(f"/longshore/{instance_id}") if path.exists()]
        found += [f"process: {command}" for command in _commands() if str(self.state) in command]
        if shutil.which("nft"):
            tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True, timeout=20)
            found += [f"table: {line}" for line in tables.stdout.splitlines() if digest in line]
        return found

    def _note_instances(self) -> None:
        """Their control groups are named for them, and not for us."""
        with contextlib.suppress(OSError):
            self._instances |= set(os.listdir(self.state / "instances"))


def _commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
    return found
