"""What the operations of CloudWatch Logs ask.

Source: service authorization reference, Amazon CloudWatch Logs.
"""

from __future__ import annotations

from collections.abc import Iterable

from longshore.kit.access import Access, Context, Question, tag_context
from longshore.kit.call import Call
from longshore.kit.operation import Request
from longshore.services.logs import store
from longshore.services.logs.operations.groups import group_name


def _name(request: Request) -> str:
    name: str = request.get("logGroupName") or group_name(request.get("logGroupIdentifier") or "")
    return name


def _group(call: Call, request: Request) -> list[str]:
    """Observed in AWS's refusals: a group is asked about as if it were all of its streams, so policies end in `:*`."""
    return [call.arn(f"log-group:{_name(request)}:log-stream:")]


def _groups(call: Call, request: Request) -> list[str]:
    return [call.arn(f"log-group:{request.get('logGroupNamePrefix') or ''}:log-stream:")]


def _stream(call: Call, request: Request) -> list[str]:
    return [call.arn(f"log-group:{_name(request)}:log-stream:{request['logStreamName']}")]


def _resource(call: Call, request: Request) -> list[str]:
    return [request["resourceArn"]]


def _tags_of_group(call: Call, request: Request) -> Context:
    return _tags_of(call, _name(request))


def _tags_of_resource(call: Call, request: Request) -> Context:
    return {**_tags_of(call, group_name(request["resourceArn"])), **tag_context(request.get("tags"))}


def _tags_of(call: Call, name: str) -> Context:
    group = store.find_group(call.transaction, call.account, call.region, name)
    return {f"aws:ResourceTag/{key}": value for key, value in group.tags.items()} if group is not None else {}


def _untagged(call: Call, request: Request) -> Context:
    return {**_tags_of(call, group_name(request["resourceArn"])), "aws:TagKeys": list(request["tagKeys"])}


def _tagging(call: Call, request: Request) -> Iterable[Question]:
    """API reference, CreateLogGroup: tags at creation need logs:TagResource."""
    if request.get("tags"):
        arn = call.arn(f"log-group:{request['logGroupName']}")
        yield Question("logs:TagResource", arn, tag_context(request["tags"]))


GROUP = Access(resources=_group, context=_tags_of_group)
STREAM = Access(resources=_stream, context=_tags_of_group)

ACCESS = {
    "CreateLogGroup": Access(
        resources=_group, context=lambda call, request: tag_context(request.get("tags")), further=_tagging
    ),
    "DeleteLogGroup": GROUP,
    "DescribeLogGroups": Access(resources=_groups),
    "PutRetentionPolicy": GROUP,
    "DeleteRetentionPolicy": GROUP,
    "TagResource": Access(resources=_resource, context=_tags_of_resource),
    "UntagResource": Access(resources=_resource, context=_untagged),
    "ListTagsForResource": Access(resources=_resource, context=_tags_of_resource),
    "CreateLogStream": STREAM,
    "DeleteLogStream": STREAM,
    "DescribeLogStreams": GROUP,
    "PutLogEvents": STREAM,
    "GetLogEvents": STREAM,
    "FilterLogEvents": GROUP,
}
