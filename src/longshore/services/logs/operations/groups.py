"""Log groups."""

from __future__ import annotations

from msgspec.structs import replace

from longshore.aws.clock import milliseconds
from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.logs import rules, store
from longshore.services.logs.records import LogGroup

_PAGE = 50  # API reference, DescribeLogGroups, limit: 50 by default.


def existing(call: Call, name: str) -> LogGroup:
    """ResourceNotFoundException: there is no such group."""
    group = store.find_group(call.transaction, call.account, call.region, name)
    if group is None:
        raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
    return group


def named(call: Call, request: Request) -> LogGroup:
    """The group by `logGroupName` or `logGroupIdentifier`, of which exactly one is given."""
    name, identifier = request.get("logGroupName"), request.get("logGroupIdentifier")
    if name and identifier:
        raise AwsError("ValidationException", "LogGroup name and LogGroup ARN are mutually exclusive parameters.")
    if not name and not identifier:
        raise AwsError("InvalidParameterException", "At least one of logGroupName or logGroupIdentifier is required.")
    return existing(call, group_name(name or identifier or ""))


def group_name(identifier: str) -> str:
    """The name in an ARN `arn:...:log-group:NAME[:*]`, or the name itself."""
    if not identifier.startswith("arn:"):
        return identifier
    return identifier.split(":log-group:", 1)[-1].removesuffix(":*")


@operation
def create_log_group(call: Call, request: Request) -> Response:
    name = request["logGroupName"]
    rules.check_group_name(name)
    if store.find_group(call.transaction, call.account, call.region, name) is not None:
        raise AwsError("ResourceAlreadyExistsException", "The specified log group already exists")
    group = LogGroup(
        name=name,
        created_at_ms=milliseconds(call.now),
        tags=dict(request.get("tags") or {}),
        log_group_class=request.get("logGroupClass") or "STANDARD",
        is_protected=bool(request.get("deletionProtectionEnabled")),
        kms_key_id=request.get("kmsKeyId"),
    )
    store.add_group(call.transaction, call.account, call.region, group)
    return {}


@operation
def delete_log_group(call: Call, request: Request) -> Response:
    group = existing(call, request["logGroupName"])
    if group.is_protected:
        raise AwsError("ValidationException", "Deletion protection is enabled for this log group.")
    store.drop_group(call.transaction, group)
    call.emit("Log Group Deleted", call.arn(f"log-group:{group.name}"), {"logGroupName": group.name})
    return {}


@operation
def describe_log_groups(call: Call, request: Request) -> Response:
    if request.get("logGroupNamePrefix") and request.get("logGroupNamePattern"):
        raise AwsError(
            "InvalidParameterException",
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        )
    prefix = request.get("logGroupNamePrefix") or ""
    limit = request.get("limit") or _PAGE
    pattern = request.get("logGroupNamePattern") or ""
    wanted = {group_name(each) for each in request.get("logGroupIdentifiers") or ()}
    kind = request.get("logGroupClass")
    found: list[LogGroup] = []
    after = request.get("nextToken") or ""
    while len(found) <= limit:
        page = store.list_groups(
            call.transaction, call.account, call.region, prefix=prefix, after=after, limit=limit + 1
        )
        found += [
            group
            for group in page
            if pattern in group.name
            and (not wanted or group.name in wanted)
            and (kind is None or group.log_group_class == kind)
        ]
        if len(page) <= limit:
            break
        after = page[-1].name
    response: Response = {"logGroups": [_shown(call, group) for group in found[:limit]]}
    if len(found) > limit:
        response["nextToken"] = found[limit - 1].name
    return response


@operation
def put_retention_policy(call: Call, request: Request) -> Response:
    rules.check_retention(request["retentionInDays"])
    group = existing(call, request["logGroupName"])
    store.save_group(call.transaction, replace(group, retention_days=request["retentionInDays"]))
    return {}


@operation
def delete_retention_policy(call: Call, request: Request) -> Response:
    store.save_group(call.transaction, replace(existing(call, request["logGroupName"]), retention_days=None))
    return {}


@operation
def tag_resource(call: Call, request: Request) -> Response:
    group = existing(call, group_name(request["resourceArn"]))
    tags = {**group.tags, **request["tags"]}
    if len(tags) > rules.TAGS_MAX:
        raise AwsError("TooManyTagsException", f"A resource has {rules.TAGS_MAX} tags at most.")
    store.save_group(call.transaction, replace(group, tags=tags))
    return {}


@operation
def untag_resource(call: Call, request: Request) -> Response:
    group = existing(call, group_name(request["resourceArn"]))
    kept = {key: value for key, value in group.tags.items() if key not in request["tagKeys"]}
    store.save_group(call.transaction, replace(group, tags=kept))
    return {}


@operation
def list_tags_for_resource(call: Call, request: Request) -> Response:
    return {"tags": existing(call, group_name(request["resourceArn"])).tags}


def _shown(call: Call, group: LogGroup) -> Response:
    arn = call.arn(f"log-group:{group.name}")
    return {
        "logGroupName": group.name,
        "creationTime": group.created_at_ms,
        "retentionInDays": group.retention_days,
        "metricFilterCount": 0,
        "arn": f"{arn}:*",
        "storedBytes": 0,
        "logGroupClass": group.log_group_class,
        "logGroupArn": arn,
        "deletionProtectionEnabled": group.is_protected,
        "kmsKeyId": group.kms_key_id,
    }
