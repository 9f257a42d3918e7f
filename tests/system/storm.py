"""A storm: fifty jobs run in containers while server, agents and supervisor are killed, one or all at once, at random moments.

After it every attempt has run once and ended once, every acknowledged job is there, each job's log has each of its lines
once and in order, and the host has nothing left of any of them.

python -m system.storm [--count MOMENTS] [--from SEED] [--jobs N]      (from the folder tests; needs root, as these machines do)

Each moment has a seed of its own, which is told before it comes; `--from` begins with another. What the kernel does with the
processes meanwhile is not in the seed, so the same storm is never quite the same.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from longshore.host.cgroups import Hierarchy
from system.chain import Chain
from system.running import wait_for

VICTIMS = ("server", "agent", "supervisor", "all")
# Some lines at once and then a while of nothing, so that a kill meets batches in each state: written, read, sent, taken.
# Empty lines are none of the log, and the last line has no end.
SCRIPT = (
    "echo $AWS_BATCH_JOB_ID >>/gates/runs; i=0; while [ $i -lt $STEPS ]; do i=$((i+1)); "
    'echo "line $i a"; echo; echo "line $i b"; sleep 0.$((RANDOM % 4)); done; printf "ends after $i"'
)
_ENDED_SECONDS = 90.0
_LATE_SECONDS = 15.0  # by which a log may be later than the end that was told
_MOMENT_SECONDS = 1.2  # between two, at most
_DOWN_SECONDS = 0.7  # for which a server stays away, at most


class Storm:
    """Over a server with machines of this host that shares the folder `gates` with them."""

    def __init__(self, chain: Chain, gates: Path, jobs: int = 50, steps: int = 80) -> None:
        self.chain = chain
        self.jobs = jobs
        self._steps_max = steps
        self.kills: Counter[str] = Counter()
        self.steps: dict[str, int] = {}  # by job id: what was acknowledged
        self.unanswered: set[str] = set()  # names of jobs that were submitted while the server died
        self._runs = gates / "runs"
        self._chance = random.Random()
        # Few large instances: each has an agent, and thirty of them would have no time to come back between two moments.
        self._queue = chain.queue("storm", vcpus=64, instanceTypes=["c6i.8xlarge"])
        self._definition = chain.define(
            SCRIPT,
            volumes=[{"name": "gates", "host": {"sourcePath": str(gates)}}],
            mountPoints=[{"sourceVolume": "gates", "containerPath": "/gates"}],
        )
        self._submitted = 0
        self._ended: set[str] = set()

    def moment(self, seed: int) -> str:
        """Fills up to so many jobs, waits a while, and kills. Who it was."""
        self._chance = chance = random.Random(seed)
        self._fill()
        time.sleep(chance.random() * _MOMENT_SECONDS)
        victim = random.Random(seed // len(VICTIMS)).sample(VICTIMS, len(VICTIMS))[seed % len(VICTIMS)]
        if seed % 2:
            # Submissions are under way when it comes; a kill is late enough for a first and too early for all.
            self._submit(3, dies=lambda: self._kill(victim))
        else:
            self._kill(victim)
        if victim in ("server", "all"):
            time.sleep(chance.random() * _DOWN_SECONDS)
            self.chain.start_again()
        elif victim == "supervisor":
            wait_for(self._supervisor, 15)
        self.kills[victim] += 1
        return victim

    def _kill(self, victim: str) -> None:
        """SIGKILL, of all at once where it is all."""
        # Who is who is asked before the first one dies: it is the supervisor that knows.
        instances = os.listdir(self.chain.state / "instances") if victim in ("agent", "all") else []
        agents = [_opened(partial(self._agent, each)) for each in instances]
        supervisor = _opened(self._supervisor) if victim in ("supervisor", "all") else None
        dying = {
            "server": [],
            "agent": agents,
            "supervisor": [supervisor],
            "all": [supervisor, *agents],
        }
        for opened in dying[victim]:
            if opened is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(opened, signal.SIGKILL)
                os.close(opened)
        if victim in ("server", "all"):
            self.chain.server.kill()

    def _agent(self, instance_id: str) -> int | None:
        with contextlib.suppress(LookupError, OSError):
            return self.chain.agent_process(instance_id)
        return None

    def _supervisor(self) -> int | None:
        """None: none listens yet."""
        with contextlib.suppress(Exception):
            return self.chain.supervisor_process()
        return None

    # Jobs.

    def _fill(self) -> None:
        """Until at least half of them run."""
        end = time.monotonic() + _ENDED_SECONDS
        while True:
            living = [each for each in self.steps if each not in self._ended]
            running = 0
            for first in range(0, len(living), 100):
                found = self.chain.batch.describe_jobs(jobs=living[first : first + 100])["jobs"]
                self._ended |= {each["jobId"] for each in found if each["status"] in ("SUCCEEDED", "FAILED")}
                running += sum(each["status"] == "RUNNING" for each in found)
            self._submit(self.jobs - sum(each not in self._ended for each in living))
            if running * 2 >= self.jobs:
                return
            assert time.monotonic() < end, f"of {len(living)} jobs {running} run"
            time.sleep(0.1)

    def _submit(self, count: int, dies: Any = None) -> None:
        for number in range(count):
            if dies is not None and number == 1:
                dies()
            self._submitted += 1
            name, steps = f"storm-{self._submitted}", self._chance.randint(1, self._steps_max)
            environment = [{"name": "STEPS", "value": str(steps)}]
            try:
                job_id = self.chain.submit(
                    self._definition, self._queue, jobName=name, containerOverrides={"environment": environment}
                )
            except (BotoCoreError, ClientError, OSError):
                self.unanswered.add(name)
            else:
                self.steps[job_id] = steps

    # What must be true of it.

    def check(self) -> None:
        """Waits for the ends. AssertionError: something was lost, or came twice, or is left."""
        for job_id in self.steps:
            self._check_job(self.chain.ended(job_id, _ENDED_SECONDS), self.steps[job_id])
        others = self._unanswered_jobs()
        for job_id in others:
            job = self.chain.ended(job_id, _ENDED_SECONDS)
            (given,) = [each["value"] for each in job["container"]["environment"] if each["name"] == "STEPS"]
            self._check_job(job, int(given))
        runs = Counter(self._runs.read_text().split())
        assert set(runs) == {*self.steps, *others}, "jobs that ran are not those that were submitted"
        assert set(runs.values()) == {1}, [job_id for job_id, count in runs.items() if count != 1]
        wait_for(lambda: not self.left(), 20)

    def _unanswered_jobs(self) -> list[str]:
        """Those that nobody was told of: they may be there or not."""
        found = [
            each
            for status in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
            for page in self.chain.batch.get_paginator("list_jobs").paginate(jobQueue=self._queue, jobStatus=status)
            for each in page["jobSummaryList"]
        ]
        listed = {each["jobId"] for each in found}
        assert len(listed) == len(found) and set(self.steps) <= listed, set(self.steps) - listed
        others = {each["jobName"]: each["jobId"] for each in found if each["jobId"] not in self.steps}
        assert set(others) <= self.unanswered and len(others) == len(listed - set(self.steps)), others
        return list(others.values())

    def _check_job(self, job: dict[str, Any], steps: int) -> None:
        ended = (job["status"], job["container"].get("exitCode"), len(job["attempts"]), job["statusReason"])
        assert ended == ("SUCCEEDED", 0, 1, "Essential container in task exited"), json.dumps(job, default=str)
        lines = [f"line {step} {each}" for step in range(1, steps + 1) for each in "ab"] + [f"ends after {steps}"]
        end = time.monotonic() + _LATE_SECONDS
        while len(got := self.chain.lines(job)) < len(lines) and time.monotonic() < end:
            time.sleep(0.1)
        assert got == lines, f"{job['jobId']}: {difference(lines, got)}"

    def left(self) -> list[str]:
        """Containers, their mounts and control groups, though all jobs have ended; as the host sees them."""
        found: list[str] = []
        groups = Hierarchy.of_this_process()
        for instance_id in os.listdir(self.chain.state / "instances"):
            for folder in groups.folders(f"/longshore/{instance_id}"):
                found += [f"group: {path}" for path in folder.glob("*") if path.is_dir() and "-" in path.name]
            with contextlib.suppress(LookupError):
                root = Path(f"/proc/{self.chain.standing(instance_id).pid}/root")
                for runs in (root / "run/longshore").glob("agent-*"):
                    found += [f"container: {path}" for path in (runs / "containers").iterdir()]
                    found += [f"crun: {path}" for path in (runs / "crun").iterdir()]
        return found


def _opened(find: Callable[[], int | None]) -> int | None:
    """The process, opened: its number may be a stranger's by the time that it is killed. None: there is none."""
    pid = find()
    if pid is None:
        return None
    try:
        opened = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if find() == pid:
        return opened
    os.close(opened)
    return None


