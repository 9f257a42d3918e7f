"""Instances: launched, shown, ended, by an unmodified client; their machines in memory, on virtual time."""

from __future__ import annotations

import base64

import pytest

from people import EC2_TRUST, allow
from refusals import refused, unchecked

ACCOUNT = "123456789012"


def states(ec2):
    return {
        each["InstanceId"]: each["State"]["Name"]
        for reservation in ec2.describe_instances()["Reservations"]
        for each in reservation["Instances"]
    }


def one(ec2, instance_id):
    return ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]


def test_an_instance_lives_from_pending_to_terminated(house, ec2, bare) -> None:
    made = ec2.run_instances(ImageId=bare, InstanceType="m5.large", MinCount=1, MaxCount=1)
    (instance,) = made["Instances"]
    instance_id = instance["InstanceId"]
    assert instance_id.startswith("i-") and len(instance_id) == 19
    assert instance["State"] == {"Code": 0, "Name": "pending"}
    assert instance["StateReason"] == {"Code": "pending", "Message": "pending"}
    assert instance["PrivateIpAddress"].startswith("172.31.") and instance["SubnetId"] and instance["VpcId"]
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    house.settle(lambda: states(ec2)[instance_id] == "running")
    shown = one(ec2, instance_id)
    assert shown["State"] == {"Code": 16, "Name": "running"} and "StateReason" not in shown
    assert shown["NetworkInterfaces"][0]["PrivateIpAddress"] == shown["PrivateIpAddress"]
    (status,) = ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
    assert status["InstanceStatus"]["Status"] == "ok" and status["SystemStatus"]["Status"] == "ok"
    (change,) = ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "shutting-down")
    house.settle(lambda: states(ec2)[instance_id] == "terminated")
    ended = one(ec2, instance_id)
    assert ended["StateReason"] == {
        "Code": "Client.UserInitiatedShutdown",
        "Message": "Client.UserInitiatedShutdown: User initiated shutdown",
    }
    assert ended["StateTransitionReason"].startswith("User initiated (2026-01-01 00:00:")
    assert "PrivateIpAddress" not in ended and ended["NetworkInterfaces"] == []
    assert ec2.describe_instance_status()["InstanceStatuses"] == []
    assert ec2.describe_instance_status(IncludeAllInstances=True)["InstanceStatuses"][0]["InstanceId"] == instance_id
    again = ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"][0]
    assert again["CurrentState"]["Name"] == "terminated"
    house.pass_time(3700)
    assert states(ec2) == {}  # About an hour later it is forgotten.


def test_a_token_launches_once(house, ec2, bare) -> None:
    request = {"ImageId": bare, "InstanceType": "m5.large", "MinCount": 2, "MaxCount": 2, "ClientToken": "intent-1"}
    first, again = ec2.run_instances(**request), ec2.run_instances(**request)
    assert first["ReservationId"] == again["ReservationId"]
    ids = [each["InstanceId"] for each in first["Instances"]]
    assert ids == [each["InstanceId"] for each in again["Instances"]]
    assert [each["AmiLaunchIndex"] for each in again["Instances"]] == [0, 1]
    with refused("IdempotentParameterMismatch", status=400):
        ec2.run_instances(**{**request, "MaxCount": 3})
    ec2.terminate_instances(InstanceIds=ids)
    house.settle(lambda: set(states(ec2).values()) == {"terminated"})
    with refused("IdempotentInstanceTerminated", status=400):
        ec2.run_instances(**request)


