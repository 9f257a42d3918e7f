"""Log groups and streams, by an unmodified client."""

from __future__ import annotations

import pytest

from in_process import ACCOUNT
from people import Person, allow
from refusals import refused, unchecked

GROUP = "/aws/batch/job"
ARN = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{GROUP}"


@pytest.fixture
def logs(house):
    return house.client("logs")


def test_a_group_has_the_fields_of_aws(logs) -> None:
    logs.create_log_group(logGroupName=GROUP, tags={"team": "a"})
    (group,) = logs.describe_log_groups()["logGroups"]
    assert group == {
        "logGroupName": GROUP,
        "creationTime": 1767225600000,
        "metricFilterCount": 0,
        "arn": f"{ARN}:*",
        "storedBytes": 0,
        "logGroupClass": "STANDARD",
        "logGroupArn": ARN,
        "deletionProtectionEnabled": False,
    }
    with refused("ResourceAlreadyExistsException", "The specified log group already exists", status=400):
        logs.create_log_group(logGroupName=GROUP)
    logs.delete_log_group(logGroupName=GROUP)
    with refused("ResourceNotFoundException", "The specified log group does not exist.", status=400):
        logs.delete_log_group(logGroupName=GROUP)


def test_groups_are_found_by_prefix_pattern_and_page(logs) -> None:
    names = [f"/a/{index}" for index in range(7)] + ["/b/Data", "/b/data"]
    for name in reversed(names):
        logs.create_log_group(logGroupName=name)

    def found(**request):
        return [each["logGroupName"] for each in logs.describe_log_groups(**request)["logGroups"]]

    assert found() == names
    assert found(logGroupNamePrefix="/b") == ["/b/Data", "/b/data"]
    assert found(logGroupNamePattern="Data") == ["/b/Data"]
    assert found(logGroupIdentifiers=[f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/a/3", "/b/data"]) == [
        "/a/3",
        "/b/data",
    ]
    pages = logs.get_paginator("describe_log_groups").paginate(PaginationConfig={"PageSize": 2})
    assert [each["logGroupName"] for page in pages for each in page["logGroups"]] == names
    first = logs.describe_log_groups(logGroupNamePattern="/b/", limit=1)
    assert [each["logGroupName"] for each in first["logGroups"]] == ["/b/Data"] and first["nextToken"]
    with refused(
        "InvalidParameterException",
        "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
    ):
        found(logGroupNamePrefix="/a", logGroupNamePattern="b")


def test_names_of_the_wrong_form_are_refused(logs) -> None:
    raw = unchecked(logs)
    for name in ("a b", "", "g" * 513):
        with refused("InvalidParameterException", status=400):
            raw.create_log_group(logGroupName=name)
    with refused("InvalidParameterException", "Log groups starting with AWS/ are reserved for AWS.", status=400):
        raw.create_log_group(logGroupName="aws/mine")
    logs.create_log_group(logGroupName=GROUP)
    for name in ("a:b", "a*", "s" * 513):
        with refused("InvalidParameterException", status=400):
            raw.create_log_stream(logGroupName=GROUP, logStreamName=name)
    with refused(
        "InvalidParameterException",
        "1 validation error detected: Value '51' at 'limit' failed to satisfy constraint: "
        "Member must have value less than or equal to 50",
    ):
        raw.describe_log_groups(limit=51)


def test_retention_is_one_of_the_days_that_aws_offers(logs) -> None:
    logs.create_log_group(logGroupName=GROUP)
    logs.put_retention_policy(logGroupName=GROUP, retentionInDays=14)
    assert logs.describe_log_groups()["logGroups"][0]["retentionInDays"] == 14
    with refused("InvalidParameterException", status=400):
        logs.put_retention_policy(logGroupName=GROUP, retentionInDays=15)
    logs.delete_retention_policy(logGroupName=GROUP)
    assert "retentionInDays" not in logs.describe_log_groups()["logGroups"][0]


def test_a_protected_group_stays(logs) -> None:
    logs.create_log_group(logGroupName=GROUP, deletionProtectionEnabled=True)
    with refused("ValidationException", status=400):
        logs.delete_log_group(logGroupName=GROUP)


def test_tags_by_arn(logs) -> None:
    logs.create_log_group(logGroupName=GROUP, tags={"team": "a"})
    logs.tag_resource(resourceArn=ARN, tags={"stage": "test"})
    assert logs.list_tags_for_resource(resourceArn=ARN)["tags"] == {"team": "a", "stage": "test"}
    logs.untag_resource(resourceArn=ARN, tagKeys=["team"])
    assert logs.list_tags_for_resource(resourceArn=ARN)["tags"] == {"stage": "test"}


def test_a_stream_shows_times_once_it_has_events(house, logs) -> None:
    logs.create_log_group(logGroupName=GROUP)
    with refused("ResourceNotFoundException", "The specified log group does not exist.", status=400):
        logs.create_log_stream(logGroupName="/gone", logStreamName="s")
    logs.create_log_stream(logGroupName=GROUP, logStreamName="s")
    with refused("ResourceAlreadyExistsException", "The specified log stream already exists", status=400):
        logs.create_log_stream(logGroupName=GROUP, logStreamName="s")
    (stream,) = logs.describe_log_streams(logGroupName=GROUP)["logStreams"]
    assert stream == {
        "logStreamName": "s",
        "creationTime": 1767225600000,
        "arn": f"{ARN}:log-stream:s",
        "storedBytes": 0,
    }
    house.pass_time(10)
    events = [{"timestamp": 1767225600000 + at, "message": "m"} for at in (1000, 2000)]
    logs.put_log_events(logGroupName=GROUP, logStreamName="s", logEvents=events)
    (stream,) = logs.describe_log_streams(logGroupIdentifier=ARN)["logStreams"]
    assert stream["firstEventTimestamp"] == 1767225601000 and stream["lastEventTimestamp"] == 1767225602000
    assert stream["lastIngestionTime"] == 1767225610000 and stream["uploadSequenceToken"]
    logs.delete_log_stream(logGroupName=GROUP, logStreamName="s")
    with refused("ResourceNotFoundException", "The specified log stream does not exist.", status=400):
        logs.delete_log_stream(logGroupName=GROUP, logStreamName="s")
    with refused("ValidationException", "LogGroup name and LogGroup ARN are mutually exclusive parameters."):
        logs.describe_log_streams(logGroupName=GROUP, logGroupIdentifier=ARN)


def test_streams_come_by_name_or_by_their_last_event(logs) -> None:
    logs.create_log_group(logGroupName=GROUP)
    at = {"a": 3, "b": 1, "c": 2, "c/1": 2}
    for name in ("empty", *at):
        logs.create_log_stream(logGroupName=GROUP, logStreamName=name)
    for name, offset in at.items():
        event = {"timestamp": 1767225600000 + offset, "message": "m"}
        logs.put_log_events(logGroupName=GROUP, logStreamName=name, logEvents=[event])

    def found(**request):
        pages = logs.get_paginator("describe_log_streams").paginate(
            logGroupName=GROUP, **request, PaginationConfig={"PageSize": 2}
        )
        return [each["logStreamName"] for page in pages for each in page["logStreams"]]

    assert found() == ["a", "b", "c", "c/1", "empty"]
    assert found(descending=True) == ["empty", "c/1", "c", "b", "a"]
    assert found(orderBy="LastEventTime") == ["empty", "b", "c", "c/1", "a"]
    assert found(orderBy="LastEventTime", descending=True) == ["a", "c/1", "c", "b", "empty"]
    assert found(logStreamNamePrefix="c") == ["c", "c/1"]
    with refused("InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix."):
        found(orderBy="LastEventTime", logStreamNamePrefix="c")
    with refused("InvalidParameterException", "The specified nextToken is invalid."):
        logs.describe_log_streams(logGroupName=GROUP, nextToken="rubbish")


def test_a_policy_for_a_group_ends_in_a_colon_and_a_star(house, logs) -> None:
    logs.create_log_group(logGroupName=GROUP, tags={"team": "a"})
    anna = Person(house, "anna")
    hers = anna.client("logs")
    message = (
        f"User: {anna.arn} is not authorized to perform: logs:CreateLogStream on resource: {ARN}:log-stream:s "
        "because no identity-based policy allows the logs:CreateLogStream action"
    )
    with refused("AccessDeniedException", message, status=400):
        hers.create_log_stream(logGroupName=GROUP, logStreamName="s")
    anna.may(allow(["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], f"{ARN}:*"))
    hers.create_log_stream(logGroupName=GROUP, logStreamName="s")
    hers.describe_log_streams(logGroupName=GROUP)
    events = [{"timestamp": 1767225600000, "message": "m"}]
    hers.put_log_events(logGroupName=GROUP, logStreamName="s", logEvents=events)
    with refused("AccessDeniedException", status=400):
        hers.get_log_events(logGroupName=GROUP, logStreamName="s")
    anna.may(allow("logs:GetLogEvents", f"{ARN}:log-stream:other"))
    with refused("AccessDeniedException", status=400):
        hers.get_log_events(logGroupName=GROUP, logStreamName="s")
    anna.may(allow("logs:*", Condition={"StringEquals": {"aws:ResourceTag/team": "a"}}))
    hers.get_log_events(logGroupName=GROUP, logStreamName="s")
    anna.may(allow("logs:CreateLogGroup"))
    with refused("AccessDeniedException", status=400):
        hers.create_log_group(logGroupName="/tagged", tags={"team": "a"})


def test_groups_of_one_region_are_not_seen_in_another(house, logs) -> None:
    logs.create_log_group(logGroupName=GROUP)
    assert house.client("logs", region="eu-central-1").describe_log_groups()["logGroups"] == []
