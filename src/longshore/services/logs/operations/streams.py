"""Log streams."""

from __future__ import annotations

import base64

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
    limit = request.get("limit") or _PAGE
    found = store.page_of_streams(
        call.transaction,
        group,
        prefix=request.get("logStreamNamePrefix") or "",
        by_time=by_time,
        descending=bool(request.get("descending")),
        after=_place(request.get("nextToken")),
        limit=limit + 1,
    )
    response: Response = {"logStreams": [_shown(call, group, stream) for stream in found[:limit]]}
    if len(found) > limit:
        last = found[limit - 1]
        place = f"{last.last_event_ms or 0}/{last.name}"
        response["nextToken"] = base64.urlsafe_b64encode(place.encode()).decode()
    return response


def _place(token: str | None) -> tuple[int, str] | None:
    """InvalidParameterException: the token is none of ours."""
    if token is None:
        return None
    try:
        at, slash, name = base64.urlsafe_b64decode(token.encode()).decode().partition("/")
        if slash and name:
            return int(at), name
    except ValueError:
        pass
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
