"""Writing and reading log events."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from longshore.aws.clock import milliseconds
from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.logs import rules, store
from longshore.services.logs.operations.groups import existing, named
from longshore.services.logs.operations.streams import existing_stream

_EVENTS_MAX = 10_000
_ANSWER_BYTES_MAX = 1_048_576  # API reference, GetLogEvents: as many events as fit in 1 MB, up to 10,000.
_ALWAYS = 1 << 62


@operation
def put_log_events(call: Call, request: Request) -> Response:
    """Keeps the events; those too old or too new are left out and told of, as AWS does."""
    events = request["logEvents"]
    rules.check_batch(events)
    group = existing(call, request["logGroupName"])
    stream = existing_stream(call, group, request["logStreamName"])
    now = milliseconds(call.now)
    oldest, newest = now - rules.TOO_OLD_MS, now + rules.TOO_NEW_MS
    too_old = sum(event["timestamp"] < oldest for event in events)
    too_new = sum(event["timestamp"] > newest for event in events)
    kept = [(e["timestamp"], e["message"]) for e in events if oldest <= e["timestamp"] <= newest]
    if kept:
        store.add_events(call.transaction, stream, kept, now)
        stream = replace(
            stream,
            first_event_ms=min(kept[0][0], _ALWAYS if stream.first_event_ms is None else stream.first_event_ms),
            last_event_ms=max(kept[-1][0], stream.last_event_ms or 0),
            last_ingestion_ms=now,
            next_sequence=stream.next_sequence + len(kept),
            bytes_written=stream.bytes_written + sum(len(message.encode()) for _, message in kept),
        )
        store.save_stream(call.transaction, stream)
    response: Response = {"nextSequenceToken": f"{stream.next_sequence:056d}"}
    if too_old or too_new:
        rejected: dict[str, int] = {}
        if too_old:
            rejected["tooOldLogEventEndIndex"] = too_old
        if too_new:
            rejected["tooNewLogEventStartIndex"] = len(events) - too_new
        response["rejectedLogEventsInfo"] = rejected
    return response


@operation
def get_log_events(call: Call, request: Request) -> Response:
    """A page of one stream, and the tokens of the pages before and after it.

    At the end of the stream the token that comes back is the token that was sent: so clients know that they are there.
    Without `startFromHead` the newest events come first asked, in their order of time.
    """
    group = named(call, request)
    stream = existing_stream(call, group, request["logStreamName"])
    limit = request.get("limit") or _EVENTS_MAX
    bounds = {"start": request.get("startTime") or 0, "end": request.get("endTime") or _ALWAYS, "limit": limit}
    token = request.get("nextToken")
    if token is not None:
        direction, at, number = _place(token)
    elif request.get("startFromHead"):
        direction, at, number = "f", -1, -1
    else:
        direction, at, number = "b", _ALWAYS, 0
    if direction == "f":
        rows = _fitting(store.events_after(call.transaction, stream, at, number, **bounds))
    else:
        rows = _fitting(store.events_before(call.transaction, stream, at, number, **bounds)[::-1])[::-1]
    first, last = ((rows[0][0], rows[0][1]), (rows[-1][0], rows[-1][1])) if rows else _edges(direction, at, number)
    return {
        "events": [
            {"timestamp": at, "message": message, "ingestionTime": ingested} for at, _, ingested, message in rows
        ],
        "nextForwardToken": _token("f", *last),
        "nextBackwardToken": _token("b", *first),
    }


@operation
def filter_log_events(call: Call, request: Request) -> Response:
    """All streams of a group in order of time. Filter patterns are not offered: without one all events match."""
    if request.get("filterPattern"):
        raise AwsError("InvalidParameterException", "Filter patterns are not offered by this endpoint.")
    group = named(call, request)
    names = request.get("logStreamNames")
    prefix = request.get("logStreamNamePrefix") or ""
    start, end = request.get("startTime") or 0, request.get("endTime") or _ALWAYS
    limit = request.get("limit") or _EVENTS_MAX
    found: list[tuple[int, str, int, int, str]] = []
    for stream in store.streams_by_name(call.transaction, group, prefix):
        if names is None or stream.name in names:
            rows = store.events_after(call.transaction, stream, -1, -1, start=start, end=end + 1, limit=limit)
            found += [(at, stream.name, number, ingested, message) for at, number, ingested, message in rows]
    found.sort()
    return {
        "events": [
            {
                "logStreamName": name,
                "timestamp": at,
                "message": message,
                "ingestionTime": ingested,
                "eventId": f"{at:020d}{number:036d}",
            }
            for at, name, number, ingested, message in found[:limit]
        ],
        "searchedLogStreams": [],
    }


def _fitting(rows: list[Any]) -> list[Any]:
    """As many as an answer may hold, from the beginning; at least one."""
    size = 0
    for count, row in enumerate(rows):
        size += len(row[3]) + rules.EVENT_OVERHEAD_BYTES
        if size > _ANSWER_BYTES_MAX and count:
            return rows[:count]
    return rows


def _edges(direction: str, at: int, number: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where an empty page lies: both its tokens name the place that was asked for."""
    if direction == "f":
        return (at, number + 1), (at, number)
    return (at, number), (at, number - 1)


def _token(direction: str, at: int, number: int) -> str:
    return f"{direction}/{at + 1:020d}{number + 2:036d}"


def _place(token: str) -> tuple[str, int, int]:
    digits = token[2:]
    if token[:2] not in ("f/", "b/") or len(digits) != 56 or not digits.isdigit():
        raise AwsError("InvalidParameterException", "The specified nextToken is invalid.")
    return token[0], int(digits[:20]) - 1, int(digits[20:]) - 2
