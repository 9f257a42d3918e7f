"""What the record of calls costs: the same server with it and without it, alternately."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench import account, servers
from bench.load import Plan, Seen, send
from bench.million import Figure
from bench.requests import prepared

ROUNDS_AT_LEAST = 5  # of a few seconds: what is looked for is a difference of some hundredths
_CONNECTIONS = 8
_LOSS_MAX = 15  # % of the requests a second
_LOADS = (
    ("sts GetCallerIdentity", "sts", "get_caller_identity", [{}] * 16),
    ("iam GetRole", "iam", "get_role", [{"RoleName": account.ROLE}] * 16),
)


def measure(
    folder: Path, rounds: int, seconds: float, warm_up_seconds: float, say: Callable[[str], None]
) -> list[Figure]:
    figures: list[Figure] = []
    with ExitStack() as stack:
        with_it = stack.enter_context(servers.longshore(folder / "with"))
        without = stack.enter_context(servers.longshore(folder / "without", module="bench.without_trail"))
        callers = {server.pid: account.make_caller(server) for server in (with_it, without)}
        for title, service, operation, parameters in _LOADS:
            seen: dict[int, list[Seen]] = {with_it.pid: [], without.pid: []}
            for number in range(rounds):
                say(f"{title} with and without the record of calls, round {number + 1} of {rounds}")
                for server in (with_it, without):
                    client = account.client(server, service, callers[server.pid])
                    seen[server.pid].append(
                        send(
                            Plan(
                                host="127.0.0.1",
                                port=server.port,
                                requests=prepared(client, operation, parameters),
                                connections=_CONNECTIONS,
                                seconds=seconds,
                                warm_up_seconds=warm_up_seconds,
                                pids=[server.pid],
                            )
                        )
                    )
            # Each round with its own neighbour: the machine is not the same all the time.
            pairs = list(zip(seen[with_it.pid], seen[without.pid], strict=True))
            loss = statistics.median(1 - (a.answers / a.seconds) / (b.answers / b.seconds) for a, b in pairs)
            cpu = statistics.median(a.cpu_us - b.cpu_us for a, b in pairs)
            figures += [
                Figure(f"{title}: lost to the record of calls", loss * 100, "%", bar=_LOSS_MAX),
                Figure(f"{title}: CPU of the record", cpu, "us"),
            ]
    return figures
