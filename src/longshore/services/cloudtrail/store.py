"""The trail's table: one row a block of calls (`section`), in the order in which they were begun."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import (
    Column,
    Index,
    Integer,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from longshore.services.cloudtrail import record, section
from longshore.services.cloudtrail.record import Row
from longshore.store.engine import Transaction
from longshore.store.statement import METADATA, Statement

blocks = Table(
    "cloudtrail_blocks",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("first_at", Integer, nullable=False),  # epoch milliseconds, of its earliest call
    Column("last_at", Integer, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),  # of the text
    Column("words", String, nullable=False),
    Column("text", String, nullable=False),
)
Index("cloudtrail_blocks_of", blocks.c.account, blocks.c.region, blocks.c.number)

_INSERT = Statement(
    insert(blocks).values({column.name: bindparam(column.name) for column in blocks.columns if column.name != "number"})
)
_LAST = Statement(
    select(blocks.c.number, blocks.c.calls, blocks.c.bytes, blocks.c.first_at)
    .where(blocks.c.account == bindparam("account"), blocks.c.region == bindparam("region"))
    .order_by(blocks.c.number.desc())
    .limit(1)
)
_PUT_TO = Statement(
    update(blocks)
    .where(blocks.c.number == bindparam("of"))
    .values(
        first_at=func.min(blocks.c.first_at, bindparam("first_at")),
        last_at=func.max(blocks.c.last_at, bindparam("last_at")),
        calls=blocks.c.calls + bindparam("calls"),
        bytes=blocks.c.bytes + bindparam("bytes"),
        words=blocks.c.words + func.substr(bindparam("words"), 2),
        text=blocks.c.text + literal(section.BETWEEN) + bindparam("text"),
    )
)
_CALLS = Statement(select(func.coalesce(func.sum(blocks.c.calls), 0)))
_OLDEST = Statement(
    select(blocks.c.number, blocks.c.calls, blocks.c.last_at).order_by(blocks.c.number).limit(bindparam("limit"))
)
_DELETE = Statement(delete(blocks).where(blocks.c.number <= bindparam("last")))


def _has(letter: str, value: Any = None) -> Any:
    return (
        func.instr(blocks.c.words, literal(f"\n{letter}:") + (bindparam("value") if value is None else value) + "\n")
        > 0
    )


def _has_resource_named() -> Any:
    value: Any = bindparam("value")
    words = blocks.c.words
    return or_(*(func.instr(words, literal(before) + value + "\n") > 0 for before in ("\nr:", "/", ":")))


def _is_named(resource: str, value: str) -> bool:
    """By the whole ARN, or by the name at its end."""
    return resource == value or resource.endswith((f"/{value}", f":{value}"))


# LookupEvents takes one attribute. Attribute -> which blocks may have it, and whether a call does have it.
_ATTRIBUTES: Mapping[str | None, tuple[Any, Callable[[Row, str], bool]]] = {
    None: (None, lambda row, value: True),
    "EventName": (_has("n"), lambda row, value: row.kept.name == value),
    "EventSource": (_has("s"), lambda row, value: record.source(row.kept.service) == value),
    "Username": (_has("u"), lambda row, value: row.caller.user == value),
    "AccessKeyId": (_has("k"), lambda row, value: row.caller.access_key_id == value),
    "ReadOnly": (_has("o"), lambda row, value: record.read_only(row.kept.read_only) == value),
    "ResourceName": (_has_resource_named(), lambda row, value: _is_named(row.kept.resource, value)),
    "ResourceType": (
        blocks.c.words.op("GLOB")(literal("*\nr:") + bindparam("glob")),
        lambda row, value: record.resource_type(row.kept.resource) == value,
    ),
    "EventId": (
        or_(blocks.c.number == bindparam("number"), _has("i")),
        lambda row, value: record.event_id(row) == value,
    ),
}
_AT_ONCE = 4  # blocks


def _page(condition: Any) -> Statement:
    query = select(blocks.c.number, blocks.c.text).where(
        blocks.c.account == bindparam("account"),
        blocks.c.region == bindparam("region"),
        blocks.c.number <= bindparam("newest"),
        blocks.c.last_at >= bindparam("start"),
        blocks.c.first_at <= bindparam("end"),
    )
    if condition is not None:
        query = query.where(condition)
    return Statement(query.order_by(blocks.c.number.desc()).limit(_AT_ONCE))


_PAGES: dict[str | None, Statement] = {name: _page(condition) for name, (condition, _) in _ATTRIBUTES.items()}


def add(transaction: Transaction, draft: section.Draft) -> None:
    """Puts the calls to the last block of their account and region, or begins another."""
    text, words = draft.text(), draft.words()
    parameters: dict[str, Any] = {
        "first_at": draft.first_at,
        "last_at": draft.last_at,
        "calls": len(draft),
        "bytes": len(text),
        "words": words,
        "text": text,
    }
    last = transaction.one(_LAST, account=draft.account, region=draft.region)
    if last is not None and section.goes_to(draft, calls=last[1], size=last[2] + len(text), first_at=last[3]):
        transaction.run(_PUT_TO, of=last[0], **parameters)
    else:
        transaction.insert(_INSERT, account=draft.account, region=draft.region, **parameters)


_TRIMMED_AT_ONCE = 64  # blocks


def trim(transaction: Transaction, *, kept: int, oldest: int) -> int:
    """The oldest blocks go that are not needed for the newest `kept` calls, or whose calls were all made before `oldest`.

    Some of them, if they are many. How many calls went.
    """
    (calls,) = transaction.one(_CALLS)
    gone, last = 0, None
    for number, of_block, last_at in transaction.all(_OLDEST, limit=_TRIMMED_AT_ONCE):
        if last_at >= oldest and calls - gone - of_block < kept:
            break
        gone, last = gone + of_block, number
    if last is not None:
        transaction.run(_DELETE, last=last)
    return gone


def look_up(
    transaction: Transaction,
    attribute: str | None,
    value: str,
    *,
    account: str,
    region: str,
    start: int,
    end: int,
    before: int,
    limit: int,
) -> list[Row]:
    """Calls from `start` to `end`, in epoch milliseconds, with a sequence less than `before`; the newest first."""
    if attribute == "ResourceType" and value not in record.RESOURCE_TYPES:
        return []
    found: list[Row] = []
    has = _ATTRIBUTES[attribute][1]
    for row in _rows(
        transaction, attribute, value, account=account, region=region, start=start, end=end, before=before
    ):
        if row.sequence < before and start <= row.kept.at <= end and has(row, value):
            found.append(row)
            if len(found) == limit:
                break
    return found


def _rows(
    transaction: Transaction, attribute: str | None, value: str, *, account: str, region: str, before: int, **more: int
) -> Iterator[Row]:
    """Of all blocks that may have what is looked for."""
    parameters: dict[str, Any] = {"account": account, "region": region, **more}
    if attribute is not None:
        parameters["value"] = value
    if attribute == "ResourceType":
        parameters["glob"] = record.RESOURCE_TYPES[value]
    if attribute == "EventId":
        of = record.sequence_of(value)
        parameters["number"] = -1 if of is None else section.number(of)
    newest = section.number(before)
    while True:
        page = transaction.all(_PAGES[attribute], newest=newest, **parameters)
        for number, text in page:
            yield from section.rows(number, text, account, region)
        if len(page) < _AT_ONCE:
            return
        newest = page[-1][0] - 1


def is_known(attribute: str) -> bool:
    return attribute in _ATTRIBUTES
