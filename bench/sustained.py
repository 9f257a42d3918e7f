"""No-op jobs in containers for minutes on end: does the rate hold, and does anything grow?

A few hundred jobs are always waiting, so that the pool is never idle and never drowned.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench import account, jobs, servers
from bench.containers import IMAGE
from bench.load import Plan, send
from bench.million import Figure
from bench.requests import prepared
from bench.servers import Server

_WAITING = 300  # jobs that are kept waiting
_LOOK_SECONDS = 1.0
_MINUTE = 60.0
_JOBS_BAR = 65  # a second, on two processors
_GROWTH_BAR = 1.1  # times what was resident after half of the minutes


class Minute(Struct, frozen=True):
    ended: int
    seconds: float
    resident: int  # bytes, of server, supervisor and agents together


def measure(folder: Path, image: Path, minutes: int, say: Callable[[str], None]) -> list[Figure]:
    """So many minutes after one to warm up. LookupError: a job failed."""
    with servers.longshore(folder, "up", "--machines", "local", "--vcpus", "8") as server:
        jobs.bring_image(server, image)
        batch = account.client(server, "batch")
        queue = batch.describe_job_queues()["jobQueues"][0]["jobQueueName"]
        account.register_definition(batch, IMAGE)
        seen: list[Minute] = []
        for number in range(minutes + 1):
            seen.append(_minute(server, batch, queue))
            say(
                f"minute {number}: {seen[-1].ended / seen[-1].seconds:.0f} jobs a second, "
                f"{seen[-1].resident / 2**20:.0f} MiB resident"
            )
    measured = seen[1:]
    ended, seconds = sum(each.ended for each in measured), sum(each.seconds for each in measured)
    # In the first minutes caches fill up to their sizes; what grows after that would grow on.
    first, middle, last = (measured[at].resident for at in (0, len(measured) // 2, -1))
    return [
        Figure(f"no-op containers for {minutes} min", ended / seconds, "a second", _JOBS_BAR, is_least=True),
        Figure("the slowest minute", min(each.ended / each.seconds for each in measured), "a second"),
        Figure("the median minute", statistics.median(each.ended / each.seconds for each in measured), "a second"),
        Figure("resident after the first minute", first / 2**20, "MiB"),
        Figure("resident after half of them", middle / 2**20, "MiB"),
        Figure("resident after the last", last / 2**20, "MiB", _GROWTH_BAR * middle / 2**20),
    ]


def _minute(server: Server, batch: Any, queue: str) -> Minute:
    begins, before = time.monotonic(), _ended(batch, queue)
    while time.monotonic() - begins < _MINUTE:
        waiting = _count(batch, queue, "RUNNABLE") + _count(batch, queue, "SUBMITTED")
        if waiting < _WAITING:
            _submit(server, queue, _WAITING - waiting)
        time.sleep(_LOOK_SECONDS)
    ended = _ended(batch, queue)
    return Minute(ended - before, time.monotonic() - begins, _resident(server))


def _submit(server: Server, queue: str, count: int) -> None:
    job = {"jobName": "no-op", "jobQueue": queue, "jobDefinition": account.DEFINITION}
    plan = Plan(
        host="127.0.0.1",
        port=server.port,
        requests=prepared(account.client(server, "batch"), "submit_job", [job]),
        connections=4,
        seconds=60,
        warm_up_seconds=0,
        pids=[],
        count=count,
    )
    seen = send(plan)
    if seen.refused:
        raise LookupError(f"{seen.refused} of {count} jobs were refused, the first with {seen.first_refusal}")


def _ended(batch: Any, queue: str) -> int:
    """The newest number of a job that has ended would not do: they end in any order. So they are counted."""
    if failed := batch.list_jobs(jobQueue=queue, jobStatus="FAILED")["jobSummaryList"]:
        raise LookupError(f"a job failed: {failed[0].get('statusReason')}")
    return _count(batch, queue, "SUCCEEDED")


def _count(batch: Any, queue: str, status: str) -> int:
    pages = batch.get_paginator("list_jobs").paginate(jobQueue=queue, jobStatus=status)
    return sum(len(page["jobSummaryList"]) for page in pages)


def _resident(server: Server) -> int:
    """Server, supervisor and agents: all processes below those that were started on this state folder."""
    lines: dict[int, tuple[int, str, int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            resident = int((entry / "statm").read_text().split()[1]) * 4096
        except (OSError, IndexError):
            continue  # It ended while we looked.
        lines[int(entry.name)] = (parent, line, resident)
    ours = {pid for pid, (_, line, _) in lines.items() if str(server.state) in line}
    grown = True
    while grown:
        below = {pid for pid, (parent, _, _) in lines.items() if parent in ours} - ours
        ours |= below
        grown = bool(below)
    return sum(lines[pid][2] for pid in ours if "longshore" in lines[pid][1])
