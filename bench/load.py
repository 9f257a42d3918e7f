"""Sends requests made beforehand over kept-alive connections, as fast as they are answered. A process of its own.

Reads a plan (JSON) from standard input and writes what it saw to standard output. Each connection has one request under
way. The server's CPU time is taken from /proc at the first and the last measured moment: of all figures it depends least
on what else the machine is doing.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_STOPPED = 0  # the status of a request whose connection broke


class Plan(msgspec.Struct, frozen=True):
    host: str
    port: int
    requests: list[str]  # base64; sent one after another, then from the beginning again
    connections: int
    seconds: float
    warm_up_seconds: float
    pids: list[int]  # whose CPU time is told, with all their descendants
    count: int = 0  # that many requests, however long they take; 0: for `seconds`


class Seen(msgspec.Struct, frozen=True):
    answers: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # of the server, per request
    refused: int
    first_refusal: str  # empty: all were answered with 2xx
    client_cpu_share: float  # of one core; near 1: the client was the limit


class _Run:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.requests = [base64.b64decode(each) for each in plan.requests]
        self.next = 0
        self.left = plan.count
        self.all_answered = asyncio.Event()
        self.is_measuring = False
        self.is_over = False
        self.latencies: list[float] = []
        self.statuses: collections.Counter[int] = collections.Counter()
        self.first_refusal = ""

    def take(self) -> bytes | None:
        """None: all have been sent."""
        if self.is_over or (self.plan.count and not self.left):
            return None
        self.left -= 1
        request = self.requests[self.next]
        self.next = (self.next + 1) % len(self.requests)
        return request

    def answered(self, seconds: float, status: int, body: bytes) -> None:
        if not self.is_measuring:
            return
        self.latencies.append(seconds)
        self.statuses[status] += 1
        if len(self.latencies) == self.plan.count:
            self.all_answered.set()
        if not 200 <= status < 300 and not self.first_refusal:
            self.first_refusal = f"{status} {body[:300].decode('utf-8', 'replace')}"

    async def run(self) -> Seen:
        loop = asyncio.get_running_loop()
        self.is_measuring = self.plan.count > 0
        start, own, cpu = time.perf_counter(), time.process_time(), cpu_seconds(self.plan.pids)
        for _ in range(self.plan.connections):
            await loop.create_connection(lambda: _Connection(self), self.plan.host, self.plan.port)
        if self.plan.count:
            await self.all_answered.wait()
        else:
            await asyncio.sleep(self.plan.warm_up_seconds)
            self.is_measuring = True
            start, own, cpu = time.perf_counter(), time.process_time(), cpu_seconds(self.plan.pids)
            await asyncio.sleep(self.plan.seconds)
        self.is_measuring = False
        spent, own, cpu = time.perf_counter() - start, time.process_time() - own, cpu_seconds(self.plan.pids) - cpu
        self.is_over = True
        latencies = sorted(self.latencies) or [0.0]
        return Seen(
            answers=len(self.latencies),
            seconds=spent,
            p50_ms=latencies[len(latencies) // 2] * 1000,
            p99_ms=latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)] * 1000,
            cpu_us=cpu / max(1, len(self.latencies)) * 1e6,
            refused=sum(count for status, count in self.statuses.items() if not 200 <= status < 300),
            first_refusal=self.first_refusal,
            client_cpu_share=own / spent,
        )


class _Connection(asyncio.Protocol):
    """Reads of an answer only what tells where it ends: its length, or the last chunk."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._got = bytearray()
        self._sent_at = 0.0
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        request = self._run.take()
        if request is None:
            self._transport.close()
            return
        self._got.clear()
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        got = self._got
        got += data
        head_end = got.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(got[:head_end]).lower()
        at = head.find(b"\r\ncontent-length:")
        if at >= 0:
            end = head.find(b"\r\n", at + 2)
            length = int(head[at + 17 : end if end > 0 else len(head)])
            if len(got) < head_end + 4 + length:
                return
        elif b"\r\ntransfer-encoding: chunked" in head and not got.endswith(b"0\r\n\r\n"):
            return
        self._run.answered(time.perf_counter() - self._sent_at, int(got[9:12]), bytes(got[head_end + 4 :]))
        if b"\r\nconnection: close" in head:
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if self._run.is_over or self._run.plan.count:
            return
        if error is not None:
            self._run.answered(time.perf_counter() - self._sent_at, _STOPPED, str(error).encode())
        # A server that closes after an answer costs its clients a new connection each time; that is part of its price.
        asyncio.get_running_loop().create_task(self._again())

    async def _again(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: _Connection(self._run), self._run.plan.host, self._run.plan.port)


def cpu_seconds(pids: list[int]) -> float:
    """What the processes and all below them have used so far; those that have ended count through their parents."""
    used: dict[int, float] = {}
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # It ended while we looked.
            used[int(entry.name)] = sum(int(each) for each in fields[11:15]) / _TICKS_PER_SECOND
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    total, waiting = 0.0, list(pids)
    while waiting:
        pid = waiting.pop()
        total += used.get(pid, 0.0)
        waiting += children.get(pid, [])
    return total


def send(plan: Plan) -> Seen:
    """Runs the plan in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        cwd=Path(__file__).parent.parent,
        input=msgspec.json.encode(plan),
        stdout=subprocess.PIPE,
        check=True,
        timeout=plan.seconds + plan.warm_up_seconds + 60,
    )
    return msgspec.json.decode(done.stdout, type=Seen)


def main() -> None:
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    json.dump(msgspec.to_builtins(uvloop.run(_Run(plan).run())), sys.stdout)


if __name__ == "__main__":
    main()
