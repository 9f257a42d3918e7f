"""The chain role -> profile -> instance -> agent -> job, broken at each link: the job says which, and runs once it is mended.

The rows are those of users' reports (pains.md 2a). Nothing is restarted: what heals, heals by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from batch_house import POLICY, ROLE, BatchHouse
from batch_room import trust
from in_process import InProcessHouse
from longshore.kit.call import Call
from longshore.services.batch import chain, store

HEALS_SECONDS = 10.0


@pytest.fixture
def batch(house: InProcessHouse) -> Iterator[BatchHouse]:
    made = BatchHouse(house)
    yield made
    made.assert_memory_is_the_store()


def no_role_inside(batch: BatchHouse) -> None:
    batch.iam.remove_role_from_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)


def role_inside(batch: BatchHouse) -> None:
    batch.iam.add_role_to_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)


def wrong_trust(batch: BatchHouse) -> None:
    batch.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=trust("ecs.amazonaws.com"))


def right_trust(batch: BatchHouse) -> None:
    batch.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=trust("ec2.amazonaws.com"))


def no_policy(batch: BatchHouse) -> None:
    batch.iam.detach_role_policy(RoleName=ROLE, PolicyArn=POLICY)


def policy(batch: BatchHouse) -> None:
    batch.iam.attach_role_policy(RoleName=ROLE, PolicyArn=POLICY)


def task_policy(batch: BatchHouse) -> None:
    """The mistake of aws-batch-example#1: the policy that is meant for tasks."""
    no_policy(batch)
    batch.iam.attach_role_policy(
        RoleName=ROLE, PolicyArn="arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
    )


def denied(batch: BatchHouse) -> None:
    batch.allow(ROLE, "ecs:Poll", effect="Deny", name="deny")


def not_denied(batch: BatchHouse) -> None:
    batch.iam.delete_role_policy(RoleName=ROLE, PolicyName="deny")


REGISTER = (
    "User: arn:aws:sts::123456789012:assumed-role/ecsInstanceRole/{instance} is not authorized to perform:"
    " ecs:RegisterContainerInstance on resource: {cluster} because no identity-based policy allows the"
    " ecs:RegisterContainerInstance action"
)
Change = Callable[[BatchHouse], None]

# (what is wrong, how it comes about, how it is mended, what the job says)
LINKS: list[tuple[str, Change, Change, str]] = [
    ("no role in the profile", no_role_inside, role_inside,
     'IAM Instance Profile "arn:aws:iam::123456789012:instance-profile/ecsInstanceRole" has no associated IAM Roles'),
    ("the trust names ecs", wrong_trust, right_trust,
     "has not joined its cluster: EC2 can't take the role ecsInstanceRole in the instance profile: User:"
     " ec2.amazonaws.com is not authorized to perform: sts:AssumeRole on resource:"
     " arn:aws:iam::123456789012:role/ecsInstanceRole"),
    ("no policy", no_policy, policy, f"has not joined its cluster: {REGISTER}"),
    ("the policy of tasks", task_policy, policy, f"has not joined its cluster: {REGISTER}"),
    ("the stream is denied", denied, not_denied,
     "is not authorized to perform: ecs:Poll on resource: arn:aws:ecs:us-east-1:123456789012:container-instance/"),
]  # fmt: skip


@pytest.mark.parametrize("name, breaks, mends, says", LINKS, ids=[row[0] for row in LINKS])
def test_a_broken_link_is_named_and_the_job_runs_when_it_is_mended(
    batch: BatchHouse, name: str, breaks: Change, mends: Change, says: str
) -> None:
    batch.chain()
    breaks(batch)
    job_id = batch.submit()
    reason = batch.reason(job_id, "ACTION_REQUIRED", seconds=15)
    instances = batch.instances()
    instance = instances[0]["InstanceId"] if instances else "-"
    expected = says.format(instance=instance, cluster=batch.described()["ecsClusterArn"])
    assert expected in reason
    assert any(expected in text for text in batch.explained(job_id))
    batch.assert_memory_is_the_store()
    batch.house.pass_time(200)
    assert batch.job(job_id)["status"] == "RUNNABLE"
    mends(batch)
    ended = batch.ended(job_id, seconds=HEALS_SECONDS)
    assert (ended["status"], ended["statusReason"]) == ("SUCCEEDED", "Essential container in task exited")
    assert len(ended["attempts"]) == 1


