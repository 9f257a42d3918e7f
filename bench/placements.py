"""Placements a second: RUNNABLE jobs that get their place, their task and their agent's word, on machines of memory.

A placement is a job that was RUNNABLE and is STARTING, with the row of its task durable, and the task acknowledged by the agent
of its instance. The jobs wait in a queue whose environment is DISABLED and whose instances are up; it is enabled, and they all
find room at once. Their images take an hour to come, so that nothing but placing is measured. And the whole life: jobs that
end at once, from SubmitJob to SUCCEEDED.

What has come about is read from the server's database beside it: asking the server would cost it what is measured.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import account, servers
from bench.load import Plan, cpu_seconds, send
from bench.million import Figure
from bench.requests import prepared
from bench.servers import Server

JOBS = 5_000
_SPARE = 256  # vCPUs beyond what the jobs take: the largest instance may stay half empty
_NAME = "default"  # of the environment and of the queue that `longshore up` brings along
_LOOK_SECONDS = 0.02
_SECONDS_MAX = 300
_STARTING, _SUCCEEDED = 3, 5  # as the database has them
_WAITS = "placed"  # the definition of jobs that are placed and go no further
_ENDS = "no-op"


def measure(folder: Path, count: int, say: Callable[[str], None]) -> list[Figure]:
    vcpus = count + 2 * _SPARE
    offered = ("--vcpus", str(vcpus), "--memory-mib", str(4096 * vcpus))
    with servers.longshore(folder, "up", "--machines", "memory", *offered) as server:
        batch = account.client(server, "batch")
        batch.update_compute_environment(
            computeEnvironment=_NAME, computeResources={"minvCpus": count + _SPARE, "maxvCpus": count + _SPARE}
        )
        for name, script in ((_WAITS, {"LONGSHORE_PULL_SECONDS": "3600"}), (_ENDS, {})):
            _define(batch, name, script)
        seen = _Seen(server)
        account.until(lambda: seen.vcpus_connected() >= count + _SPARE, _SECONDS_MAX)
        figures = [*_placements(server, batch, seen, count, say), *_lives(server, batch, seen, count, say)]
        seen.close()
    return figures


def _placements(server: Server, batch: Any, seen: _Seen, count: int, say: Callable[[str], None]) -> list[Figure]:
    batch.update_compute_environment(computeEnvironment=_NAME, state="DISABLED")
    _submit(server, batch, _WAITS, count)
    account.until(lambda: seen.jobs(2) == count, _SECONDS_MAX)
    time.sleep(2)  # What was recorded of the submissions is written by then.
    say(f"{count:,} jobs wait")
    began, cpu = time.perf_counter(), cpu_seconds([server.pid])
    batch.update_compute_environment(computeEnvironment=_NAME, state="ENABLED")
    _await(lambda: seen.jobs(_STARTING) == count)
    started = time.perf_counter() - began
    _await(lambda: seen.acknowledged() == count)
    acknowledged, spent = time.perf_counter() - began, cpu_seconds([server.pid]) - cpu
    return [
        Figure("placements: STARTING, their tasks durable", count / started, "a second", 5_000, is_least=True),
        Figure("placements: acknowledged by their agents", count / acknowledged, "a second"),
        Figure("each placement, its agent's part included", spent / count * 1e6, "us of CPU"),
    ]


def _lives(server: Server, batch: Any, seen: _Seen, count: int, say: Callable[[str], None]) -> list[Figure]:
    """On instances of their own: those of before are full but for the rest."""
    say(f"{count:,} jobs that end at once")
    before, began, cpu = seen.jobs(_SUCCEEDED), time.perf_counter(), cpu_seconds([server.pid])
    _submit(server, batch, _ENDS, count)
    _await(lambda: seen.jobs(_SUCCEEDED) == before + count)
    spent, used = time.perf_counter() - began, cpu_seconds([server.pid]) - cpu
    return [
        Figure("no-op jobs, from SubmitJob to SUCCEEDED", count / spent, "a second"),
        Figure("each of them, its agent's part included", used / count * 1e6, "us of CPU"),
    ]


def _define(batch: Any, name: str, script: dict[str, str]) -> None:
    """Without logs, where nothing runs that could write one."""
    driver = {"logConfiguration": {"logDriver": "json-file"}} if script else {}
    batch.register_job_definition(
        jobDefinitionName=name,
        type="container",
        containerProperties={
            "image": "busybox:bench",
            "command": ["true"],
            "environment": [{"name": key, "value": value} for key, value in script.items()],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
            **driver,
        },
    )


def _submit(server: Server, batch: Any, definition: str, count: int) -> None:
    job = {"jobName": definition, "jobQueue": _NAME, "jobDefinition": definition}
    plan = Plan(
        host="127.0.0.1",
        port=server.port,
        requests=prepared(batch, "submit_job", [job]),
        connections=64,
        seconds=_SECONDS_MAX,
        warm_up_seconds=0,
        pids=[],
        count=count,
    )
    seen = send(plan)
    if seen.refused:
        raise LookupError(f"{seen.refused} of {count} jobs were refused, the first with {seen.first_refusal}")


def _await(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS_MAX
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"it did not come about within {_SECONDS_MAX} s")
        time.sleep(_LOOK_SECONDS)


class _Seen:
    """What stands in the server's database, read without the server."""

    def __init__(self, server: Server) -> None:
        self._database = sqlite3.connect(f"file:{server.state / 'longshore.db'}?mode=ro", uri=True)

    def jobs(self, status: int) -> int:
        return self._count("SELECT count(*) FROM batch_jobs WHERE queue = 1 AND status = ?", status)

    def acknowledged(self) -> int:
        return self._count("SELECT count(*) FROM ecs_tasks WHERE acknowledged = ?", "RUNNING")

    def vcpus_connected(self) -> int:
        return self._count(
            "SELECT coalesce(sum(json_extract(CAST(document AS TEXT), '$.cpu')), 0) / 1024 FROM batch_instances"
            " WHERE json_extract(CAST(document AS TEXT), '$.connected') AND 1 = ?",
            1,
        )

    def _count(self, sql: str, value: str | int) -> int:
        (found,) = self._database.execute(sql, (value,)).fetchone()
        return int(found)

    def close(self) -> None:
        self._database.close()
