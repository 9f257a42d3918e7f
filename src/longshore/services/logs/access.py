"""What the operations of CloudWatch Logs ask.

Source: service authorization reference, Amazon CloudWatch Logs.
"""

from __future__ import annotations

from longshore.kit.access import Access, tag_context
from longshore.kit.call import Call
from longshore.kit.operation import Request
from longshore.services.logs.operations.groups import group_name


def _group(call: Call, request: Request) -> list[str]:
    name = request.get("logGroupName") or group_name(request.get("logGroupIdentifier") or "")
    return [call.arn(f"log-group:{name}")]


def _group_or_all(call: Call, request: Request) -> list[str]:
    return [call.arn(f"log-group:{request.get('logGroupNamePrefix') or '*'}")]


def _stream(call: Call, request: Request) -> list[str]:
    return [f"{_group(call, request)[0]}:log-stream:{request['logStreamName']}"]


def _resource(call: Call, request: Request) -> list[str]:
    return [request["resourceArn"]]


GROUP = Access(resources=_group)
STREAM = Access(resources=_stream)
RESOURCE = Access(resources=_resource)

ACCESS = {
    "CreateLogGroup": Access(resources=_group, context=lambda call, request: tag_context(request.get("tags"))),
    "DeleteLogGroup": GROUP,
    "DescribeLogGroups": Access(resources=_group_or_all),
    "PutRetentionPolicy": GROUP,
    "DeleteRetentionPolicy": GROUP,
    "TagResource": Access(resources=_resource, context=lambda call, request: tag_context(request.get("tags"))),
    "UntagResource": RESOURCE,
    "ListTagsForResource": RESOURCE,
    "CreateLogStream": GROUP,
    "DeleteLogStream": STREAM,
    "DescribeLogStreams": GROUP,
    "PutLogEvents": STREAM,
    "GetLogEvents": STREAM,
    "FilterLogEvents": GROUP,
}
