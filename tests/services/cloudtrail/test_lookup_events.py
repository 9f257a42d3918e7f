"""The record of calls: who did what, how it was answered; and that refusals are told to the house."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from in_process import ACCOUNT, REGION, InProcessHouse
from longshore.aws.errors import AwsError
from people import EC2_TRUST, Person, allow, trust
from refusals import refused


@pytest.fixture
def trail(house):
    client = house.client("cloudtrail")

    def look_up(key=None, value=None, **more):
        house.pass_time(1)
        if key is not None:
            more["LookupAttributes"] = [{"AttributeKey": key, "AttributeValue": value}]
        return client.lookup_events(**more)["Events"]

    return look_up


def record(event):
    return json.loads(event["CloudTrailEvent"])


def test_every_call_is_there_with_the_identity_that_made_it(house, trail) -> None:
    iam = house.client("iam")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    (event,) = trail("EventName", "CreateRole")
    assert event["EventSource"] == "iam.amazonaws.com" and event["Username"] == "root"
    assert event["ReadOnly"] == "false" and event["AccessKeyId"] == "AKIAROOTROOTROOTROOT"
    assert event["Resources"] == [
        {"ResourceType": "AWS::IAM::Role", "ResourceName": f"arn:aws:iam::{ACCOUNT}:role/ops"}
    ]
    kept = record(event)
    assert kept["userIdentity"] == {
        "type": "Root",
        "principalId": ACCOUNT,
        "arn": f"arn:aws:iam::{ACCOUNT}:root",
        "accountId": ACCOUNT,
        "accessKeyId": "AKIAROOTROOTROOTROOT",
    }
    assert kept["eventName"] == "CreateRole" and kept["eventID"] == event["EventId"]
    assert kept["eventTime"] == "2026-01-01T00:00:00Z" and kept["awsRegion"] == REGION
    assert kept["sourceIPAddress"] == "127.0.0.1" and "Botocore" in kept["userAgent"]
    assert "errorCode" not in kept


def test_a_session_is_named_by_its_session_and_its_role(house, trail) -> None:
    anna = Person(house, "anna")
    house.client("iam").create_role(RoleName="ops", Path="/team/", AssumeRolePolicyDocument=trust({"AWS": anna.arn}))
    role = f"arn:aws:iam::{ACCOUNT}:role/team/ops"
    given = anna.client("sts").assume_role(RoleArn=role, RoleSessionName="i-0123456789abcdef0")["Credentials"]
    ecs = house.client("ecs", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    with refused("AccessDeniedException"):
        ecs.list_clusters()
    (event,) = trail("Username", "i-0123456789abcdef0")
    assert event["Username"] == "i-0123456789abcdef0" and event["EventName"] == "ListClusters"
    identity = record(event)["userIdentity"]
    assert identity["type"] == "AssumedRole"
    assert identity["arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/i-0123456789abcdef0"
    assert identity["sessionContext"]["sessionIssuer"]["arn"] == role
    assert identity["sessionContext"]["attributes"]["creationDate"] == "2026-01-01T00:00:00Z"
    assert trail("AccessKeyId", given["AccessKeyId"])[0]["EventId"] == event["EventId"]
    (assumed,) = trail("EventName", "AssumeRole")
    assert assumed["Username"] == "anna" and record(assumed)["userIdentity"]["type"] == "IAMUser"


def test_refused_calls_are_there_with_why(house, trail) -> None:
    anna = Person(house, "anna")
    with refused("AccessDenied") as caught:
        anna.client("iam").get_role(RoleName="ops")
    with refused("UnauthorizedOperation"):
        anna.client("ec2").describe_instances()
    with refused("NoSuchEntity"):
        house.client("iam").get_role(RoleName="ops")
    mine = {event["EventName"]: record(event) for event in trail("Username", "anna")}
    assert mine["GetRole"]["errorCode"] == "AccessDenied"
    assert mine["GetRole"]["resources"] == [
        {"ARN": f"arn:aws:iam::{ACCOUNT}:role/ops", "accountId": ACCOUNT, "type": "AWS::IAM::Role"}
    ]
    assert mine["GetRole"]["errorMessage"] == caught.value.response["Error"]["Message"]
    assert mine["DescribeInstances"]["errorCode"] == "UnauthorizedOperation"
    (missing,) = [event for event in trail("EventName", "GetRole") if event["Username"] == "root"]
    assert record(missing)["errorCode"] == "NoSuchEntity"


def test_services_that_take_roles_are_there(house, trail) -> None:
    iam = house.client("iam")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    role = f"arn:aws:iam::{ACCOUNT}:role/ops"

    async def take(service):
        return await house.house.turn("ec2").write(lambda call: call.assume(role, service))

    house.loop.run_until_complete(take("ec2.amazonaws.com"))
    with pytest.raises(AwsError, match="not authorized"):
        house.loop.run_until_complete(take("batch.amazonaws.com"))
    refusal, taken = trail("ResourceName", role)[:2]
    assert record(taken)["userIdentity"] == {
        "type": "AWSService", "invokedBy": "ec2.amazonaws.com", "accountId": ACCOUNT,
    }  # fmt: skip
    assert taken["EventName"] == refusal["EventName"] == "AssumeRole" and taken["Username"] == "ec2.amazonaws.com"
    assert record(refusal)["errorCode"] == "AccessDenied"
    assert record(refusal)["userIdentity"]["invokedBy"] == "batch.amazonaws.com"


def test_secrets_are_never_in_it(house, trail) -> None:
    anna = Person(house, "anna")
    given = anna.client("sts").get_session_token()["Credentials"]
    whole = json.dumps(trail(), default=str)
    assert "CreateAccessKey" in whole
    for secret in (anna.key["SecretAccessKey"], given["SecretAccessKey"], given["SessionToken"]):
        assert secret not in whole


def test_it_is_looked_through_by_one_attribute_by_time_and_in_pages(house, trail) -> None:
    iam = house.client("iam")
    start = house.clock.now()
    for index in range(6):
        iam.create_user(UserName=f"u{index}")
        house.pass_time(60)
    found = trail("EventSource", "iam.amazonaws.com")
    assert [event["Resources"][0]["ResourceName"][-2:] for event in found] == ["u5", "u4", "u3", "u2", "u1", "u0"]
    (one,) = trail("ResourceName", f"arn:aws:iam::{ACCOUNT}:user/u3")
    assert trail("EventId", one["EventId"]) == [one]
    window = {"StartTime": start + timedelta(seconds=50), "EndTime": start + timedelta(seconds=130)}
    assert [event["Resources"][0]["ResourceName"][-2:] for event in trail("EventName", "CreateUser", **window)] == [
        "u2",
        "u1",
    ]
    assert all(event["ReadOnly"] == "true" for event in trail("ReadOnly", "true"))
    client = house.client("cloudtrail")
    pages = client.get_paginator("lookup_events").paginate(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "CreateUser"}],
        PaginationConfig={"PageSize": 4},
    )
    sizes = [len(page["Events"]) for page in pages]
    assert sizes == [4, 2]
    both = [{"AttributeKey": name, "AttributeValue": "x"} for name in ("EventName", "Username")]
    with refused("InvalidLookupAttributesException"):
        client.lookup_events(LookupAttributes=both)
    with refused("InvalidTimeRangeException"):
        client.lookup_events(StartTime=start + timedelta(1), EndTime=start)
    with refused("InvalidNextTokenException"):
        client.lookup_events(NextToken="rubbish")


def test_calls_are_no_insights(house, trail) -> None:
    house.client("iam").create_user(UserName="anna")
    assert trail("EventName", "CreateUser") and trail("EventName", "CreateUser", EventCategory="insight") == []


def test_looking_needs_the_right_to_look(house) -> None:
    anna = Person(house, "anna")
    with refused("AccessDeniedException"):
        anna.client("cloudtrail").lookup_events()
    anna.may(allow("cloudtrail:LookupEvents"))
    anna.client("cloudtrail").lookup_events()


def test_what_was_called_in_one_region_is_not_seen_in_another(house, trail) -> None:
    house.client("batch", region="eu-west-1").describe_job_queues()
    assert trail("EventName", "DescribeJobQueues") == []
    elsewhere = house.client("cloudtrail", region="eu-west-1").lookup_events()["Events"]
    assert [event["EventName"] for event in elsewhere] == ["DescribeJobQueues"]


def test_a_call_is_durable_within_a_second_and_a_refusal_at_once(house) -> None:
    rows = []

    def count():
        from longshore.services.cloudtrail import store

        found = house.store.read(
            lambda transaction: store.look_up(
                transaction, None, "", account=ACCOUNT, region=REGION, start=0, end=1 << 62, before=1 << 62, limit=100
            )
        )
        rows.append(len(found))
        return len(found)

    house.client("sts").get_caller_identity()
    house.pass_time(0.9)
    assert count() == 1
    anna = Person(house, "anna")
    house.pass_time(1)
    before = count()
    with refused("AccessDenied"):
        anna.client("iam").list_roles()
    house.pass_time(0.001)
    assert count() == before + 1


def test_a_refusal_is_told_to_the_house_also_when_all_else_was_rolled_back(house) -> None:
    told = []
    append = house.house.outbox.append
    house.house.outbox.append = lambda transaction, event: (told.append(event), append(transaction, event))
    anna = Person(house, "anna")
    anna.may(allow("iam:CreateRole"))
    with refused("AccessDenied"):
        anna.client("iam").create_role(
            RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST, Tags=[{"Key": "k", "Value": "v"}]
        )
    house.pass_time(0.1)
    (event,) = [each for each in told if each.detail_type == "AWS API Call via CloudTrail"]
    assert (event.source, event.resource) == ("aws.iam", anna.arn)
    assert event.detail["eventName"] == "CreateRole" and event.detail["errorCode"] == "AccessDenied"
    assert event.detail["userIdentity"]["arn"] == anna.arn
    assert "iam:TagRole" in event.detail["errorMessage"]


def test_a_disk_that_fails_for_a_while_loses_no_entry(house, trail) -> None:
    store = house.house.store
    write, failures = store.write, []

    def failing(function):
        if len(failures) < 3:
            failures.append(function)
            raise OSError("the disk is full")
        return write(function)

    house.client("sts").get_caller_identity()
    store.write = failing
    house.pass_time(5)
    store.write = write
    assert len(failures) == 3
    assert [event["EventName"] for event in trail("EventName", "GetCallerIdentity")] == ["GetCallerIdentity"]


def test_what_waits_is_written_before_the_house_ends(house) -> None:
    house.client("sts").get_caller_identity()
    house.loop.run_until_complete(house.assembly.stop())
    house.loop.run_until_complete(house.assembly.start())
    names = [event["EventName"] for event in house.client("cloudtrail").lookup_events()["Events"]]
    assert names == ["GetCallerIdentity"]


def test_what_was_asked_and_what_was_made_is_there(house, trail) -> None:
    iam = house.client("iam")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST, Tags=[{"Key": "team", "Value": "blue"}])
    iam.get_role(RoleName="ops")
    made, read = record(trail("EventName", "CreateRole")[0]), record(trail("EventName", "GetRole")[0])
    assert made["requestParameters"]["roleName"] == "ops"
    assert made["requestParameters"]["tags"] == [{"key": "team", "value": "blue"}]
    assert made["responseElements"]["role"]["arn"] == f"arn:aws:iam::{ACCOUNT}:role/ops"
    assert read["requestParameters"] == {"roleName": "ops"} and read["responseElements"] is None


def test_a_session_is_told_by_its_key_where_it_was_handed_out(house, trail) -> None:
    anna = Person(house, "anna")
    sts = anna.client("sts")
    role = house.client("iam").create_role(RoleName="ops", AssumeRolePolicyDocument=trust({"AWS": anna.arn}))["Role"]
    taken = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="session-1")
    for name, answer in (("AssumeRole", taken), ("GetSessionToken", sts.get_session_token())):
        (event,) = trail("EventName", name)
        elements = record(event)["responseElements"]
        assert elements["credentials"]["accessKeyId"] == answer["Credentials"]["AccessKeyId"]
        assert elements["credentials"]["sessionToken"] == "HIDDEN_DUE_TO_SECURITY_REASONS"
        assert answer["Credentials"]["SecretAccessKey"] not in event["CloudTrailEvent"]
        assert answer["Credentials"]["SessionToken"] not in event["CloudTrailEvent"]
        assert event["ReadOnly"] == "true"
    elements = record(trail("EventName", "AssumeRole")[0])["responseElements"]
    assert elements["assumedRoleUser"] == {
        "assumedRoleId": f"{role['RoleId']}:session-1", "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/session-1",
    }  # fmt: skip


def test_what_programs_say_and_are_told_is_left_out(house, trail) -> None:
    logs, batch = house.client("logs"), house.client("batch")
    logs.create_log_group(logGroupName="g")
    logs.create_log_stream(logGroupName="g", logStreamName="s")
    with refused("ClientException"):
        batch.submit_job(
            jobName="j", jobQueue="none", jobDefinition="none",
            containerOverrides={"command": ["true"], "environment": [{"name": "TOKEN", "value": "hush-hush"}]},
        )  # fmt: skip
    now = int(house.clock.now().timestamp() * 1000)
    logs.put_log_events(logGroupName="g", logStreamName="s", logEvents=[{"timestamp": now, "message": "hush-hush"}])
    whole = trail()
    assert "hush-hush" not in json.dumps(whole, default=str)
    (submitted,) = (record(event) for event in whole if event["EventName"] == "SubmitJob")
    assert submitted["requestParameters"]["containerOverrides"] == {
        "command": ["true"], "environment": "HIDDEN_DUE_TO_SECURITY_REASONS",
    }  # fmt: skip
    assert submitted["errorCode"] == "ClientException" and submitted["responseElements"] is None


def test_a_long_request_says_that_it_was_left_out(house, trail) -> None:
    with refused("ClientException"):
        house.client("batch").submit_job(
            jobName="j", jobQueue="none", jobDefinition="none", parameters={"text": "x" * 5000}
        )
    (event,) = trail("EventName", "SubmitJob")
    left_out = record(event)["requestParameters"]
    assert left_out["omitted"] is True and left_out["originalSize"] > 5000


def test_a_resource_is_found_by_its_name_and_its_type(house, trail) -> None:
    iam = house.client("iam")
    iam.create_role(RoleName="ops", Path="/team/", AssumeRolePolicyDocument=EC2_TRUST)
    iam.create_user(UserName="ops")
    arn = f"arn:aws:iam::{ACCOUNT}:role/team/ops"
    assert {event["EventName"] for event in trail("ResourceName", "ops")} == {"CreateRole", "CreateUser"}
    assert [event["EventName"] for event in trail("ResourceName", arn)] == ["CreateRole"]
    assert trail("ResourceName", "ps") == [] and trail("ResourceName", "%") == []
    assert [event["EventName"] for event in trail("ResourceType", "AWS::IAM::User")] == ["CreateUser"]
    assert trail("ResourceType", "AWS::S3::Bucket") == []


def test_ids_are_of_one_record_each(house, trail) -> None:
    for index in range(4):
        house.client("iam").create_user(UserName=f"u{index}")
    found = trail()
    assert len({event["EventId"] for event in found}) == len(found) >= 4
    for event in found:
        assert trail("EventId", event["EventId"]) == [event]
    one = found[0]["EventId"]
    assert trail("EventId", ("0" if one[0] != "0" else "1") + one[1:]) == []
    assert trail("EventId", "rubbish") == []


def test_old_calls_go() -> None:
    house = InProcessHouse(trail_days=2, trail_records=1500)
    try:
        iam = house.client("iam")
        iam.create_user(UserName="first")
        cloudtrail = house.client("cloudtrail")

        def named(name):
            return cloudtrail.lookup_events(LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": name}])

        house.pass_time(2 * 86_400 - 60)
        assert len(named("CreateUser")["Events"]) == 1
        house.pass_time(120)
        assert not named("CreateUser")["Events"]  # Though it is still in the table: nobody has called since.
        for _ in range(1000):
            iam.list_users()
        house.pass_time(1)
        assert not named("CreateUser")["Events"] and len(named("ListUsers")["Events"]) == 50
        iam.create_user(UserName="second")
        for _ in range(2600):
            iam.list_users()
        house.pass_time(1)
        assert not named("CreateUser")["Events"]
    finally:
        house.close()


def test_a_call_whose_details_can_not_be_written_holds_up_none(house, trail) -> None:
    from longshore.aws.principal import root
    from longshore.gateway.ports import TrailEntry

    unwritable = "\ud800"  # half of a character
    entry = TrailEntry(
        time=house.clock.now(), request_id="r", principal=root(ACCOUNT), service="iam", operation="GetRole", region=REGION,
        source_ip="127.0.0.1", user_agent="", read_only=True, request={"RoleName": unwritable},
        error_code="NoSuchEntity", error_message=unwritable,
    )  # fmt: skip
    house.assembly.trail.record(entry)
    house.client("iam").create_user(UserName="after")
    assert trail("EventName", "CreateUser")
    (event,) = trail("EventName", "GetRole")
    kept = record(event)
    assert kept["errorCode"] == "NoSuchEntity" and kept["errorMessage"] is None and kept["requestParameters"] is None


def test_a_call_that_can_not_be_recorded_at_all_holds_up_none(house, trail, monkeypatch) -> None:
    from longshore.services.cloudtrail import section

    add = section.Draft.add

    def fails(self, entry, **how):
        if entry.operation == "GetCallerIdentity":
            raise ValueError("it can't be written")
        add(self, entry, **how)

    monkeypatch.setattr(section.Draft, "add", fails)
    assert house.client("sts").get_caller_identity()["Account"] == ACCOUNT
    house.client("iam").create_user(UserName="after")
    assert [event["EventName"] for event in trail()] == ["CreateUser"]
    house.pass_time(5)
    assert len(trail("EventName", "CreateUser")) == 1  # It was not written again and again.
