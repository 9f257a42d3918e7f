"""`longshore doctor` as it is typed: against our server, and in the same words against one that others wrote."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from msgspec import Struct

from longshore.cli.doctor import mend
from longshore.cli.doctor.examine import examine, look
from longshore.cli.doctor.read import Reader, Wanted
from system.chain import EC2_TRUST, INSTANCE_POLICY, TASKS_TRUST
from system.moto import moto
from system.running import CHECKOUT, LONGSHORE, REGION, ROOT_KEY, ROOT_SECRET, Server, wait_for

SERVICE_POLICY = "arn:aws:iam::aws:policy/service-role/AWSBatchServiceRole"
TASK_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
BATCH_TRUST = EC2_TRUST.replace("ec2.", "batch.")
HEALTHY, WRONG, CANNOT_LOOK = 0, 1, 2
_SESSION = botocore.session.get_session()


class Account(Struct, frozen=True):
    """Who looks at which server."""

    endpoint: str
    key: str
    secret: str

    def client(self, service: str) -> Any:
        return _SESSION.create_client(
            service, region_name=REGION, endpoint_url=self.endpoint, aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
        )  # fmt: skip

    def doctor(self, *arguments: str, said: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"], "HOME": "/nonexistent", "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true", **variables,
        }  # fmt: skip
        command = [*LONGSHORE, "doctor", *arguments]
        return subprocess.run(command, env=environment, input=said, capture_output=True, text=True, timeout=60)

    def examined(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        done = self.doctor("--output", "json", *arguments)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


def role(iam: Any, name: str, trust: str, *policies: str) -> str:
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    for policy in policies:
        iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    return arn


def chain(account: Account) -> None:
    """All roles that there are, an environment, a queue and a job definition."""
    iam, batch, ec2 = (account.client(name) for name in ("iam", "batch", "ec2"))
    service = role(iam, "service", BATCH_TRUST, SERVICE_POLICY)
    role(iam, "instances", EC2_TRUST, INSTANCE_POLICY)
    profile = iam.create_instance_profile(InstanceProfileName="instances")["InstanceProfile"]["Arn"]
    iam.add_role_to_instance_profile(InstanceProfileName="instances", RoleName="instances")
    job, execution = role(iam, "job", TASKS_TRUST), role(iam, "execution", TASKS_TRUST, TASK_POLICY)
    resources = {
        "type": "EC2", "minvCpus": 0, "maxvCpus": 4, "instanceTypes": ["c6i.large"], "instanceRole": profile,
        "subnets": [ec2.describe_subnets()["Subnets"][0]["SubnetId"]],
        "securityGroupIds": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
    }  # fmt: skip
    environment = batch.create_compute_environment(
        computeEnvironmentName="mine", type="MANAGED", serviceRole=service, computeResources=resources
    )["computeEnvironmentArn"]

    def is_valid() -> bool:
        shown = batch.describe_compute_environments(computeEnvironments=["mine"])["computeEnvironments"][0]
        return bool(shown["status"] == "VALID")

    wait_for(is_valid)
    order = [{"order": 1, "computeEnvironment": environment}]
    batch.create_job_queue(jobQueueName="mine", state="ENABLED", priority=1, computeEnvironmentOrder=order)
    batch.register_job_definition(
        jobDefinitionName="mine", type="container",
        containerProperties={"image": "busybox", "vcpus": 1, "memory": 64, "jobRoleArn": job, "executionRoleArn": execution},
    )  # fmt: skip


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    server = Server(tmp_path_factory.mktemp("doctor") / "state", "--machines", "memory")
    try:
        account = Account(server.endpoint, ROOT_KEY, ROOT_SECRET)
        chain(account)
        yield account
    finally:
        assert server.end() == 0


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with moto(tmp_path_factory.mktemp("moto")) as endpoint:
        account = Account(endpoint, "testing", "testing")
        chain(account)
        # The user of a key that was made there, whom the server knows.
        iam = account.client("iam")
        iam.create_user(UserName="ann")
        iam.attach_user_policy(UserName="ann", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
        key = iam.create_access_key(UserName="ann")["AccessKey"]
        yield Account(endpoint, key["AccessKeyId"], key["SecretAccessKey"])


@pytest.fixture(params=["ours", "theirs"])
def account(request: pytest.FixtureRequest) -> Account:
    found: Account = request.getfixturevalue(request.param)
    return found


# --- mistakes, made by AWS's operations, found and mended by the command ---


def empty_profile(iam: Any) -> None:
    iam.remove_role_from_instance_profile(InstanceProfileName="instances", RoleName="instances")


def no_profile(iam: Any) -> None:
    empty_profile(iam)
    iam.delete_instance_profile(InstanceProfileName="instances")


def another_role(iam: Any) -> None:
    empty_profile(iam)
    role(iam, "app", EC2_TRUST)
    iam.add_role_to_instance_profile(InstanceProfileName="instances", RoleName="app")


def denied(iam: Any) -> None:
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "ecs:Poll", "Resource": "*"}]}
    iam.put_role_policy(RoleName="instances", PolicyName="no", PolicyDocument=json.dumps(document))


def no_job_role(iam: Any) -> None:
    iam.delete_role(RoleName="job")


MISTAKES: dict[str, tuple[Callable[[Any], None], str, str]] = {
    "profile empty": (empty_profile, "profile-empty", "instances"),
    "profile missing": (no_profile, "profile-missing", "instances"),
    "profile holds another role": (another_role, "profile-holds-another-role", "instances"),
    "no policy": (lambda iam: iam.detach_role_policy(RoleName="instances", PolicyArn=INSTANCE_POLICY),
                  "actions-refused", "instances"),
    "an explicit deny": (denied, "action-denied", "instances"),
    "trust of tasks": (lambda iam: iam.update_assume_role_policy(RoleName="instances", PolicyDocument=TASKS_TRUST),
                       "trust-wrong", "instances"),
    "service role without its policy": (
        lambda iam: iam.detach_role_policy(RoleName="service", PolicyArn=SERVICE_POLICY), "actions-refused", "service"),
    "service role that trusts another": (
        lambda iam: iam.update_assume_role_policy(RoleName="service", PolicyDocument=EC2_TRUST), "trust-wrong", "service"),
    "job role missing": (no_job_role, "role-missing", "job"),
    "execution role without logs rights": (
        lambda iam: iam.detach_role_policy(RoleName="execution", PolicyArn=TASK_POLICY), "actions-refused", "execution"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_on_a_foreign_server_is_found_and_mended(theirs: Account, name: str) -> None:
    breaks, code, of = MISTAKES[name]
    breaks(theirs.client("iam"))
    reader = Reader({service: theirs.client(service) for service in ("sts", "iam", "batch")}, REGION)
    (found,) = look(reader, Wanted()).findings
    assert (found.code, found.name, found.level) == (code, of, "wrong")
    mended = examine(reader, Wanted(), lambda text, command: True)
    assert (mended.findings, mended.done) == ((), (mend.line(found.todo),))


@pytest.mark.parametrize("name", ["profile missing", "service role that trusts another"])
def test_a_mistake_is_found_and_mended_by_the_same_words_on_both(account: Account, name: str) -> None:
    breaks, code, of = MISTAKES[name]
    breaks(account.client("iam"))
    exit_code, shown = account.examined()
    assert exit_code == WRONG
    wrong = [each for each in shown["findings"] if each["level"] == "wrong"]
    assert [(each["code"], each["name"]) for each in wrong] == [(code, of)], shown
    exit_code, shown = account.examined("--fix", "--yes")
    assert (exit_code, shown["done"], shown["failed"]) == (HEALTHY, [wrong[0]["mend"]], []), shown
    assert shown["findings"] == []


def test_a_foreign_server_without_a_simulator_has_its_policies_read(theirs: Account) -> None:
    done = theirs.doctor()
    assert done.returncode == HEALTHY, done.stdout + done.stderr
    assert "IAM's policy simulator was of no help" in done.stdout
    assert done.stdout.splitlines()[-1] == "healthy"


def test_the_line_that_doctor_prints_is_one_for_a_shell(ours: Account) -> None:
    ours.client("iam").update_assume_role_policy(RoleName="job", PolicyDocument=EC2_TRUST)
    (found,) = ours.examined()[1]["findings"]
    environment = {
        "PATH": f"{CHECKOUT / '.venv-aws' / 'bin'}:{os.environ['PATH']}", "AWS_ENDPOINT_URL": ours.endpoint,
        "AWS_ACCESS_KEY_ID": ours.key, "AWS_SECRET_ACCESS_KEY": ours.secret, "AWS_DEFAULT_REGION": REGION,
    }  # fmt: skip
    done = subprocess.run(["sh", "-c", found["mend"]], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert ours.doctor().returncode == HEALTHY


def test_who_is_asked_decides(ours: Account) -> None:
    iam = ours.client("iam")
    iam.detach_role_policy(RoleName="instances", PolicyArn=INSTANCE_POLICY)
    refused = ours.doctor("--fix", said="n\n")
    assert refused.returncode == WRONG and "Do it?" in refused.stderr and "done:" not in refused.stdout
    assert iam.list_attached_role_policies(RoleName="instances")["AttachedPolicies"] == []
    agreed = ours.doctor("--fix", said="y\n")
    assert agreed.returncode == HEALTHY and "done: aws iam attach-role-policy --role-name instances " in agreed.stdout


def test_roles_are_looked_at_before_they_are_used(account: Account) -> None:
    arn = account.client("iam").get_role(RoleName="instances")["Role"]["Arn"]
    exit_code, shown = account.examined("--instance-role", arn, "--job-role", "nobody")
    assert exit_code == WRONG
    assert {(each["code"], each["name"]) for each in shown["findings"]} == {
        ("role-for-profile", "instances"), ("role-missing", "nobody"),
    }  # fmt: skip
    assert account.examined("--instance-role", "instances", "--service-role", "service")[0] == HEALTHY


def test_what_can_not_be_looked_at(ours: Account) -> None:
    nobody = Account(ours.endpoint, "AKIANOBODYNOBODYNOBO", "x").doctor()
    assert nobody.returncode == CANNOT_LOOK
    assert "longshore: who asks can't be told: The security token included in the request is invalid" in nobody.stderr
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{listener.getsockname()[1]}"
        silent = ours.doctor("--endpoint-url", away, "--output", "json")
    assert (
        silent.returncode == CANNOT_LOOK and "Could not connect to the endpoint" in json.loads(silent.stdout)["error"]
    )
    assert ours.doctor(AWS_DEFAULT_REGION="").returncode == CANNOT_LOOK
    assert ours.doctor("--profile", "nobody").returncode == CANNOT_LOOK
    assert ours.doctor("--fix", "--output", "json").returncode == CANNOT_LOOK  # Nobody can be asked.


def test_a_profile_of_the_aws_command_is_understood(ours: Account, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"[profile there]\nregion = {REGION}\nendpoint_url = {ours.endpoint}\naws_access_key_id = {ours.key}\n"
        f"aws_secret_access_key = {ours.secret}\n"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_CONFIG_FILE": str(config)}
    done = subprocess.run(
        [*LONGSHORE, "doctor", "--profile", "there"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == HEALTHY, done.stdout + done.stderr
