"""Looking up what was called."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from longshore.aws.clock import from_milliseconds, milliseconds
from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.cloudtrail import record, store
from longshore.services.cloudtrail.record import Row

_PAGE = 50  # CloudTrail API reference, LookupEvents, MaxResults: 1 to 50, 50 by default.
_END_OF_TIME = 1 << 62


@operation
def lookup_events(call: Call, request: Request) -> Response:
    """The newest calls first. One lookup attribute, as AWS takes one."""
    attributes = request.get("LookupAttributes") or []
    if len(attributes) > 1:
        raise AwsError("InvalidLookupAttributesException", "You can specify only one lookup attribute.")
    attribute: str | None = None
    value = ""
    if attributes:
        attribute, value = attributes[0]["AttributeKey"], attributes[0]["AttributeValue"]
        if not store.is_known(attribute):
            raise AwsError("InvalidLookupAttributesException", f"The lookup attribute {attribute} is not offered.")
    limit = request.get("MaxResults") or _PAGE
    start, end = request.get("StartTime"), request.get("EndTime")
    if start is not None and end is not None and start > end:
        raise AwsError("InvalidTimeRangeException", "The start time is after the end time.")
    found = store.look_up(
        call.transaction,
        attribute,
        value,
        account=call.account,
        region=call.region,
        start=max(_oldest(call), milliseconds(start) if start else 0),
        end=milliseconds(end) if end else _END_OF_TIME,
        before=_before(request.get("NextToken")),
        limit=limit + 1,
    )
    if request.get("EventCategory") == "insight":
        found = []  # Insights are of trails that look for the unusual; there are none here.
    response: Response = {"Events": [_event(row) for row in found[:limit]]}
    if len(found) > limit:
        response["NextToken"] = str(found[limit - 1].sequence)
    return response


def _oldest(call: Call) -> int:
    """Old calls go by and by while others come; what is due to go is not told any more."""
    return milliseconds(call.now - timedelta(days=call.house.settings.trail_days))


def _before(token: str | None) -> int:
    if token is None:
        return _END_OF_TIME
    if not (token.isascii() and token.isdigit() and len(token) < 19):
        raise AwsError("InvalidNextTokenException", "The specified NextToken is invalid.")
    return int(token)


def _event(row: Row) -> Response:
    kept = row.kept
    whole = record.record(row)
    resources = []
    for each in whole.get("resources", ()):
        shown = {"ResourceName": each["ARN"]}
        if kind := record.resource_type(each["ARN"]):
            shown["ResourceType"] = kind
        resources.append(shown)
    return {
        "EventId": whole["eventID"],
        "EventName": kept.name,
        "EventSource": record.source(kept.service),
        "EventTime": from_milliseconds(kept.at),
        "ReadOnly": record.read_only(kept.read_only),
        "Username": row.caller.user,
        "AccessKeyId": row.caller.access_key_id or None,
        "Resources": resources,
        "CloudTrailEvent": msgspec.json.encode(whole).decode(),
    }