def test_a_dry_run_launches_nothing_and_says_what_would_be(house, ec2, bare, person) -> None:
    request = {"ImageId": bare, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1, "DryRun": True}
    with refused("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", status=412):
        ec2.run_instances(**request)
    with refused("UnauthorizedOperation", status=403):
        person("anna").client("ec2").run_instances(**request)
    assert states(ec2) == {}


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"ImageId": "ami-12345678"}, "InvalidAMIID.NotFound", "The image id '[ami-12345678]' does not exist"),
        ({"ImageId": "image"}, "InvalidAMIID.Malformed", 'Invalid id: "image"'),
        ({"InstanceType": "m5.tiny"}, "InvalidParameterValue", "Invalid value 'm5.tiny' for InstanceType."),
        ({"SubnetId": "subnet-12345678"}, "InvalidSubnetID.NotFound", "The subnet ID 'subnet-12345678' does not exist"),
        (
            {"SecurityGroupIds": ["sg-12345678"]},
            "InvalidGroup.NotFound",
            "The security group 'sg-12345678' does not exist",
        ),
        ({"KeyName": "mine"}, "InvalidKeyPair.NotFound", "The key pair 'mine' does not exist"),
        (
            {"MinCount": 3, "MaxCount": 2},
            "InvalidParameterCombination",
            "The maximum count (2) is lower than the minimum (3).",
        ),
        (
            {"MinCount": 0},
            "InvalidParameterValue",
            "Value (0) for parameter minCount is invalid. Minimum is 1.",
        ),
        (
            {"IamInstanceProfile": {"Name": "gone"}},
            "InvalidParameterValue",
            "Value (gone) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
        ),
        (
            {"IamInstanceProfile": {"Arn": f"arn:aws:iam::{ACCOUNT}:role/worker"}},
            "InvalidParameterValue",
            f"Value (arn:aws:iam::{ACCOUNT}:role/worker) for parameter iamInstanceProfile.arn is invalid. "
            "Invalid IAM Instance Profile ARN",
        ),
        ({"InstanceType": "m6g.large"}, "InvalidParameterValue", None),
        ({"Placement": {"AvailabilityZone": "us-east-1z"}}, "InvalidParameterValue", None),
        ({"UserData": "x" * 16385}, "InvalidParameterValue", "User data is limited to 16384 bytes"),
        (
            {"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "aws:x", "Value": "1"}]}]},
            "InvalidParameterValue",
            "Tag keys starting with 'aws:' are reserved for internal use: aws:x",
        ),
        ({"LaunchTemplate": {"LaunchTemplateId": "lt-1"}}, "InvalidLaunchTemplateId.NotFound", None),
        ({"MetadataOptions": {"HttpPutResponseHopLimit": 65}}, "InvalidParameterValue", None),
    ],
)
def test_a_launch_that_cannot_be_is_refused_whole(ec2, bare, change, code, message) -> None:
    request = {"ImageId": bare, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1, **change}
    with refused(code, message, status=400):
        ec2.run_instances(**request)
    assert states(ec2) == {}


def test_what_a_request_lacks_is_named(ec2, bare) -> None:
    raw = unchecked(ec2)
    with refused("MissingParameter", "The request must contain the parameter ImageId", status=400):
        raw.run_instances(InstanceType="m5.large", MinCount=1, MaxCount=1)
    with refused("MissingParameter", "The request must contain the parameter MinCount", status=400):
        raw.run_instances(ImageId=bare, MaxCount=1)
    with refused("MissingParameter", status=400):
        raw.terminate_instances()
    assert states(ec2) == {}


def test_as_many_as_fit_are_launched_and_no_machine_is_promised_twice(house, ec2, bare) -> None:
    # The house offers 64 vCPUs and 256 GiB; an m5.8xlarge has 32 and 128.
    made = ec2.run_instances(ImageId=bare, InstanceType="m5.8xlarge", MinCount=1, MaxCount=5)["Instances"]
    assert len(made) == 2
    with refused("InsufficientInstanceCapacity", status=500) as caught:
        ec2.run_instances(ImageId=bare, InstanceType="m5.large", MinCount=1, MaxCount=1)
    assert caught.value.response["Error"]["Message"].startswith(
        "We currently do not have sufficient m5.large capacity in the Availability Zone you requested (us-east-1a)."
    )
    house.settle(lambda: set(states(ec2).values()) == {"running"})
    ec2.terminate_instances(InstanceIds=[made[0]["InstanceId"]])
    house.settle(lambda: "terminated" in states(ec2).values())
    ec2.run_instances(ImageId=bare, InstanceType="m5.large", MinCount=1, MaxCount=1)


