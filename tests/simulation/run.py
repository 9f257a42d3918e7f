"""One seed: a house is set up, jobs are submitted while faults strike, then it is left in peace until all have ended.

python -m simulation.run [--from SEED] [--count N] [--jobs N] [--harsh] [--processes P]      (from the folder tests)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from longshore.services.batch import children
from simulation.invariants import LOG, Submission, Watch, summary
from simulation.world import HARSH, HARSH_KINDS, MILD_KINDS, POLICY, TRUST, Faults, ServerDown, World

# Many small seeds find more than few large ones: what goes wrong is mostly between a few things that happen close together.
_JOBS = (2, 11)
_SECONDS_BETWEEN_JOBS = 3.0
_FAULTS_SECONDS = 15.0  # that go on after the last job was submitted, at least
_LATE_SECONDS = 10.0  # two tries of `late_logs`, and less than an idle instance is kept
_PEACE_SECONDS = 3600.0  # by then everything has ended, or never will
_PORTION = 10  # seeds that a process takes at once
_TOLD_SECONDS = 20.0


class Outcome(Struct, frozen=True):
    seed: int
    steps: int
    struck: dict[str, int]  # kind of fault -> how often
    jobs: dict[str, Any]


def run(seed: int, *, jobs: int | None = None, faults: Faults | None = None) -> Outcome:
    """`jobs` None: a few, by the seed. AssertionError: an invariant broke; the message begins with the seed."""
    jobs = random.Random(f"jobs {seed}").randint(*_JOBS) if jobs is None else jobs
    watch = Watch()
    portions = children.ROWS_AT_ONCE, children.CHILDREN_AT_ONCE
    # Small as its arrays are, deaths fall between their portions.
    children.ROWS_AT_ONCE = children.CHILDREN_AT_ONCE = 2
    world = World(seed, faults or Faults(), on_change=lambda: watch.world and watch.check())
    try:
        world.run(_set_up(world))
        watch.world = world
        world.strike()
        world.run(_live(world, watch, jobs))
        world.spare()
        world.run(_until_all_ended(world, watch))
        watch.check_end()
        world.run(_until_all_given_back(world))
        return Outcome(seed, watch.steps, dict(world.struck), summary(watch))
    except AssertionError as broken:
        raise AssertionError(f"seed {seed}: {broken}") from broken
    finally:
        children.ROWS_AT_ONCE, children.CHILDREN_AT_ONCE = portions
        world.close()


async def _set_up(world: World) -> None:
    """The page's four commands, an environment, a queue, a definition."""
    await world.call("iam", "CreateRole", {"RoleName": "ecsInstanceRole", "AssumeRolePolicyDocument": TRUST})
    await world.call("iam", "CreateInstanceProfile", {"InstanceProfileName": "ecsInstanceRole"})
    both = {"InstanceProfileName": "ecsInstanceRole", "RoleName": "ecsInstanceRole"}
    await world.call("iam", "AddRoleToInstanceProfile", both)
    await world.call("iam", "AttachRolePolicy", {"RoleName": "ecsInstanceRole", "PolicyArn": POLICY})
    subnets = (await world.call("ec2", "DescribeSubnets", {}))["Subnets"]
    groups = (await world.call("ec2", "DescribeSecurityGroups", {}))["SecurityGroups"]
    await world.call(
        "batch",
        "CreateComputeEnvironment",
        {
            "computeEnvironmentName": "sea",
            "type": "MANAGED",
            "computeResources": {
                "type": "EC2",
                "minvCpus": 0,
                "maxvCpus": 6,
                "instanceTypes": ["c6i.large"],
                "subnets": [subnets[0]["SubnetId"]],
                "securityGroupIds": [groups[0]["GroupId"]],
                "instanceRole": "ecsInstanceRole",
            },
        },
    )
    await _until(world, "DescribeComputeEnvironments", "computeEnvironments")
    await world.call(
        "batch",
        "CreateJobQueue",
        {
            "jobQueueName": "harbour",
            "priority": 1,
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "sea"}],
        },
    )
    await _until(world, "DescribeJobQueues", "jobQueues")
    await world.call(
        "batch",
        "RegisterJobDefinition",
        {
            "jobDefinitionName": "work",
            "type": "container",
            "containerProperties": {"image": "busybox", "vcpus": 1, "memory": 256, "command": ["true"]},
        },
    )