def test_a_whole_chain_has_no_diagnosis(batch: BatchHouse) -> None:
    batch.chain(minvCpus=2)
    batch.house.settle(lambda: batch.instances("running"))
    assert diagnosed(batch) == []


def test_every_action_that_is_missing_is_named(batch: BatchHouse) -> None:
    batch.chain(minvCpus=2)
    batch.house.settle(lambda: batch.instances("running"))
    no_policy(batch)
    broken = diagnosed(batch)
    assert [(each.link, each.action) for each in broken] == [
        ("policy", "ecs:RegisterContainerInstance"),
        ("policy", "ecs:DiscoverPollEndpoint"),
        ("policy", "ecs:Poll"),
    ]
    (instance,) = batch.instances()
    assert {each.principal for each in broken} == {
        f"arn:aws:sts::123456789012:assumed-role/ecsInstanceRole/{instance['InstanceId']}"
    }
    assert broken[0].resource == batch.described()["ecsClusterArn"]


def test_a_policy_for_one_cluster_alone_is_judged_as_it_will_be(batch: BatchHouse) -> None:
    batch.chain(minvCpus=2)
    batch.house.settle(lambda: batch.instances("running"))
    no_policy(batch)
    cluster = batch.described()["ecsClusterArn"]

    def allow_in(arn: str) -> None:
        statements = [
            {"Effect": "Allow", "Action": "ecs:RegisterContainerInstance", "Resource": arn},
            {"Effect": "Allow", "Action": "ecs:DiscoverPollEndpoint", "Resource": "*"},
            {
                "Effect": "Allow",
                "Action": "ecs:Poll",
                "Resource": "*",
                "Condition": {"ArnEquals": {"ecs:cluster": arn}},
            },
        ]
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        batch.iam.put_role_policy(RoleName=ROLE, PolicyName="p", PolicyDocument=document)

    allow_in(cluster)
    assert diagnosed(batch) == []
    allow_in(cluster + "x")
    assert [each.action for each in diagnosed(batch)] == ["ecs:RegisterContainerInstance", "ecs:Poll"]


