"""Writing and reading log events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from longshore.aws.clock import milliseconds
from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.logs import patterns, repeats, rules, store
from longshore.services.logs.operations.groups import existing, named
from longshore.services.logs.operations.streams import existing_stream
from longshore.services.logs.records import LogGroup

_EVENTS_MAX = 10_000
_ANSWER_BYTES_MAX = 1_048_576  # API reference, GetLogEvents: as many events as fit in 1 MB, up to 10,000.
_ALWAYS = 1 << 62


@operation
def put_log_events(call: Call, request: Request) -> Response:
    """Keeps the events; those too old or too new are left out and told of, as AWS does.

    What an agent of ours sends a second time, since it has heard no answer, is kept once: `repeats`.
    """
    events = request["logEvents"]
    rules.check_batch(events)
    group = existing(call, request["logGroupName"])
    stream = existing_stream(call, group, request["logStreamName"])
    now = milliseconds(call.now)
    oldest, newest = now - rules.TOO_OLD_MS, now + rules.TOO_NEW_MS
    kept_from = max(oldest, rules.oldest_kept_ms(now, group.retention_days))
    too_old = sum(event["timestamp"] < oldest for event in events)
    expired = sum(event["timestamp"] < kept_from for event in events)  # those too old among them
    too_new = sum(event["timestamp"] > newest for event in events)
    batch = repeats.stretch(request.get("sequenceToken"))
    there = batch.there(stream.positions.get(batch.writer, 0), len(events)) if batch is not None else 0
    kept = [(e["timestamp"], e["message"]) for e in events[there:] if kept_from <= e["timestamp"] <= newest]
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
    if batch is not None:
        stream = replace(stream, positions=repeats.moved(stream.positions, batch))
    if there < len(events) and (kept or batch is not None):
        store.save_stream(call.transaction, stream)
    response: Response = {"nextSequenceToken": f"{stream.next_sequence:056d}"}
    if expired or too_new:
        rejected: dict[str, int] = {}
        if too_old:
            rejected["tooOldLogEventEndIndex"] = too_old
        if expired > too_old:
            rejected["expiredLogEventEndIndex"] = expired
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
    bounds = {
        "start": max(request.get("startTime") or 0, rules.oldest_kept_ms(milliseconds(call.now), group.retention_days)),
        "end": _ALWAYS if request.get("endTime") is None else request["endTime"],
        "limit": request.get("limit") or _EVENTS_MAX,
    }
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
    if rows:
        first, last = (rows[0][0], rows[0][1]), (rows[-1][0], rows[-1][1])
    elif token is None:
        # Nothing yet: what is written from now on lies behind the forward token, whatever its time.
        first = last = (-1, -1)
    else:
        first, last = _edges(direction, at, number)
    return {
        "events": [
            {"timestamp": at, "message": message, "ingestionTime": ingested} for at, _, ingested, message in rows
        ],
        "nextForwardToken": _token("f", *last),
        "nextBackwardToken": _token("b", *first),
    }


@operation
def filter_log_events(call: Call, request: Request) -> Response:
    """Events of all streams of a group, or of those named, in the order of time; what a pattern passes.

    A page may be empty and yet have a token: it looks at no more than so many events.
    """
    names, prefix = request.get("logStreamNames"), request.get("logStreamNamePrefix")
    if names and prefix:
        raise AwsError(
            "InvalidParameterException",
            "logStreamNames and logStreamNamePrefix are mutually exclusive parameters.",
        )
    if request.get("startFromHead") is False:
        raise AwsError("InvalidParameterException", "The newest events first are not offered by this endpoint.")
    try:
        test = patterns.compiled(request.get("filterPattern") or "")
    except patterns.NotOffered:
        raise AwsError("InvalidParameterException", "Invalid filter pattern") from None
    group = named(call, request)
    now = milliseconds(call.now)
    start = max(request.get("startTime") or 0, rules.oldest_kept_ms(now, group.retention_days))
    end = _ALWAYS if request.get("endTime") is None else request["endTime"]
    after = _filter_place(request.get("nextToken"))
    if names:
        rows = _of_named(call, group, names, after, start=start, end=end)
    else:
        rows = store.events_across(
            call.transaction, group, after, prefix=prefix or "", start=start, end=end, limit=_EVENTS_MAX + 1
        )
    shown: list[Response] = []
    limit, size, last = request.get("limit") or _EVENTS_MAX, 0, None
    for looked_at, row in enumerate(rows):
        size += len(row[5].encode()) + rules.EVENT_OVERHEAD_BYTES
        if len(shown) == limit or looked_at == _EVENTS_MAX or (size > _ANSWER_BYTES_MAX and looked_at):
            break
        last = row
        if test(row[5]):
            shown.append(_filtered(row))
    else:
        last = None  # All have been looked at: there is no more.
    response: Response = {"events": shown, "searchedLogStreams": []}
    if last is not None:
        response["nextToken"] = f"{last[2]:020d}{last[1]:018d}{last[3]:018d}"
    return response


def _of_named(
    call: Call, group: LogGroup, names: Sequence[str], after: tuple[int, int, int], *, start: int, end: int
) -> list[Any]:
    """As `store.events_across`, of the streams of these names. ResourceNotFoundException: one is not there."""
    at, key, number = after
    found: list[Any] = []
    for name in dict.fromkeys(names):
        stream = existing_stream(call, group, name)
        # At the very time of the place, streams of lower keys have been shown, those of higher ones not yet.
        behind = number if stream.key == key else _ALWAYS if stream.key < key else -1
        rows = store.events_after(
            call.transaction, stream, at, behind, start=start, end=min(end + 1, _ALWAYS), limit=_EVENTS_MAX + 1
        )
        found += [(name, stream.key, *row) for row in rows]
    found.sort(key=lambda row: (row[2], row[1], row[3]))
    return found[: _EVENTS_MAX + 1]


def _filtered(row: Any) -> Response:
    name, key, at, number, ingested, message = row
    return {
        "logStreamName": name,
        "timestamp": at,
        "message": message,
        "ingestionTime": ingested,
        "eventId": f"{at:020d}{key:018d}{number:018d}",
    }


def _filter_place(token: str | None) -> tuple[int, int, int]:
    if token is None:
        return -1, -1, -1
    if len(token) != 56 or not (token.isascii() and token.isdigit()):
        raise AwsError("InvalidParameterException", "The specified nextToken is invalid.")
    return int(token[:20]), int(token[20:38]), int(token[38:])


def _fitting(rows: list[Any]) -> list[Any]:
    """As many as an answer may hold, from the beginning; at least one."""
    size = 0
    for count, row in enumerate(rows):
        size += len(row[3].encode()) + rules.EVENT_OVERHEAD_BYTES
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
    if token[:2] not in ("f/", "b/") or len(digits) != 56 or not (digits.isascii() and digits.isdigit()):
        raise AwsError("InvalidParameterException", "The specified nextToken is invalid.")
    return token[0], int(digits[:20]) - 1, int(digits[20:]) - 2