def difference(expected: list[str], got: list[str]) -> str:
    doubled = [line for line, count in Counter(got).items() if count > 1]
    missing = [line for line in expected if line not in set(got)]
    return f"missing {missing[:5]}, doubled {doubled[:5]}, {len(got)} lines of {len(expected)}"


def logs_of(chain: Chain) -> list[Path]:
    places = [chain.server.log_path, *chain.state.glob("*.log"), *chain.state.glob("instances/*/console*")]
    return [path for path in places if path.is_file()]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m system.storm", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=100, help="moments (100)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the seed of the first")
    parser.add_argument("--jobs", type=int, default=50, help="that are under way at each (50)")
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="longshore-storm-") as folder:
        gates = Path(folder) / "gates"
        gates.mkdir()
        chain = Chain(Path(folder), *SIZES, "--share", str(gates))
        try:
            storm = Storm(chain, gates, given.jobs)
            for seed in range(given.first, given.first + given.count):
                print(f"moment {seed}: {storm.moment(seed)}, {len(storm.steps)} jobs so far", flush=True)
            storm.check()
            assert chain.end() == 0
        except BaseException:
            kept = Path(tempfile.gettempdir()) / f"longshore-storm-{os.getpid()}.log"
            kept.write_text("".join(path.read_text(errors="replace") for path in logs_of(chain)))
            print(f"FAILED; what server, supervisor and instances said is in {kept}", flush=True)
            raise
        finally:
            chain.destroy()
    seconds = time.monotonic() - began
    kills = ", ".join(f"{victim} {storm.kills[victim]}" for victim in VICTIMS)
    print(f"{given.count} moments ({kills}), {len(storm.steps)} jobs, each once, each line once: {seconds:.0f} s")
    return 0


SIZES = ("--vcpus", "64", "--memory-mib", "131072")

if __name__ == "__main__":
    sys.exit(main())