def test_a_launch_that_the_machine_cannot_carry_ends_with_the_reason(house, ec2, bare) -> None:
    machines = house.assembly.machines
    machines._capacity = (0, 0)  # The host has lost what was promised, after the request was answered.
    house.house.ports["machines"].capacity = lambda: (64, 262_144)
    instance_id = ec2.run_instances(ImageId=bare, InstanceType="m5.large", MinCount=1, MaxCount=1)["Instances"][0][
        "InstanceId"
    ]
    house.settle(lambda: states(ec2)[instance_id] == "terminated")
    reason = one(ec2, instance_id)["StateReason"]
    assert reason["Code"] == "Server.InsufficientInstanceCapacity"


def test_a_machine_that_dies_of_itself_is_told(house, ec2, launch) -> None:
    instance_id = launch()["InstanceId"]
    house.assembly.machines.fail(instance_id, "Server.InternalError: the host lost power")
    house.settle(lambda: states(ec2)[instance_id] == "terminated")
    assert one(ec2, instance_id)["StateReason"] == {
        "Code": "Server.InternalError",
        "Message": "Server.InternalError: the host lost power",
    }


def test_after_a_restart_instances_whose_machines_are_gone_are_terminated_and_pending_ones_launched(
    house, ec2, launch, bare
) -> None:
    lost = launch()["InstanceId"]
    ending = launch()["InstanceId"]
    house.loop.run_until_complete(house.assembly.stop())  # The loops stand still: what is written stays undone.
    waiting = ec2.run_instances(ImageId=bare, InstanceType="m5.large", MinCount=1, MaxCount=1)["Instances"][0][
        "InstanceId"
    ]
    ec2.terminate_instances(InstanceIds=[ending])
    house.loop.run_until_complete(house.assembly.machines.close(stop_instances=True))
    house.loop.run_until_complete(house.assembly.start())
    expected = {lost: "terminated", ending: "terminated", waiting: "running"}
    house.settle(lambda: states(ec2) == expected)
    assert one(ec2, lost)["StateReason"]["Code"] == "Server.InternalError"
    assert one(ec2, ending)["StateReason"]["Code"] == "Client.UserInitiatedShutdown"


def test_after_a_restart_of_the_server_alone_machines_go_on(house, ec2, launch) -> None:
    kept = launch()["InstanceId"]
    house.loop.run_until_complete(house.assembly.stop())
    house.loop.run_until_complete(house.assembly.start())
    house.pass_time(5)
    assert states(ec2) == {kept: "running"}


def test_an_instance_that_is_ended_while_it_boots_never_runs(house, ec2, bare) -> None:
    house.assembly.machines._boot_seconds = 30.0
    instance_id = ec2.run_instances(ImageId=bare, InstanceType="m5.large", MinCount=1, MaxCount=1)["Instances"][0][
        "InstanceId"
    ]
    house.pass_time(10)
    assert states(ec2)[instance_id] == "pending"
    ec2.terminate_instances(InstanceIds=[instance_id])
    house.settle(lambda: states(ec2)[instance_id] == "terminated", seconds=5)
    house.pass_time(60)
    assert states(ec2)[instance_id] == "terminated"
    assert house.loop.run_until_complete(house.assembly.machines.list()) == []


def test_a_slow_end_does_not_hold_up_a_launch(house, ec2, launch, bare) -> None:
    import asyncio

    machines = house.assembly.machines
    slow = launch()["InstanceId"]
    terminate = machines.terminate

    async def slowly(instance_id):
        if instance_id == slow:
            await asyncio.sleep(60)
        await terminate(instance_id)

    machines.terminate = slowly
    ec2.terminate_instances(InstanceIds=[slow])
    house.pass_time(1)
    other = launch()["InstanceId"]
    assert states(ec2) == {slow: "shutting-down", other: "running"}
    house.settle(lambda: states(ec2)[slow] == "terminated")


