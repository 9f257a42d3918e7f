"""Wrong roles and time: what is taken away while jobs run, what never comes, and what only the call itself can tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from batch_house import POLICY, ROLE, BatchHouse
from batch_room import Room, trust
from in_process import ACCOUNT, REGION, InProcessHouse
from longshore.aws.clock import milliseconds
from longshore.kit.call import Call
from longshore.kit.event import Event
from longshore.services.batch import store, troubles
from longshore.services.batch.environments import NONE_JOINED
from longshore.services.batch.reactions import on_iam_change
from longshore.services.batch.records import Environment
from wrong_roles import console, explained, mend_as_told

HEALS_SECONDS = 10.0
HEALTHY = "ComputeEnvironment Healthy"


@pytest.fixture
def batch(house: InProcessHouse) -> Iterator[BatchHouse]:
    made = BatchHouse(house)
    yield made
    made.assert_memory_is_the_store()


def no_policy(batch: BatchHouse) -> None:
    batch.iam.detach_role_policy(RoleName=ROLE, PolicyArn=POLICY)


def policy(batch: BatchHouse) -> None:
    batch.iam.attach_role_policy(RoleName=ROLE, PolicyArn=POLICY)


def is_connected(batch: BatchHouse) -> bool:
    """Of the one container instance."""
    cluster = batch.described()["ecsClusterArn"]
    arns = batch.ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
    shown = batch.ecs.describe_container_instances(cluster=cluster, containerInstances=arns)["containerInstances"]
    assert len(shown) == 1
    return bool(shown[0]["agentConnected"])


# --- taken away while jobs run ---


def test_a_policy_that_is_taken_away_stops_placement_and_no_job(batch: BatchHouse) -> None:
    batch.chain(maxvCpus=2, instanceTypes=["c6i.large"])
    running = batch.submit(script={"RUN_SECONDS": "60"})
    batch.until(running, "RUNNING")
    no_policy(batch)
    batch.house.settle(lambda: not is_connected(batch), seconds=5)  # The stream ends; nobody waits for the next.
    waiting = batch.submit()
    reason = batch.reason(waiting, "ACTION_REQUIRED", seconds=15)
    (instance,) = batch.instances()
    refused = (
        f"assumed-role/{ROLE}/{instance['InstanceId']} is not authorized to perform: ecs:RegisterContainerInstance"
    )
    assert reason.startswith(
        f"ACTION_REQUIRED - the agent of instance {instance['InstanceId']} of compute environment ce is not connected: User:"
    )
    assert refused in reason and refused in batch.described()["statusReason"]
    # The job's container ends meanwhile; its end can't be told.
    batch.house.pass_time(100)
    assert "AccessDeniedException" in console(batch, instance["InstanceId"])
    assert batch.job(running)["status"] == "RUNNING"
    assert batch.job(waiting)["status"] == "RUNNABLE"
    assert explained(batch, running)["chain"][0]["of"] == "instance role"
    assert len(batch.instances()) == 1
    policy(batch)
    ended = batch.ended(running, seconds=HEALS_SECONDS)
    assert (ended["status"], ended["container"]["exitCode"], len(ended["attempts"])) == ("SUCCEEDED", 0, 1)
    assert batch.ended(waiting, seconds=HEALS_SECONDS)["status"] == "SUCCEEDED"
    assert [each["InstanceId"] for each in batch.instances()] == [instance["InstanceId"]]
    assert batch.described()["statusReason"] == HEALTHY


def test_what_a_job_ends_with_meanwhile_is_what_is_told_when_it_can_be(batch: BatchHouse) -> None:
    batch.chain()
    running = batch.submit(script={"RUN_SECONDS": "30", "EXIT_CODE": "7"})
    batch.until(running, "RUNNING")
    no_policy(batch)
    batch.house.pass_time(300)
    assert batch.job(running)["status"] == "RUNNING"
    policy(batch)
    ended = batch.ended(running, seconds=HEALS_SECONDS)
    assert (ended["status"], ended["container"]["exitCode"]) == ("FAILED", 7)


def test_a_role_that_is_deleted_and_made_again_is_taken_up_by_its_instances(batch: BatchHouse) -> None:
    batch.chain(maxvCpus=2, instanceTypes=["c6i.large"])
    batch.ended(batch.submit())
    batch.iam.remove_role_from_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)
    no_policy(batch)
    batch.iam.delete_role(RoleName=ROLE)
    batch.house.settle(lambda: not is_connected(batch), seconds=5)
    job_id = batch.submit()
    batch.reason(job_id, "ACTION_REQUIRED", seconds=15)
    assert explained(batch, job_id)["chain"][0]["link"] == "role"
    mend_as_told(batch, job_id)
    assert batch.ended(job_id, seconds=HEALS_SECONDS)["status"] == "SUCCEEDED"
    assert len(batch.instances()) == 1


def test_a_role_that_may_still_poll_keeps_its_stream(batch: BatchHouse) -> None:
    batch.chain()
    batch.ended(batch.submit())
    batch.allow(ROLE, "s3:*")
    batch.role("another")
    batch.house.pass_time(5)
    assert is_connected(batch)
    (instance,) = batch.instances()
    assert console(batch, instance["InstanceId"]).count("ACS stream open") == 1


def test_an_agent_that_may_not_report_leaves_its_job_where_it_is_and_explain_says_so(batch: BatchHouse) -> None:
    """At AWS such a job is STARTING for ever, without a word."""
    batch.chain()
    batch.allow(ROLE, "ecs:SubmitTaskStateChange", effect="Deny", name="no")
    job_id = batch.submit()
    batch.until(job_id, "STARTING")
    batch.house.pass_time(60)
    assert batch.job(job_id)["status"] == "STARTING"
    answer = explained(batch, job_id)
    first = answer["chain"][0]
    assert (first["action"], first["of"]) == ("ecs:SubmitTaskStateChange", "instance role")
    assert first["mend"] == f"aws iam delete-role-policy --role-name {ROLE} --policy-name no"
    (instance,) = batch.instances()
    assert "is not authorized to perform: ecs:SubmitTaskStateChange" in console(batch, instance["InstanceId"])
    mend_as_told(batch, job_id)
    assert batch.ended(job_id, seconds=HEALS_SECONDS)["status"] == "SUCCEEDED"


# --- what is told until it is over ---


def role_changed(room: Room) -> Environment:
    """The environment after the room has heard that some role has changed, before anything is tried again."""
    event = Event(
        source="aws.iam", detail_type="IAM Role Changed", account=ACCOUNT, region=REGION, time=room.house.clock.now(),
        resource=f"arn:aws:iam::{ACCOUNT}:role/other", detail={},
    )  # fmt: skip
    room.write(lambda call: on_iam_change(call, event))
    (found,) = room.read(lambda call: store.all_environments(call.transaction))
    assert isinstance(found, Environment)
    return found


def test_a_change_of_roles_ends_no_trouble_that_stands_and_has_it_tried_at_once(room: Room) -> None:
    """Not for an instant is the environment called healthy: what was refused is refused still."""
    room.profile()
    room.iam.create_role(RoleName="service", AssumeRolePolicyDocument=trust("batch.amazonaws.com"))
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}

    def may(*statements: dict[str, Any]) -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": [allow, *statements]})
        room.iam.put_role_policy(RoleName="service", PolicyName="p", PolicyDocument=document)

    may({"Effect": "Deny", "Action": "ec2:RunInstances", "Resource": "*"})
    room.environment()
    who = f"arn:aws:sts::{ACCOUNT}:assumed-role/service/aws-batch"
    refused = f"User: {who} is not authorized to perform: ec2:RunInstances on resource: *"

    def meet(call: Call) -> None:
        (found,) = store.all_environments(call.transaction)
        served = replace(found, service_role=f"arn:aws:iam::{ACCOUNT}:role/service")
        troubles.add(call, served, "permissions", refused)
        (found,) = store.all_environments(call.transaction)
        troubles.add(call, found, "launch", 'IAM Instance Profile "x" has no associated IAM Roles')
        (found,) = store.all_environments(call.transaction)
        troubles.add(call, found, "capacity", "none left", "m6i.large")

    room.write(meet)
    now = room.read(lambda call: milliseconds(call.now))
    after = role_changed(room)
    assert after.status_reason == f"CLIENT_ERROR - {refused}"
    # The profile holds a role: that trouble is over. The other stands, and may be met again at once. Capacity is no role's.
    assert [(one.code, one.until <= now) for one in after.troubles] == [("permissions", True), ("capacity", False)]
    may()
    after = role_changed(room)
    assert ([one.code for one in after.troubles], after.status_reason) == (["capacity"], HEALTHY)


# --- nobody joins ---


def test_an_environment_whose_instances_never_join_is_given_up_and_comes_back_when_it_is_mended_and_updated() -> None:
    house = InProcessHouse(join_seconds=600)
    try:
        batch = BatchHouse(house)
        batch.chain()
        no_policy(batch)
        job_id = batch.submit()
        batch.house.settle(lambda: batch.instances("running"), seconds=15)
        batch.house.pass_time(590)
        assert batch.described()["status"] == "VALID"
        batch.house.settle(lambda: batch.described()["status"] == "INVALID", seconds=20)
        assert batch.described()["statusReason"] == NONE_JOINED
        batch.house.settle(lambda: batch.instances() == [], seconds=10)  # It was scaled down.
        assert batch.job(job_id)["status"] == "RUNNABLE"
        assert NONE_JOINED in batch.job(job_id)["statusReason"]
        assert explained(batch, job_id)["chain"][0]["action"] == "ecs:RegisterContainerInstance"
        # Updated and not mended: as at AWS it is VALID until it has failed once more.
        batch.batch.update_compute_environment(computeEnvironment="ce", state="ENABLED")
        batch.house.settle(lambda: batch.described()["status"] == "INVALID", seconds=700)
        # Mended, it waits for the update: whether instances would join now can only be seen by launching one.
        mend_as_told(batch, job_id)
        batch.house.pass_time(30)
        assert batch.described()["status"] == "INVALID"
        batch.batch.update_compute_environment(computeEnvironment="ce", state="ENABLED")
        assert batch.ended(job_id, seconds=HEALS_SECONDS)["status"] == "SUCCEEDED"
        assert (batch.described()["status"], batch.described()["statusReason"]) == ("VALID", HEALTHY)
        batch.assert_memory_is_the_store()
    finally:
        house.close()


@pytest.mark.parametrize("action", ["ecs:Poll", "ecs:DiscoverPollEndpoint"])
def test_an_instance_that_registers_and_can_not_listen_has_not_joined(action: str) -> None:
    house = InProcessHouse(join_seconds=100)
    try:
        batch = BatchHouse(house)
        batch.chain(minvCpus=2)
        batch.house.settle(lambda: batch.instances("running"), seconds=15)
        batch.house.pass_time(200)
        assert batch.described()["status"] == "VALID"  # That one has joined, whatever comes later.
        batch.allow(ROLE, action, effect="Deny", name="no")
        batch.house.pass_time(300)
        assert batch.described()["status"] == "VALID"
        batch.batch.update_compute_environment(computeEnvironment="ce", computeResources={"minvCpus": 4})
        batch.ec2.terminate_instances(InstanceIds=[each["InstanceId"] for each in batch.instances()])
        batch.house.settle(lambda: batch.described()["status"] == "INVALID", seconds=120)
        assert batch.described()["statusReason"] == NONE_JOINED
        batch.house.settle(lambda: batch.instances() == [], seconds=10)
    finally:
        house.close()


def test_one_that_joins_late_is_not_given_up(batch: BatchHouse) -> None:
    batch.chain()
    no_policy(batch)
    job_id = batch.submit()
    batch.house.pass_time(1700)
    policy(batch)
    assert batch.ended(job_id, seconds=HEALS_SECONDS)["status"] == "SUCCEEDED"
    batch.house.pass_time(200)
    assert batch.described()["status"] == "VALID"


# --- profiles that are made again ---


def test_a_machine_with_a_profile_that_is_gone_gives_way_when_there_is_one_again(batch: BatchHouse) -> None:
    """Launched with the old profile, it can never join: its metadata say InstanceProfileNotFound for ever."""
    batch.chain(maxvCpus=2, instanceTypes=["c6i.large"])
    no_policy(batch)
    job_id = batch.submit()
    batch.reason(job_id, "ACTION_REQUIRED", seconds=15)
    (first,) = batch.instances()
    batch.iam.remove_role_from_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)
    batch.iam.delete_instance_profile(InstanceProfileName=ROLE)
    policy(batch)
    batch.house.pass_time(60)
    assert batch.job(job_id)["status"] == "RUNNABLE"
    assert [each["InstanceId"] for each in batch.instances()] == [first["InstanceId"]]
    mend_as_told(batch, job_id)
    assert batch.ended(job_id, seconds=HEALS_SECONDS)["status"] == "SUCCEEDED"
    assert first["InstanceId"] not in [each["InstanceId"] for each in batch.instances()]


# --- what only the call can tell ---


def from_address(batch: BatchHouse, effect: str, network: str, negated: bool = False) -> None:
    operator = "NotIpAddress" if negated else "IpAddress"
    statement = {
        "Effect": effect, "Action": "ecs:*", "Resource": "*", "Condition": {operator: {"aws:SourceIp": network}},
    }  # fmt: skip
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    batch.iam.put_role_policy(RoleName=ROLE, PolicyName="address", PolicyDocument=document)


def test_an_answer_that_rests_on_the_callers_address_is_not_given_before_the_call_was_made(batch: BatchHouse) -> None:
    batch.chain()
    from_address(batch, "Deny", "203.0.113.0/24")
    job_id = batch.submit()
    found: list[dict[str, Any]] = explained(batch, job_id)["chain"]
    assert {(each["sure"], tuple(each["restsOn"]), each["mend"]) for each in found} == {
        (False, ("aws:sourceip",), None)
    }
    assert explained(batch, job_id)["reasons"][-1].endswith("only the call itself can tell: aws:sourceip")
    assert batch.ended(job_id)["status"] == "SUCCEEDED"  # The instance's address is another: no false red.
    assert batch.described()["statusReason"] == HEALTHY


def test_what_the_call_itself_was_told_is_sure(batch: BatchHouse) -> None:
    batch.chain()
    from_address(batch, "Deny", "203.0.113.0/24", negated=True)
    job_id = batch.submit()
    reason = batch.reason(job_id, "ACTION_REQUIRED", seconds=60)
    assert "its agent's call was refused: User: " in reason and "with an explicit deny" in reason
    assert "with an explicit deny in an identity-based policy" in batch.described()["statusReason"]
    first = explained(batch, job_id)["chain"][0]
    assert (first["sure"], first["action"]) == (True, "ecs:RegisterContainerInstance")
    assert first["mend"] == f"aws iam delete-role-policy --role-name {ROLE} --policy-name address"
    batch.iam.delete_role_policy(RoleName=ROLE, PolicyName="address")
    assert batch.ended(job_id, seconds=HEALS_SECONDS)["status"] == "SUCCEEDED"


def test_a_trust_that_is_narrower_than_the_service_is_judged_as_it_will_be(batch: BatchHouse) -> None:
    """sts:RoleSessionName of an instance's session is the instance's id."""
    batch.chain()
    document = json.loads(trust("ec2.amazonaws.com"))
    document["Statement"][0]["Condition"] = {"StringLike": {"sts:RoleSessionName": "i-*"}}
    batch.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(document))
    assert batch.ended(batch.submit())["status"] == "SUCCEEDED"
