"""A program that writes rows, says so, and is killed. Run by test_crash.py: `python writing_until_killed.py PATH SEED`.

Each line of its output is a number that it was acknowledged.
"""

from __future__ import annotations

import asyncio
import random
import sys
from functools import partial
from pathlib import Path

from sqlalchemy import Column, Integer, LargeBinary, Table, bindparam, func, insert, select

from longshore.store import outbox
from longshore.store.engine import SqliteStore, Transaction, open_store
from longshore.store.statement import METADATA, Statement

written = Table(
    "test_written",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("half", Integer, primary_key=True),
    Column("body", LargeBinary),
)
ADD = Statement(insert(written).values(number=bindparam("number"), half=bindparam("half"), body=bindparam("body")))
LAST = Statement(select(func.coalesce(func.max(written.c.number), 0)))
ALL = Statement(select(written.c.number, written.c.half).order_by(written.c.number, written.c.half))


def write(transaction: Transaction, number: int, body: bytes) -> None:
    """Two rows and an event: all three or none."""
    transaction.run(ADD, number=number, half=1, body=body)
    outbox.append(transaction, "written", str(number).encode())
    transaction.run(ADD, number=number, half=2, body=body)


async def writer(store: SqliteStore, numbers: list[int], chance: random.Random) -> None:
    while True:
        numbers[0] += 1
        number = numbers[0]
        body = chance.randbytes(chance.choice((1, 100, 5000)))
        await store.write(partial(write, number=number, body=body))
        print(number, flush=True)


async def main(path: Path, seed: int) -> None:
    store = open_store(path)
    chance = random.Random(seed)
    numbers = [store.read(lambda t: int(t.one(LAST)[0]))]
    await asyncio.gather(*(writer(store, numbers, chance) for _ in range(16)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