def test_a_termination_that_fails_is_tried_again(house, ec2, launch) -> None:
    machines = house.assembly.machines
    instance_id = launch()["InstanceId"]
    terminate, failures = machines.terminate, []

    async def failing(instance_id):
        if len(failures) < 2:
            failures.append(instance_id)
            raise OSError("the supervisor does not answer")
        await terminate(instance_id)

    machines.terminate = failing
    ec2.terminate_instances(InstanceIds=[instance_id])
    house.settle(lambda: states(ec2)[instance_id] == "terminated", seconds=10)
    assert len(failures) == 2


def test_the_console_says_what_boot_said(house, ec2, launch) -> None:
    script = "#!/bin/bash\necho hello from user data\necho ECS_CLUSTER=mine >> /etc/ecs/ecs.config\n"
    instance_id = launch(UserData=script)["InstanceId"]
    house.pass_time(3)
    answer = ec2.get_console_output(InstanceId=instance_id)
    assert answer["InstanceId"] == instance_id and answer["Timestamp"]
    assert "hello from user data" in answer["Output"]
    shown = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(shown).decode() == script
    house.assembly.machines._machines[instance_id].console.append("the ECS agent ended: refused")
    house.pass_time(130)
    assert "the ECS agent ended: refused" in ec2.get_console_output(InstanceId=instance_id)["Output"]
    ec2.terminate_instances(InstanceIds=[instance_id])
    house.settle(lambda: states(ec2)[instance_id] == "terminated")
    assert "hello from user data" in ec2.get_console_output(InstanceId=instance_id)["Output"]


def test_instances_are_found_by_filters_and_shown_in_pages(house, ec2, launch, profile) -> None:
    arn = profile()
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "blue"}]}]
    small = launch(TagSpecifications=tags)["InstanceId"]
    large = launch(InstanceType="c5.xlarge", IamInstanceProfile={"Arn": arn})["InstanceId"]

    def found(**filters):
        asked = [{"Name": name.replace("__", ":").replace("_", "-"), "Values": v} for name, v in filters.items()]
        answer = ec2.describe_instances(Filters=asked)["Reservations"]
        return [each["InstanceId"] for reservation in answer for each in reservation["Instances"]]

    assert found(tag__team=["blue"]) == [small]
    assert found(tag__team=["b*", "green"]) == [small]
    assert found(tag_key=["team"]) == [small]
    assert found(instance_type=["c5.*"]) == [large]
    assert found(instance_type=["c5.*"], instance_state_name=["terminated"]) == []
    assert found(instance_state_name=["running", "pending"]) == [small, large]
    answer = ec2.describe_instances(Filters=[{"Name": "iam-instance-profile.arn", "Values": [arn]}])["Reservations"]
    assert [each["InstanceId"] for each in answer[0]["Instances"]] == [large]
    with refused("InvalidParameterValue", "The filter 'colour' is invalid", status=400):
        found(colour=["blue"])
    others = [launch(InstanceType="t3.nano")["InstanceId"] for _ in range(5)]
    first = ec2.describe_instances(MaxResults=5)
    assert len(first["Reservations"]) == 5
    second = ec2.describe_instances(MaxResults=5, NextToken=first["NextToken"])
    assert [each["Instances"][0]["InstanceId"] for each in second["Reservations"]] == others[3:]
    assert "NextToken" not in second
    with refused("InvalidParameterValue", status=400):
        ec2.describe_instances(MaxResults=4)
    with refused("InvalidParameterValue", status=400):
        ec2.describe_instances(NextToken="rubbish")
    with refused("InvalidParameterCombination", status=400):
        ec2.describe_instances(InstanceIds=[small], MaxResults=5)


def test_ids_of_nothing_and_what_is_no_id(ec2, launch) -> None:
    living = launch()["InstanceId"]
    gone, two = "i-0123456789abcdef0", ["i-0123456789abcdef0", "i-0123456789abcdef1"]
    text = f"The instance ID '{gone}' does not exist"
    with refused("InvalidInstanceID.NotFound", text, status=400):
        ec2.describe_instances(InstanceIds=[gone])
    with refused("InvalidInstanceID.NotFound", f"The instance IDs '{', '.join(two)}' do not exist", status=400):
        ec2.terminate_instances(InstanceIds=[living, *two])
    with refused("InvalidInstanceID.Malformed", 'Invalid id: "instance"', status=400):
        ec2.terminate_instances(InstanceIds=["instance"])
    with refused("InvalidInstanceID.NotFound", text, status=400):
        ec2.get_console_output(InstanceId=gone)
    assert states(ec2) == {living: "running"}


