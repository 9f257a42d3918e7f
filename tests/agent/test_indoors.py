"""From RunInstances to a task that has stopped, through the house's front door, on virtual time."""

from __future__ import annotations

import json

from agent.conftest import BARE_IMAGE, ROLE_POLICY, Site


def test_an_instance_joins_and_a_task_runs_with_its_log(site: Site) -> None:
    instance = site.joined()
    site.define()
    arn = site.run(LONGSHORE_EXIT_CODE="3", LONGSHORE_LOG="hello\nworld")
    task = site.until(arn)
    (container,) = task["containers"]
    assert (container["lastStatus"], container["exitCode"]) == ("STOPPED", 3)
    assert task["containerInstanceArn"] == instance["containerInstanceArn"]
    assert task["startedAt"] <= task["executionStoppedAt"] <= task["stoppedAt"]
    assert site.log_of(arn) == ["hello", "world"]


def test_the_instance_shows_what_its_agent_told(site: Site) -> None:
    instance = site.joined()
    attributes = {each["name"]: each.get("value") for each in instance["attributes"]}
    assert attributes["ecs.instance-type"] == "m5.large"
    assert attributes["ecs.vpc-id"].startswith("vpc-")
    assert attributes["ecs.subnet-id"].startswith("subnet-")
    registered = {each["name"]: each.get("integerValue") for each in instance["registeredResources"]}
    assert (registered["CPU"], registered["MEMORY"]) == (2048, 8192)
    assert instance["versionInfo"]["agentVersion"]
    console = site.console(instance["ec2InstanceId"])
    assert f"registered as {instance['containerInstanceArn']}" in console
    assert "ACS stream open" in console


def test_without_a_profile_it_never_joins_and_its_console_says_why(site: Site) -> None:
    instance_id = site.launch(profile=None)
    site.house.pass_time(300)
    assert site.container_instances() == []
    assert "NoCredentialProviders: no valid providers in chain. Deprecated." in site.console(instance_id)


def test_a_role_that_may_not_register_keeps_it_out_until_it_is_mended(site: Site) -> None:
    site.iam.detach_role_policy(RoleName="ecsInstanceRole", PolicyArn=ROLE_POLICY)
    instance_id = site.launch()
    site.house.pass_time(300)
    assert site.container_instances() == []
    assert (
        f"assumed-role/ecsInstanceRole/{instance_id} is not authorized to perform: ecs:RegisterContainerInstance"
        in site.console(instance_id)
    )
    site.iam.attach_role_policy(RoleName="ecsInstanceRole", PolicyArn=ROLE_POLICY)
    site.house.settle(site.container_instances, seconds=10)


def test_a_role_that_ec2_may_not_assume_keeps_it_out_until_its_trust_is_mended(site: Site) -> None:
    def trust(service: str) -> str:
        statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    site.iam.update_assume_role_policy(RoleName="ecsInstanceRole", PolicyDocument=trust("ecs.amazonaws.com"))
    instance_id = site.launch()
    site.house.pass_time(60)
    assert site.container_instances() == []
    console = site.console(instance_id)
    assert "AssumeRoleUnauthorizedAccess: EC2 cannot assume the role ecsInstanceRole." in console
    assert "NoCredentialProviders: no valid providers in chain. Deprecated." in console
    site.iam.update_assume_role_policy(RoleName="ecsInstanceRole", PolicyDocument=trust("ec2.amazonaws.com"))
    site.house.settle(site.container_instances, seconds=10)


def test_user_data_starts_the_agent_on_a_bare_image(site: Site) -> None:
    bare = site.launch(image=BARE_IMAGE)
    user_data = "#!/bin/bash\necho ECS_CLUSTER=demo > /etc/ecs/ecs.config\nsystemctl enable --now ecs\n"
    started = site.joined(image=BARE_IMAGE, user_data=user_data)
    assert started["ec2InstanceId"] != bare
    assert "user data starts none" in site.console(bare)
    assert len(site.container_instances()) == 1