async def _until(world: World, operation: str, member: str) -> None:
    while (await world.call("batch", operation, {}))[member][0]["status"] != "VALID":
        await asyncio.sleep(0.1)


async def _live(world: World, watch: Watch, jobs: int) -> None:
    """Submits jobs at random moments, calls some of them off, and asks now and then why they wait."""
    random = world.random
    for _ in range(jobs):
        await asyncio.sleep(random.expovariate(1 / _SECONDS_BETWEEN_JOBS))
        submission = _submission(world, watch)
        with contextlib.suppress(ServerDown):
            # Not acknowledged: it may be there or not.
            job_id = (await world.call("batch", "SubmitJob", _request(world, submission)))["jobId"]
            watch.acknowledged[job_id] = submission
        if watch.acknowledged and random.random() < 0.15:
            called_off = _one_of(world, watch, random.choice(sorted(watch.acknowledged)))
            operation = random.choice(("CancelJob", "TerminateJob"))
            with contextlib.suppress(ServerDown):
                await world.call("batch", operation, {"jobId": called_off, "reason": "no longer needed"})
        if random.random() < 0.2:
            with contextlib.suppress(ServerDown):
                await watch.check_reasons()
    await asyncio.sleep(random.uniform(1, 2) * _FAULTS_SECONDS)


def _submission(world: World, watch: Watch) -> Submission:
    """A job or, now and then, an array, which may depend on what was submitted before."""
    random = world.random
    there = sorted(watch.acknowledged)
    chosen = random.sample(there, min(len(there), random.choice((0, 0, 0, 1, 2))))
    parents = tuple(_one_of(world, watch, job_id) for job_id in chosen)
    if random.random() >= 0.2:
        return Submission(parents)
    size = random.choice((2, 2, 3, 3, 5))
    alike = [job_id for job_id in there if watch.acknowledged[job_id].size == size]
    counterparts = tuple(random.sample(alike, min(len(alike), random.choice((0, 1, 1, 2)))))
    return Submission(parents if random.random() < 0.3 else (), size, random.random() < 0.3, counterparts)


def _one_of(world: World, watch: Watch, job_id: str) -> str:
    """The job, or, of an array, now and then one of its children."""
    size = watch.acknowledged[job_id].size
    if size is None or world.random.random() < 0.5:
        return job_id
    return f"{job_id}:{world.random.randrange(size)}"


def _request(world: World, submission: Submission) -> dict[str, Any]:
    random = world.random
    codes = ",".join(str(random.choice((0, 0, 1, 3))) for _ in range(random.randint(1, 3)))
    said = {
        "LONGSHORE_EXIT_CODE": codes,
        "LONGSHORE_RUN_SECONDS": f"{random.choice((0.0, 0.5, 3.0, random.uniform(0, 40), 100.0)):.2f}",
        "LONGSHORE_STOP": random.choice(("143", "0", "ignore")),
        "LONGSHORE_LOG": "\\n".join(LOG),
    }
    if random.random() < 0.05:
        said["LONGSHORE_PULL_ERROR"] = "no such image"
    request: dict[str, Any] = {
        "jobName": "job",
        "jobQueue": "harbour",
        "jobDefinition": "work",
        "containerOverrides": {
            "environment": [{"name": name, "value": value} for name, value in said.items()],
            "resourceRequirements": [
                {"type": "VCPU", "value": random.choice(("1", "1", "2"))},
                {"type": "MEMORY", "value": random.choice(("128", "512", "2048"))},
            ],
        },
        "retryStrategy": {"attempts": random.randint(1, 3)},
        "dependsOn": [{"jobId": parent} for parent in submission.parents],
    }
    if submission.size is not None:
        request["arrayProperties"] = {"size": submission.size}
        request["dependsOn"] += [{"jobId": each, "type": "N_TO_N"} for each in submission.counterparts]
        if submission.is_sequential:
            request["dependsOn"].append({"type": "SEQUENTIAL"})
    if random.random() < 0.2:
        request["timeout"] = {"attemptDurationSeconds": 60}
    return request