def test_a_protected_instance_is_not_terminated(ec2, launch) -> None:
    instance_id = launch(DisableApiTermination=True)["InstanceId"]
    with refused("OperationNotPermitted", status=400):
        ec2.terminate_instances(InstanceIds=[instance_id])


def test_instances_of_one_region_are_not_seen_in_another(house, ec2, launch) -> None:
    instance_id = launch()["InstanceId"]
    elsewhere = house.client("ec2", region="eu-central-1")
    assert states(elsewhere) == {}
    with refused("InvalidInstanceID.NotFound", status=400):
        elsewhere.terminate_instances(InstanceIds=[instance_id])


def test_tags_are_put_on_changed_and_taken_off(ec2, launch) -> None:
    instance_id = launch()["InstanceId"]
    ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "a", "Value": "3"}])
    assert one(ec2, instance_id)["Tags"] == [{"Key": "a", "Value": "3"}, {"Key": "b", "Value": "2"}]
    ec2.delete_tags(Resources=[instance_id], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b"}])
    (tag,) = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [instance_id]}])["Tags"]
    assert tag == {"Key": "a", "Value": "3", "ResourceId": instance_id, "ResourceType": "instance"}
    with refused("InvalidInstanceID.NotFound", status=400):
        ec2.create_tags(Resources=["i-0123456789abcdef0"], Tags=[{"Key": "a", "Value": "1"}])


def test_an_instance_without_a_role_in_its_profile_is_not_launched(ec2, bare, profile) -> None:
    arn = profile(role=False)
    with refused("InvalidParameterValue", f'IAM Instance Profile "{arn}" has no associated IAM Roles', status=400):
        ec2.run_instances(
            ImageId=bare, InstanceType="m5.large", MinCount=1, MaxCount=1, IamInstanceProfile={"Name": "worker"}
        )


def test_who_launches_with_a_profile_must_be_allowed_to_pass_its_role(house, bare, person, profile) -> None:
    profile()
    anna = person("anna")
    hers = anna.client("ec2")
    request = {
        "ImageId": bare, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1,
        "IamInstanceProfile": {"Name": "worker"},
    }  # fmt: skip
    with refused(
        "UnauthorizedOperation",
        f"You are not authorized to perform this operation. User: {anna.arn} is not authorized to perform: "
        f"ec2:RunInstances on resource: arn:aws:ec2:us-east-1:{ACCOUNT}:instance/* "
        "because no identity-based policy allows the ec2:RunInstances action",
        status=403,
    ):
        hers.run_instances(**request)
    anna.may(allow("ec2:RunInstances"))
    role = f"arn:aws:iam::{ACCOUNT}:role/worker"
    with refused(
        "UnauthorizedOperation",
        f"You are not authorized to perform this operation. User: {anna.arn} is not authorized to perform: "
        f"iam:PassRole on resource: {role} because no identity-based policy allows the iam:PassRole action",
        status=403,
    ):
        hers.run_instances(**request)
    assert hers.run_instances(**{name: value for name, value in request.items() if name != "IamInstanceProfile"})
    anna.may(
        allow("iam:PassRole", role, Condition={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}),
        name="pass",
    )
    assert hers.run_instances(**request)


def test_a_launch_is_asked_about_each_kind_of_resource(person, bare) -> None:
    anna = person("anna")
    hers = anna.client("ec2")
    base = f"arn:aws:ec2:us-east-1:{ACCOUNT}"
    kinds = ["instance/*", "network-interface/*", "volume/*", "subnet/*", "security-group/*"]
    request = {"ImageId": bare, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1}
    resources = [f"{base}:{kind}" for kind in kinds] + ["arn:aws:ec2:us-east-1::image/*"]
    for left_out in resources:
        anna.may(allow("ec2:RunInstances", [each for each in resources if each != left_out]))
        with refused("UnauthorizedOperation", status=403):
            hers.run_instances(**request)
    anna.may(allow("ec2:RunInstances", resources))
    hers.run_instances(**request)
    anna.may(allow("ec2:RunInstances", Condition={"StringEqualsIfExists": {"ec2:InstanceType": "t3.micro"}}))
    with refused("UnauthorizedOperation", status=403):
        hers.run_instances(**request)


