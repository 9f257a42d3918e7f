"""Looking up what was called."""

from __future__ import annotations

import msgspec

from longshore.aws.clock import from_milliseconds, milliseconds
from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.cloudtrail import store

_PAGE = 50  # CloudTrail API reference, LookupEvents, MaxResults: 1 to 50, 50 by default.
_END_OF_TIME = 1 << 62


@operation
def lookup_events(call: Call, request: Request) -> Response:
    """The newest calls first. One lookup attribute, as AWS takes one."""
    attributes = request.get("LookupAttributes") or []
    if len(attributes) > 1:
        raise AwsError("InvalidLookupAttributesException", "You can specify only one lookup attribute.")
    attribute, value = None, None
    if attributes:
        attribute, value = attributes[0]["AttributeKey"], attributes[0]["AttributeValue"]
        if not store.is_known(attribute):
            raise AwsError("InvalidLookupAttributesException", f"The lookup attribute {attribute} is not offered.")
    limit = request.get("MaxResults") or _PAGE
    start, end = request.get("StartTime"), request.get("EndTime")
    if start is not None and end is not None and start > end:
        raise AwsError("InvalidTimeRangeException", "The start time is after the end time.")
    parameters = {} if attribute is None else {"value": value}
    rows = store.page(
        call.transaction,
        attribute,
        account=call.account,
        region=call.region,
        start=milliseconds(start) if start else 0,
        end=milliseconds(end) if end else _END_OF_TIME,
        before=_before(request.get("NextToken")),
        limit=limit + 1,
        **parameters,
    )
    response: Response = {"Events": [_event(at, body) for _, at, body in rows[:limit]]}
    if len(rows) > limit:
        response["NextToken"] = str(rows[limit - 1][0])
    return response


def _before(token: str | None) -> int:
    if token is None:
        return _END_OF_TIME
    if not (token.isascii() and token.isdigit() and len(token) < 19):
        raise AwsError("InvalidNextTokenException", "The specified NextToken is invalid.")
    return int(token)


def _event(at: int, body: bytes) -> Response:
    record = msgspec.json.decode(body)
    identity = record["userIdentity"]
    name = identity.get("principalId", "").partition(":")[2] or identity.get("userName") or identity.get("invokedBy")
    return {
        "EventId": record["eventID"],
        "EventName": record["eventName"],
        "EventSource": record["eventSource"],
        "EventTime": from_milliseconds(at),
        "ReadOnly": "true" if record["readOnly"] else "false",
        "Username": name or "root",
        "AccessKeyId": identity.get("accessKeyId"),
        "Resources": [{"ResourceName": each["ARN"]} for each in record.get("resources", [])],
        "CloudTrailEvent": body.decode(),
    }