async def _until_all_ended(world: World, watch: Watch) -> None:
    end = world.loop.time() + _PEACE_SECONDS
    while world.loop.time() < end:
        if world.trouble is not None:
            raise world.trouble
        if world._is_up and watch.all_ended():
            # What an ended container wrote and could not send is tried again after some seconds.
            await asyncio.sleep(_LATE_SECONDS)
            return
        await asyncio.sleep(5.0)
    await watch.check_reasons()


async def _until_all_given_back(world: World) -> None:
    """Instances without work go: one that nobody knows would stay for ever."""
    end = world.loop.time() + _PEACE_SECONDS
    while await world.machines.list():
        assert world.loop.time() < end, f"instances that nobody gives back: {await world.machines.list()}"
        await asyncio.sleep(5.0)


class Portion(Struct, frozen=True):
    seeds: range
    jobs: int | None
    is_harsh: bool


class Told(Struct):
    seeds: range
    steps: int = 0
    struck: Counter[str] = msgspec.field(default_factory=Counter)
    failures: dict[int, str] = {}


def run_portion(portion: Portion) -> Told:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    told = Told(portion.seeds)
    for seed in portion.seeds:
        try:
            outcome = run(seed, jobs=portion.jobs, faults=HARSH if portion.is_harsh else None)
            told.steps += outcome.steps
            told.struck.update(outcome.struck)
        except Exception as error:
            told.failures[seed] = repr(error)
    return told


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation.run")
    parser.add_argument(
        "--from", dest="first", type=int, default=0, help="the first seed; a run that was cut short goes on so"
    )
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--jobs", type=int, help="of each seed; by default a few, by the seed")
    parser.add_argument("--harsh", action="store_true", help="clock jumps, late and reordered requests, older agents")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    began, end = time.monotonic(), given.first + given.count
    steps, struck, failures = 0, Counter[str](), dict[int, str]()
    portions = [
        Portion(range(first, min(first + _PORTION, end)), given.jobs, given.harsh)
        for first in range(given.first, end, _PORTION)
    ]
    with contextlib.ExitStack() as stack:
        if given.processes > 1:
            # Each process anew after a while: what a seed leaves in caches must not add up over 100,000 of them.
            spawn = multiprocessing.get_context("spawn")
            pool = stack.enter_context(spawn.Pool(given.processes, maxtasksperchild=100))
            outcomes: Iterator[Told] = pool.imap(run_portion, portions)  # In order, so that it can be gone on with.
        else:
            outcomes = map(run_portion, portions)
        told_at = began
        for told in outcomes:
            steps += told.steps
            struck.update(told.struck)
            failures |= told.failures
            for seed, error in told.failures.items():
                print(f"FAILED seed {seed}: {error}", flush=True)
            if time.monotonic() - told_at > _TOLD_SECONDS:
                told_at = time.monotonic()
                done = told.seeds.stop - given.first
                left = (told_at - began) / done * (given.count - done)
                print(
                    f"{done} of {given.count} seeds, {len(failures)} failed, {left / 60:.0f} minutes left; "
                    f"goes on with --from {told.seeds.stop} --count {given.count - done}",
                    flush=True,
                )
    for kind, count in sorted(struck.items()):
        print(f"{count:10} {kind}")
    missing = (HARSH_KINDS if given.harsh else MILD_KINDS) - struck.keys()
    for kind in sorted(missing):
        print(f"     never {kind}")
    print(
        f"{given.count} seeds, {steps} steps, {len(failures)} failed{', harsh' if given.harsh else ''}, "
        f"{time.monotonic() - began:.0f} s"
    )
    if failures:
        print(f"failed: {' '.join(map(str, sorted(failures)))}")
    return 1 if failures or (missing and given.count >= _PORTION) else 0


if __name__ == "__main__":
    sys.exit(main())