def test_tags_at_launch_ask_for_create_tags(person, bare) -> None:
    anna = person("anna")
    hers = anna.client("ec2")
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "blue"}]}]
    request = {"ImageId": bare, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1, "TagSpecifications": tags}
    anna.may(allow("ec2:RunInstances"))
    with refused("UnauthorizedOperation", status=403):
        hers.run_instances(**request)
    anna.may(allow("ec2:CreateTags", Condition={"StringEquals": {"ec2:CreateAction": "RunInstances"}}), name="tags")
    instance_id = hers.run_instances(**request)["Instances"][0]["InstanceId"]
    with refused("UnauthorizedOperation", status=403):
        hers.create_tags(Resources=[instance_id], Tags=[{"Key": "a", "Value": "b"}])
    anna.may(allow("ec2:TerminateInstances", Condition={"StringEquals": {"ec2:ResourceTag/team": "green"}}), name="end")
    with refused("UnauthorizedOperation", status=403):
        hers.terminate_instances(InstanceIds=[instance_id])


def test_an_instance_is_given_another_profile_while_it_lives(house, ec2, launch, profile, person) -> None:
    first, second = profile("one"), profile("two")
    instance_id = launch(IamInstanceProfile={"Name": "one"})["InstanceId"]
    (association,) = ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]
    assert association["IamInstanceProfile"]["Arn"] == first and association["State"] == "associated"
    with refused("IncorrectState", status=400):
        ec2.associate_iam_instance_profile(InstanceId=instance_id, IamInstanceProfile={"Name": "two"})
    anna = person("anna")
    anna.may(allow("ec2:*"))
    with refused("UnauthorizedOperation", status=403):
        anna.client("ec2").replace_iam_instance_profile_association(
            AssociationId=association["AssociationId"], IamInstanceProfile={"Name": "two"}
        )
    ec2.replace_iam_instance_profile_association(
        AssociationId=association["AssociationId"], IamInstanceProfile={"Name": "two"}
    )
    assert one(ec2, instance_id)["IamInstanceProfile"]["Arn"] == second
    (association,) = ec2.describe_iam_instance_profile_associations(
        Filters=[{"Name": "instance-id", "Values": [instance_id]}]
    )["IamInstanceProfileAssociations"]
    ec2.disassociate_iam_instance_profile(AssociationId=association["AssociationId"])
    assert "IamInstanceProfile" not in one(ec2, instance_id)
    assert ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"] == []
    with refused("InvalidAssociationID.NotFound", status=400):
        ec2.disassociate_iam_instance_profile(AssociationId=association["AssociationId"])


def test_a_state_change_is_told_to_the_house(house, launch, ec2) -> None:
    told = []
    append = house.house.outbox.append
    house.house.outbox.append = lambda transaction, event: (told.append(event), append(transaction, event))
    instance_id = launch()["InstanceId"]
    ec2.terminate_instances(InstanceIds=[instance_id])
    house.settle(lambda: states(ec2)[instance_id] == "terminated")
    changes = [event for event in told if event.detail_type == "EC2 Instance State-change Notification"]
    assert [event.detail["state"] for event in changes] == ["pending", "running", "shutting-down", "terminated"]
    assert {event.detail["instance-id"] for event in changes} == {instance_id}
    assert {event.resource for event in changes} == {f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/{instance_id}"}


def test_a_role_that_trusts_nobody_still_launches(house, launch, profile) -> None:
    """As at AWS: only the metadata service finds out that EC2 cannot take the role."""
    profile("worker", EC2_TRUST.replace("ec2.amazonaws.com", "lambda.amazonaws.com"))
    assert launch(IamInstanceProfile={"Name": "worker"})["State"]["Name"] == "running"