def test_an_agent_that_is_killed_comes_back_and_its_task_goes_on(site: Site) -> None:
    instance = site.joined()
    site.define()
    arn = site.run(LONGSHORE_RUN_SECONDS="60", LONGSHORE_EXIT_CODE="5", LONGSHORE_LOG="once")
    site.until(arn, "RUNNING")
    site.house.assembly.indoors.crash(instance["ec2InstanceId"])
    site.house.settle(lambda: site.container_instances(connected=False))
    site.house.settle(site.container_instances)
    task = site.until(arn)
    assert task["containers"][0]["exitCode"] == 5
    assert site.log_of(arn) == ["once"]
    assert len(site.ecs.list_container_instances(cluster="demo")["containerInstanceArns"]) == 1


def test_a_task_is_stopped_by_its_name(site: Site) -> None:
    site.joined()
    site.define(stopTimeout=10)
    arn = site.run(LONGSHORE_RUN_SECONDS="1000", LONGSHORE_STOP="ignore")
    site.until(arn, "RUNNING")
    site.ecs.stop_task(cluster="demo", task=arn, reason="enough")
    task = site.until(arn)
    assert (task["containers"][0]["exitCode"], task["stoppedReason"]) == (137, "enough")


def test_a_log_stream_that_can_not_be_made_fails_the_task_with_the_reason(site: Site) -> None:
    site.joined()
    site.define(
        logConfiguration={
            "logDriver": "awslogs",
            "options": {"awslogs-group": "/nowhere", "awslogs-stream-prefix": "jd"},
        }
    )
    task = site.until(site.run())
    assert task["stopCode"] == "TaskFailedToStart"
    assert "exitCode" not in task["containers"][0]
    assert task["containers"][0]["reason"] == (
        "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: failed to create "
        "Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist."
    )


def test_a_role_that_may_not_write_logs_fails_the_task_with_the_policy_s_words(site: Site) -> None:
    deny = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Deny", "Action": "logs:CreateLogStream", "Resource": "*"}],
    }
    site.iam.put_role_policy(RoleName="ecsInstanceRole", PolicyName="no", PolicyDocument=json.dumps(deny))
    site.joined()
    site.define()
    reason = site.until(site.run())["containers"][0]["reason"]
    assert "failed to create Cloudwatch log stream: AccessDeniedException: User: " in reason
    assert reason.endswith("with an explicit deny in an identity-based policy")


def test_the_execution_role_writes_the_log(site: Site) -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    role = site.iam.create_role(RoleName="execution", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    site.joined()
    site.define(task={"executionRoleArn": role})
    refused = site.until(site.run(LONGSHORE_LOG="x"))["containers"][0]["reason"]
    assert "assumed-role/execution/" in refused and "logs:CreateLogStream" in refused
    allow = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"}],
    }
    site.iam.put_role_policy(RoleName="execution", PolicyName="logs", PolicyDocument=json.dumps(allow))
    arn = site.run(LONGSHORE_LOG="x")
    site.until(arn)
    assert site.log_of(arn) == ["x"]


def test_a_terminated_instance_takes_its_tasks_with_it(site: Site) -> None:
    instance = site.joined()
    site.define()
    arn = site.run(LONGSHORE_RUN_SECONDS="1000")
    site.until(arn, "RUNNING")
    site.ec2.terminate_instances(InstanceIds=[instance["ec2InstanceId"]])
    task = site.until(arn)
    assert task["stoppedReason"].startswith("Host EC2 (instance ")
    assert site.house.assembly.indoors.instances() == []


def test_tasks_run_on_an_instance_as_it_has_room(site: Site) -> None:
    site.joined(instance_type="m5.xlarge")
    site.define(cpu=1024, memory=512)
    ended = [site.until(site.run(LONGSHORE_EXIT_CODE=str(number))) for number in range(20)]
    assert [task["containers"][0]["exitCode"] for task in ended] == list(range(20))
    arns = [site.run(LONGSHORE_RUN_SECONDS="2") for _ in range(4)]
    assert site.ecs.run_task(cluster="demo", taskDefinition="fam")["failures"]
    assert {site.until(arn)["containers"][0]["exitCode"] for arn in arns} == {0}
