"""Who a job, an agent and an instance are, on machines of this host; and what is said when a role is not as it must be."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from system.chain import ASK, EC2_TRUST, INSTANCE_POLICY, INSTANCE_SESSION, TASKS_TRUST, Chain
from system.running import wait_for

JOB_SESSION = "busybox wget -qO- http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"


def test_a_job_role_is_what_the_job_is(local: Chain) -> None:
    arn = local.role("job-role", TASKS_TRUST)
    job = local.run(f"{JOB_SESSION}; echo; echo $AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", jobRoleArn=arn)
    document, path = local.lines(job)
    assert path.startswith("/v2/credentials/")
    credentials = json.loads(document)
    assert credentials["RoleArn"] == arn
    task = job["container"]["taskArn"].rpartition("/")[2]
    assert local.session(credentials) == f"assumed-role/job-role/{task}"
    # What was that task's is nobody's now, and what can't be guessed is not found by guessing.
    others = f"ask GET 169.254.170.2 {path}; ask GET 169.254.170.2 /v2/credentials/0000; ask GET 169.254.170.2 /v2/credentials"
    answers = "\n".join(local.says(ASK + others, jobRoleArn=arn))
    assert answers.count("400 Bad Request") == 3
    assert answers.count('"InvalidIdInRequest"') == 2 and answers.count('"NoIdInRequest"') == 1
    assert "AccessKeyId" not in answers


def test_the_policy_of_a_job_role_decides_what_the_job_may(local: Chain) -> None:
    arn = local.role("narrow", TASKS_TRUST)
    statement = {"Effect": "Allow", "Action": "batch:DescribeJobQueues", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    local.iam.put_role_policy(RoleName="narrow", PolicyName="p", PolicyDocument=document)
    credentials = json.loads("".join(local.says(JOB_SESSION, jobRoleArn=arn)))
    batch = local.server.client(
        "batch", credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["Token"]
    )
    assert batch.describe_job_queues(jobQueues=["default"])["jobQueues"]
    with pytest.raises(batch.exceptions.ClientError) as refused:
        batch.list_jobs(jobQueue="default")
    assert "is not authorized to perform: batch:ListJobs" in refused.value.response["Error"]["Message"]


def test_without_a_job_role_a_job_has_the_instances(local: Chain) -> None:
    job = local.run(INSTANCE_SESSION)
    assert job["status"] == "SUCCEEDED", local.lines(job)
    credentials = json.loads("".join(local.lines(job)))
    assert credentials["Code"] == "Success"
    assert local.session(credentials) == f"assumed-role/ecsInstanceRole/{local.instance_of(job)}"


def test_without_a_token_the_metadata_service_says_nothing(local: Chain) -> None:
    answer = local.says(ASK + "ask GET 169.254.169.254 /latest/meta-data/instance-id | head -n 1")
    assert "401" in answer[0]


def test_the_execution_role_signs_the_logs(local: Chain) -> None:
    policy = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
    arn = local.role("execution", TASKS_TRUST, policy)
    job = local.run("echo written", executionRoleArn=arn)
    assert local.lines(job) == ["written"]
    task = job["container"]["taskArn"].rpartition("/")[2]
    trail = local.server.client("cloudtrail")

    lookup = [{"AttributeKey": "Username", "AttributeValue": task}]

    def calls() -> set[tuple[str, str]]:
        events = trail.lookup_events(LookupAttributes=lookup)["Events"]
        records = [json.loads(each["CloudTrailEvent"]) for each in events]
        return {(each["eventName"], each["userIdentity"]["arn"]) for each in records}

    session = f"arn:aws:sts::123456789012:assumed-role/execution/{task}"
    wait_for(lambda: calls() == {("CreateLogStream", session), ("PutLogEvents", session)}, 10)


def test_a_job_role_that_tasks_may_not_take(local: Chain) -> None:
    arn = local.role("for-ec2", EC2_TRUST)
    job = local.run("true", jobRoleArn=arn)
    assert job["status"] == "FAILED"
    assert job["statusReason"] == (
        f"ECS was unable to assume the role '{arn}' that was provided for this task. Please verify that the role being"
        " passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role."
    )


# --- the chain, broken on real machines and mended ---

Change = Callable[[Chain, str], None]


def role_out(chain: Chain, role: str) -> None:
    chain.iam.remove_role_from_instance_profile(InstanceProfileName=role, RoleName=role)


def role_in(chain: Chain, role: str) -> None:
    chain.iam.add_role_to_instance_profile(InstanceProfileName=role, RoleName=role)


def policy_off(chain: Chain, role: str) -> None:
    chain.iam.detach_role_policy(RoleName=role, PolicyArn=INSTANCE_POLICY)


def policy_on(chain: Chain, role: str) -> None:
    chain.iam.attach_role_policy(RoleName=role, PolicyArn=INSTANCE_POLICY)


def wrong_trust(chain: Chain, role: str) -> None:
    chain.iam.update_assume_role_policy(RoleName=role, PolicyDocument=EC2_TRUST.replace("ec2.", "ecs."))


def right_trust(chain: Chain, role: str) -> None:
    chain.iam.update_assume_role_policy(RoleName=role, PolicyDocument=EC2_TRUST)


LINKS: dict[str, tuple[Change, Change, str]] = {
    "no-role": (
        role_out, role_in,
        'IAM Instance Profile "arn:aws:iam::123456789012:instance-profile/no-role" has no associated IAM Roles',
    ),
    "no-policy": (
        policy_off, policy_on,
        "is not authorized to perform: ecs:RegisterContainerInstance on resource: {cluster} because no identity-based"
        " policy allows the ecs:RegisterContainerInstance action",
    ),
    "no-trust": (
        wrong_trust, right_trust,
        "EC2 can't take the role no-trust in the instance profile: User: ec2.amazonaws.com is not authorized to perform:"
        " sts:AssumeRole on resource: arn:aws:iam::123456789012:role/no-trust",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LINKS)
def test_a_broken_link_is_named_and_heals_within_ten_seconds_of_its_mend(local: Chain, name: str) -> None:
    breaks, mends, says = LINKS[name]
    local.instance_role(name)
    breaks(local, name)
    local.queue(name, instance_role=name)
    expected = says.format(cluster=local.environment(name)["ecsClusterArn"])
    job_id = local.submit(local.define("true"), queue=name)
    try:
        job = local.when(job_id, lambda job: expected in job.get("statusReason", ""))
        assert job["status"] == "RUNNABLE" and job["statusReason"].startswith("ACTION_REQUIRED - ")
        assert any(expected in reason for reason in local.explained(job_id)["reasons"])
        mends(local, name)
        mended_at = time.monotonic()
        assert local.ended(job_id, 15)["status"] == "SUCCEEDED"
        assert time.monotonic() - mended_at < 10
    finally:
        local.batch.terminate_job(jobId=job_id, reason="Enough")
        local.delete(name)