def test_a_boundary_breaks_the_chain_as_well(batch: BatchHouse) -> None:
    batch.chain(minvCpus=2)
    batch.house.settle(lambda: batch.instances("running"))
    document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
    arn = batch.iam.create_policy(PolicyName="b", PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    batch.iam.put_role_permissions_boundary(RoleName=ROLE, PermissionsBoundary=arn)
    assert "permissions boundary" in diagnosed(batch)[0].text


def test_a_profile_that_was_deleted_is_named(batch: BatchHouse) -> None:
    batch.chain(minvCpus=2)
    batch.house.settle(lambda: batch.instances("running"))
    no_role_inside(batch)
    assert [(each.link, each.text) for each in diagnosed(batch)] == [
        ("role", "instance profile ecsInstanceRole holds no role")
    ]
    batch.iam.delete_instance_profile(InstanceProfileName=ROLE)
    assert [each.text for each in diagnosed(batch)] == ["instance profile ecsInstanceRole does not exist"]
    batch.profile()
    (broken,) = diagnosed(batch)
    assert broken.text.startswith("instance profile ecsInstanceRole was deleted and made again after instance i-")


def diagnosed(batch: BatchHouse) -> list[chain.Broken]:
    """Of the first instance of `ce`."""

    def read(call: Call) -> list[chain.Broken]:
        (environment,) = store.all_environments(call.transaction)
        one = store.instances_of(call.transaction, environment.number)[0]
        return chain.diagnose(call, environment, one)

    found: list[chain.Broken] = batch.read(read)
    return found


# --- the service role ---

SERVICE_LINKS: list[tuple[str, str]] = [
    ("ec2:RunInstances", "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS – Batch service role has a permission issue. ce: "),
    ("ecs:StartTask", "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS – Batch service role has a permission issue. ce: "),
    ("ecs:RegisterTaskDefinition", "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS – Batch service role has a permission"),
    (
        "autoscaling:SetDesiredCapacity",
        "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS – Batch service role has a permission",
    ),
]


@pytest.mark.parametrize("action, says", SERVICE_LINKS, ids=[row[0] for row in SERVICE_LINKS])
def test_what_the_service_role_lacks_is_named_and_the_job_runs_when_it_has_it(
    batch: BatchHouse, action: str, says: str
) -> None:
    batch.role("service", service="batch.amazonaws.com", policy=None)
    batch.allow("service", "*")
    batch.chain(serviceRole="service")
    batch.allow("service", action, effect="Deny", name="deny")
    job_id = batch.submit()
    reason = batch.reason(job_id, "MISCONFIGURATION", seconds=15)
    assert reason.startswith(says)
    assert (
        f"User: arn:aws:sts::123456789012:assumed-role/service/aws-batch is not authorized to perform: {action}"
        in reason
    )
    assert (batch.described()["status"], batch.described()["statusReason"][:15]) == ("VALID", "CLIENT_ERROR - ")
    batch.house.pass_time(300)
    assert batch.job(job_id)["status"] == "RUNNABLE"
    batch.iam.delete_role_policy(RoleName="service", PolicyName="deny")
    ended = batch.ended(job_id, seconds=HEALS_SECONDS)
    assert (ended["status"], len(ended["attempts"])) == ("SUCCEEDED", 1)
    assert batch.described()["statusReason"] == "ComputeEnvironment Healthy"


def test_a_role_that_the_service_role_may_not_pass_fails_that_job_alone(batch: BatchHouse) -> None:
    batch.role("service", service="batch.amazonaws.com", policy=None)
    batch.allow("service", "*")
    batch.chain(serviceRole="service")
    batch.role("jobs", service="ecs-tasks.amazonaws.com", policy=None)
    batch.define("with-role", container={"jobRoleArn": "arn:aws:iam::123456789012:role/jobs"})
    document = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Deny", "Action": "iam:PassRole", "Resource": "arn:aws:iam::123456789012:role/jobs"},
    }
    batch.iam.put_role_policy(RoleName="service", PolicyName="deny", PolicyDocument=json.dumps(document))
    refused, other = batch.submit(definition="with-role"), batch.submit()
    ended = batch.ended(refused)
    assert ended["status"] == "FAILED"
    assert "iam:PassRole on resource: arn:aws:iam::123456789012:role/jobs" in ended["statusReason"]
    assert batch.ended(other)["status"] == "SUCCEEDED"


def test_instances_can_not_be_ended_without_permission_and_are_once_there_is(batch: BatchHouse) -> None:
    batch.role("service", service="batch.amazonaws.com", policy=None)
    batch.allow("service", "*")
    batch.chain(serviceRole="service")
    batch.ended(batch.submit())
    batch.allow("service", "ec2:TerminateInstances", effect="Deny", name="deny")
    batch.house.pass_time(600)
    assert len(batch.instances()) == 1
    batch.iam.delete_role_policy(RoleName="service", PolicyName="deny")
    batch.house.settle(lambda: batch.instances() == [], seconds=HEALS_SECONDS)


def record_of(events: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The first record of an operation in the trail."""
    return next(json.loads(each["CloudTrailEvent"]) for each in events if each["EventName"] == name)


def test_the_trail_shows_who_did_what_for_a_job(batch: BatchHouse) -> None:
    batch.chain()
    batch.ended(batch.submit())
    batch.house.pass_time(2)
    trail = batch.house.client("cloudtrail")
    events = trail.lookup_events(MaxResults=50)["Events"]
    arn = "arn:aws:sts::123456789012:assumed-role"
    (instance,) = batch.instances()
    agents = record_of(events, "RegisterContainerInstance")["userIdentity"]["arn"]
    assert agents == f"{arn}/ecsInstanceRole/{instance['InstanceId']}"
    assert record_of(events, "StartTask")["userIdentity"]["arn"] == f"{arn}/AWSServiceRoleForBatch/aws-batch"
    assert record_of(events, "RunInstances")["userIdentity"]["invokedBy"] == "batch.amazonaws.com"
