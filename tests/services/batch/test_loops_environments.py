"""Compute environments and queues through the whole house: made, scaled, changed, taken down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from batch_house import BatchHouse
from in_process import InProcessHouse

WHOLE = {"containerOverrides": {"resourceRequirements": [{"type": "VCPU", "value": "16"}]}}


@pytest.fixture
def batch(house: InProcessHouse) -> Iterator[BatchHouse]:
    """With role, profile and a job definition, and no environment yet."""
    made = BatchHouse(house)
    made.role()
    made.profile()
    made.define()
    yield made
    made.assert_memory_is_the_store()


def vcpus(batch: BatchHouse) -> int:
    return sum(each["CpuOptions"]["CoreCount"] * each["CpuOptions"]["ThreadsPerCore"] for each in batch.instances())


# --- made ---


def test_an_environment_has_a_cluster_of_its_own(batch: BatchHouse) -> None:
    batch.environment()
    shown = batch.described()
    assert (shown["status"], shown["statusReason"]) == ("VALID", "ComputeEnvironment Healthy")
    assert shown["ecsClusterArn"].endswith(f":cluster/AWSBatch-ce-{shown['uuid']}")
    (cluster,) = batch.ecs.describe_clusters(clusters=[shown["ecsClusterArn"]], include=["TAGS"])["clusters"]
    assert (cluster["status"], cluster["tags"]) == ("ACTIVE", [{"key": "AWSBatchServiceTag", "value": "batch"}])


def test_an_ordinary_service_role_serves_as_well(batch: BatchHouse) -> None:
    batch.role(
        "AWSBatchServiceRole", service="batch.amazonaws.com",
        policy="arn:aws:iam::aws:policy/service-role/AWSBatchServiceRole",
    )  # fmt: skip
    batch.environment(serviceRole="AWSBatchServiceRole")
    batch.queue()
    assert batch.described()["ecsClusterArn"].endswith(f":cluster/ce_Batch_{batch.described()['uuid']}")
    assert batch.ended(batch.submit())["status"] == "SUCCEEDED"
    batch.house.pass_time(400)
    assert batch.instances() == []


INVALID: list[tuple[str, dict[str, Any], str]] = [
    ("no such profile", {"instanceRole": "nobody"}, "CLIENT_ERROR - Invalid IamInstanceProfile: nobody"),
    ("no such profile, by ARN", {"instanceRole": "arn:aws:iam::123456789012:instance-profile/nobody"},
     "CLIENT_ERROR - Instance profile arn:aws:iam::123456789012:instance-profile/nobody does not exist"),
    ("no such subnet", {"subnets": ["subnet-00000000000000000"]},
     "CLIENT_ERROR - The subnet ID 'subnet-00000000000000000' does not exist"),
    ("no such group", {"securityGroupIds": ["sg-00000000000000000"]},
     "CLIENT_ERROR - The security group 'sg-00000000000000000' does not exist"),
    ("no such image", {"imageId": "ami-00000000000000000"},
     "CLIENT_ERROR - The image id '[ami-00000000000000000]' does not exist"),
    ("no such service role", {"serviceRole": "arn:aws:iam::123456789012:role/nobody"},
     "CLIENT_ERROR - User: batch.amazonaws.com is not authorized to perform: sts:AssumeRole on resource:"
     " arn:aws:iam::123456789012:role/nobody"),
]  # fmt: skip


@pytest.mark.parametrize("name, more, reason", INVALID, ids=[row[0] for row in INVALID])
def test_an_environment_that_can_not_work_is_invalid_and_says_why(
    batch: BatchHouse, name: str, more: dict[str, Any], reason: str
) -> None:
    batch.environment(settled=False, **more)
    batch.house.settle(lambda: batch.described()["status"] == "INVALID")
    assert batch.described()["statusReason"].startswith(reason)
    batch.batch.update_compute_environment(computeEnvironment="ce", state="DISABLED")


def test_an_invalid_environment_is_valid_again_when_its_profile_is_made(batch: BatchHouse) -> None:
    batch.environment(settled=False, instanceRole="later")
    batch.house.settle(lambda: batch.described()["status"] == "INVALID")
    batch.profile("later")
    batch.house.settle(lambda: batch.described()["status"] == "VALID")


def test_a_service_role_that_does_not_trust_batch_makes_it_invalid_until_it_does(batch: BatchHouse) -> None:
    batch.role("service", policy="arn:aws:iam::aws:policy/service-role/AWSBatchServiceRole")
    batch.environment(settled=False, serviceRole="service")
    batch.house.settle(lambda: batch.described()["status"] == "INVALID")
    assert "sts:AssumeRole" in batch.described()["statusReason"]
    from batch_room import trust

    batch.iam.update_assume_role_policy(RoleName="service", PolicyDocument=trust("batch.amazonaws.com"))
    batch.house.settle(lambda: batch.described()["status"] == "VALID")


def test_a_service_role_that_lacks_an_action_that_aws_would_call_makes_it_invalid(batch: BatchHouse) -> None:
    batch.role("narrow", service="batch.amazonaws.com", policy=None)
    batch.allow("narrow", "ec2:*", "ecs:*", "logs:*", "iam:*")
    batch.environment(settled=False, serviceRole="narrow")
    batch.house.settle(lambda: batch.described()["status"] == "INVALID")
    assert "autoscaling:CreateAutoScalingGroup" in batch.described()["statusReason"]
    batch.allow("narrow", "autoscaling:*", name="more")
    batch.house.settle(lambda: batch.described()["status"] == "VALID")


def test_an_environment_becomes_invalid_when_its_service_role_is_deleted(batch: BatchHouse) -> None:
    batch.role("service", service="batch.amazonaws.com", policy=None)
    batch.allow("service", "*")
    batch.environment(serviceRole="service")
    batch.iam.delete_role_policy(RoleName="service", PolicyName="p")
    batch.iam.delete_role(RoleName="service")
    batch.house.settle(lambda: batch.described()["status"] == "INVALID")


def test_a_cluster_that_was_deleted_behind_it_is_found_at_the_next_look(batch: BatchHouse) -> None:
    batch.environment()
    batch.ecs.delete_cluster(cluster=batch.described()["ecsClusterArn"])
    batch.batch.update_compute_environment(computeEnvironment="ce", state="ENABLED")
    batch.house.settle(lambda: batch.described()["status"] == "INVALID")
    assert batch.described()["statusReason"] == "CLIENT_ERROR - Clusters can not be blank."


# --- scaled ---


def test_instances_come_for_jobs_and_go_after_their_idle_time(batch: BatchHouse) -> None:
    batch.environment()
    batch.queue()
    assert batch.instances() == []
    batch.ended(batch.submit())
    (instance,) = batch.instances()
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert tags == {"AWSBatchServiceTag": "batch"}
    batch.house.pass_time(batch.house.settings.idle_seconds - 1)
    assert len(batch.instances()) == 1
    batch.house.pass_time(2)
    assert batch.instances() == []
    assert batch.ecs.list_container_instances(cluster=batch.described()["ecsClusterArn"])["containerInstanceArns"] == []


def test_a_crowd_shares_few_instances_and_never_more_than_maxvcpus(batch: BatchHouse) -> None:
    batch.environment(maxvCpus=8)
    batch.queue()
    ids = [batch.submit(script={"RUN_SECONDS": "20"}) for _ in range(20)]
    batch.until(ids[7], "RUNNING")
    assert vcpus(batch) <= 8
    assert batch.job(ids[8])["status"] == "RUNNABLE"
    for job_id in ids:
        assert batch.ended(job_id)["status"] == "SUCCEEDED"


def test_minvcpus_is_there_without_any_job(batch: BatchHouse) -> None:
    batch.environment(minvCpus=4)
    batch.house.settle(lambda: vcpus(batch) == 4)
    batch.house.pass_time(1000)
    assert vcpus(batch) == 4
    assert batch.described()["computeResources"]["desiredvCpus"] == 4


def test_desiredvcpus_by_hand_is_reached_once(batch: BatchHouse) -> None:
    batch.environment(desiredvCpus=4)
    batch.house.settle(lambda: vcpus(batch) == 4)
    batch.house.pass_time(1000)
    assert vcpus(batch) == 0
    batch.batch.update_compute_environment(
        computeEnvironment="ce", computeResources={"maxvCpus": 16, "desiredvCpus": 2}
    )
    batch.house.settle(lambda: vcpus(batch) == 2)


def test_an_instance_is_kept_for_its_scale_down_delay_after_a_job(batch: BatchHouse) -> None:
    batch.environment(scalingPolicy={"minScaleDownDelayMinutes": 20})
    batch.queue()
    batch.ended(batch.submit())
    batch.house.pass_time(1100)
    assert len(batch.instances()) == 1
    batch.house.pass_time(200)
    assert batch.instances() == []


def test_where_a_large_instance_finds_no_room_smaller_ones_are_launched() -> None:
    house = InProcessHouse()
    try:
        machines = house.assembly.machines
        machines._capacity = (4, 16_384)
        batch = BatchHouse(house).chain(maxvCpus=256)
        ids = [batch.submit(script={"RUN_SECONDS": "5"}) for _ in range(12)]
        for job_id in ids:
            assert batch.ended(job_id, seconds=600)["status"] == "SUCCEEDED"
        batch.assert_memory_is_the_store()
    finally:
        house.close()


def test_without_capacity_the_job_says_so_and_runs_when_there_is_some() -> None:
    house = InProcessHouse()
    try:
        machines = house.assembly.machines
        machines._capacity = (0, 0)
        batch = BatchHouse(house).chain()
        job_id = batch.submit()
        reason = batch.reason(job_id, "CAPACITY:")
        assert reason.startswith(
            "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested for instance type ["
        )
        machines._capacity = (64, 262_144)
        ended = batch.ended(job_id)
        assert (ended["status"], ended["statusReason"]) == ("SUCCEEDED", "Essential container in task exited")
        batch.assert_memory_is_the_store()
    finally:
        house.close()


def test_an_idle_instance_gives_way_to_another_environments_job_on_a_small_machine() -> None:
    house = InProcessHouse()
    try:
        house.assembly.machines._capacity = (2, 8192)
        batch = BatchHouse(house).chain()
        batch.environment("other")
        batch.queue("others", "other")
        batch.ended(batch.submit())
        began = house.loop.time()
        assert batch.ended(batch.submit(queue="others"))["status"] == "SUCCEEDED"
        assert house.loop.time() - began < 10
        batch.assert_memory_is_the_store()
    finally:
        house.close()


# --- jobs that can't run here ---


def test_a_job_larger_than_any_instance_says_so_and_holds_back_those_behind_it(batch: BatchHouse) -> None:
    batch.environment()
    batch.queue()
    large = batch.submit(containerOverrides={"resourceRequirements": [{"type": "MEMORY", "value": "99999999"}]})
    small = batch.submit()
    assert batch.reason(large, "MISCONFIGURATION").startswith(
        "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is higher than that"
    )
    batch.house.pass_time(600)
    assert (batch.job(small)["status"], batch.instances()) == ("RUNNABLE", [])
    assert "statusReason" not in batch.job(small)
    assert batch.explained(small)[0].startswith("1 job is before it in job queue q")
    batch.batch.cancel_job(jobId=large, reason="too large")
    assert batch.ended(small)["status"] == "SUCCEEDED"


def test_a_queue_cancels_a_job_that_stands_at_its_head_for_too_long(batch: BatchHouse) -> None:
    batch.environment()
    action = {
        "reason": "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT", "state": "RUNNABLE", "maxTimeSeconds": 600,
        "action": "CANCEL",
    }  # fmt: skip
    batch.queue(jobStateTimeLimitActions=[action])
    large = batch.submit(containerOverrides={"resourceRequirements": [{"type": "MEMORY", "value": "99999999"}]})
    batch.reason(large, "MISCONFIGURATION")
    batch.house.pass_time(590)
    assert batch.job(large)["status"] == "RUNNABLE"
    assert batch.ended(large)["statusReason"] == (
        "Canceled by JobStateTimeLimit action due to reason: MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
    )


def test_a_disabled_environment_starts_nothing_and_says_so(batch: BatchHouse) -> None:
    batch.environment()
    batch.queue()
    batch.batch.update_compute_environment(computeEnvironment="ce", state="DISABLED")
    job_id = batch.submit()
    assert batch.reason(job_id, "DISABLED") == "ACTION_REQUIRED - compute environment ce is DISABLED"
    batch.batch.update_compute_environment(computeEnvironment="ce", state="ENABLED")
    ended = batch.ended(job_id)
    assert (ended["status"], ended["statusReason"]) == ("SUCCEEDED", "Essential container in task exited")


def test_a_second_environment_takes_what_the_first_can_not(batch: BatchHouse) -> None:
    batch.environment("small", maxvCpus=2, allocationStrategy="BEST_FIT")
    batch.environment("large")
    batch.queue("q", "small", "large")
    assert batch.ended(batch.submit(**WHOLE))["status"] == "SUCCEEDED"


# --- changed ---


def test_instances_of_the_former_kind_are_replaced_their_jobs_waited_for(batch: BatchHouse) -> None:
    batch.environment(minvCpus=2)
    batch.queue()
    running = batch.submit(script={"RUN_SECONDS": "100"})
    batch.until(running, "RUNNING")
    (before,) = batch.instances()
    batch.batch.update_compute_environment(
        computeEnvironment="ce", computeResources={"instanceTypes": ["m5.large"], "maxvCpus": 16}
    )
    after = batch.ended(batch.submit())
    assert after["status"] == "SUCCEEDED"
    assert batch.job(running)["status"] == "RUNNING"
    assert after["container"]["containerInstanceArn"] != batch.job(running)["container"]["containerInstanceArn"]
    assert batch.ended(running)["status"] == "SUCCEEDED"
    batch.house.settle(lambda: [each["InstanceType"] for each in batch.instances()] == ["m5.large"])
    assert before["InstanceId"] not in [each["InstanceId"] for each in batch.instances()]


def test_a_replacement_that_may_end_jobs_does_so_and_they_are_tried_again(batch: BatchHouse) -> None:
    batch.environment()
    batch.queue()
    batch.batch.update_compute_environment(
        computeEnvironment="ce", updatePolicy={"terminateJobsOnUpdate": True, "jobExecutionTimeoutMinutes": 30}
    )
    batch.house.settle(lambda: batch.described()["status"] == "VALID")
    running = batch.submit(script={"RUN_SECONDS": "100"}, retryStrategy={"attempts": 2})
    batch.until(running, "RUNNING")
    batch.batch.update_compute_environment(
        computeEnvironment="ce", computeResources={"instanceTypes": ["m5.large"], "maxvCpus": 16}
    )
    ended = batch.ended(running, seconds=300)
    assert (ended["status"], len(ended["attempts"])) == ("SUCCEEDED", 2)
    assert ended["attempts"][0]["statusReason"].startswith("Host EC2 (instance i-")


# --- taken down ---


def test_a_deleted_environment_ends_its_instances_and_its_cluster(batch: BatchHouse) -> None:
    batch.environment(minvCpus=2)
    batch.house.settle(lambda: vcpus(batch) == 2)
    cluster = batch.described()["ecsClusterArn"]
    batch.batch.update_compute_environment(computeEnvironment="ce", state="DISABLED")
    batch.house.settle(lambda: batch.described()["status"] == "VALID")
    batch.batch.delete_compute_environment(computeEnvironment="ce")
    assert batch.described()["status"] == "DELETING"
    batch.house.settle(lambda: batch.described()["status"] is None, seconds=10)
    assert batch.instances() == []
    assert batch.ecs.describe_clusters(clusters=[cluster])["clusters"][0]["status"] == "INACTIVE"


def test_an_environment_whose_role_is_gone_can_not_be_deleted_until_it_is_back(batch: BatchHouse) -> None:
    batch.role("service", service="batch.amazonaws.com", policy=None)
    batch.allow("service", "*")
    batch.environment(serviceRole="service")
    batch.iam.delete_role_policy(RoleName="service", PolicyName="p")
    batch.iam.delete_role(RoleName="service")
    batch.house.settle(lambda: batch.described()["status"] == "INVALID")
    batch.batch.update_compute_environment(computeEnvironment="ce", state="DISABLED")
    batch.house.settle(lambda: batch.described()["status"] == "INVALID")
    batch.batch.delete_compute_environment(computeEnvironment="ce")
    batch.house.settle(lambda: batch.described()["status"] == "INVALID")
    batch.role("service", service="batch.amazonaws.com", policy=None)
    batch.allow("service", "*")
    batch.house.settle(lambda: batch.described()["status"] == "VALID")
    batch.batch.delete_compute_environment(computeEnvironment="ce")
    batch.house.settle(lambda: batch.described()["status"] is None)


def test_a_deleted_queue_ends_its_jobs_first(batch: BatchHouse) -> None:
    batch.environment(maxvCpus=2, allocationStrategy="BEST_FIT")
    batch.queue()
    running = batch.submit(script={"RUN_SECONDS": "1000"})
    pending = batch.submit(dependsOn=[{"jobId": running}])
    batch.until(running, "RUNNING")
    both = [{"type": "VCPU", "value": "2"}]
    waiting = [batch.submit(containerOverrides={"resourceRequirements": both}) for _ in range(70)]
    batch.until(pending, "PENDING")
    batch.batch.update_job_queue(jobQueue="q", state="DISABLED")
    batch.house.settle(lambda: batch.queue_described()["status"] == "VALID")
    batch.batch.delete_job_queue(jobQueue="q")
    batch.house.settle(lambda: batch.queue_described()["status"] is None)
    for job_id in (running, pending, *waiting):
        shown = batch.job(job_id)
        assert (shown["status"], shown["statusReason"]) == ("FAILED", "Job queue deleted")


def test_an_instance_that_a_user_terminates_is_replaced_for_its_job(batch: BatchHouse) -> None:
    batch.environment()
    batch.queue()
    job_id = batch.submit(script={"RUN_SECONDS": "50"}, retryStrategy={"attempts": 2})
    batch.until(job_id, "RUNNING")
    (instance,) = batch.instances()
    batch.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    ended = batch.ended(job_id)
    assert (ended["status"], len(ended["attempts"])) == ("SUCCEEDED", 2)


def test_a_drained_instance_gets_no_new_job(batch: BatchHouse) -> None:
    batch.environment()
    batch.queue()
    first = batch.ended(batch.submit())["container"]["containerInstanceArn"]
    cluster = batch.described()["ecsClusterArn"]
    batch.ecs.update_container_instances_state(cluster=cluster, containerInstances=[first], status="DRAINING")
    assert batch.ended(batch.submit())["container"]["containerInstanceArn"] != first


def test_an_unmanaged_environment_uses_whatever_joins_its_cluster(batch: BatchHouse) -> None:
    batch.role(
        "service", service="batch.amazonaws.com", policy="arn:aws:iam::aws:policy/service-role/AWSBatchServiceRole"
    )
    batch.batch.create_compute_environment(computeEnvironmentName="own", type="UNMANAGED", serviceRole="service")
    batch.house.settle(lambda: batch.described("own")["status"] == "VALID")
    batch.queue("q", "own")
    job_id = batch.submit()
    assert "has no instance" in batch.reason(job_id, "ACTION_REQUIRED")
    cluster = batch.described("own")["ecsClusterArn"].rpartition("/")[2]
    images = batch.ec2.describe_images(Filters=[{"Name": "name", "Values": ["al2023-ami-ecs-hvm-*-x86_64"]}])["Images"]
    batch.ec2.run_instances(
        ImageId=images[0]["ImageId"], InstanceType="m5.large", MinCount=1, MaxCount=1,
        IamInstanceProfile={"Name": "ecsInstanceRole"},
        UserData=f"#!/bin/bash\necho ECS_CLUSTER={cluster} >> /etc/ecs/ecs.config\n",
    )  # fmt: skip
    assert batch.ended(job_id)["status"] == "SUCCEEDED"
    batch.house.pass_time(1000)
    assert len(batch.instances()) == 1
    batch.ec2.terminate_instances(InstanceIds=[batch.instances()[0]["InstanceId"]])
    waiting = batch.submit()
    assert "has no instance" in batch.reason(waiting, "ACTION_REQUIRED")
