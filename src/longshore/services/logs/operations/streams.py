"""Log streams."""

from __future__ import annotations

from longshore.aws.clock import milliseconds
from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.logs import store
from longshore.services.logs.operations.groups import existing, named
from longshore.services.logs.records import LogGroup, LogStream

_PAGE = 50


def existing_stream(call: Call, group: LogGroup, name: str) -> LogStream:
    """ResourceNotFoundException: the group has no such stream."""
    stream = store.find_stream(call.transaction, group, name)
    if stream is None:
        raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
    return stream


@operation
def create_log_stream(call: Call, request: Request) -> Response:
    group = existing(call, request["logGroupName"])
    if store.find_stream(call.transaction, group, request["logStreamName"]) is not None:
        raise AwsError("ResourceAlreadyExistsException", "The specified log stream already exists")
    stream = LogStream(name=request["logStreamName"], created_at_ms=milliseconds(call.now))
    store.add_stream(call.transaction, group, stream)
    return {}


@operation
def delete_log_stream(call: Call, request: Request) -> Response:
    group = existing(call, request["logGroupName"])
    store.drop_stream(call.transaction, existing_stream(call, group, request["logStreamName"]))
    return {}


@operation
def describe_log_streams(call: Call, request: Request) -> Response:
    by_time = request.get("orderBy") == "LastEventTime"
    if by_time and request.get("logStreamNamePrefix"):
        raise AwsError("InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix.")
    group = named(call, request)
    found = store.streams_by_name(call.transaction, group, request.get("logStreamNamePrefix") or "")
    if by_time:
        found.sort(key=lambda stream: (stream.last_event_ms or 0, stream.name))
    if request.get("descending"):
        found.reverse()
    start = _start(request.get("nextToken"), found)
    limit = request.get("limit") or _PAGE
    page = found[start : start + limit]
    response: Response = {"logStreams": [_shown(call, group, stream) for stream in page]}
    if start + limit < len(found):
        response["nextToken"] = page[-1].name
    return response


def _start(token: str | None, streams: list[LogStream]) -> int:
    if token is None:
        return 0
    for index, stream in enumerate(streams):
        if stream.name == token:
            return index + 1
    raise AwsError("InvalidParameterException", "The specified nextToken is invalid.")


def _shown(call: Call, group: LogGroup, stream: LogStream) -> Response:
    return {
        "logStreamName": stream.name,
        "creationTime": stream.created_at_ms,
        "firstEventTimestamp": stream.first_event_ms,
        "lastEventTimestamp": stream.last_event_ms,
        "lastIngestionTime": stream.last_ingestion_ms,
        "uploadSequenceToken": f"{stream.next_sequence:056d}" if stream.next_sequence else None,
        "arn": call.arn(f"log-group:{group.name}:log-stream:{stream.name}"),
        "storedBytes": 0,
    }
