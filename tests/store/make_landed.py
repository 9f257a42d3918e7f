"""Makes the database of the present revision that later ones must be able to open: one of each thing, in each of its states.

python -m store.make_landed      (from the folder tests, with the code of a landed commit)

It writes `landed/<revision>.sql.xz`, the database as SQL, and `landed/<revision>.json.xz`: when that was, keys that were
given out, and what was answered for everything in it. Neither is ever written again: what has landed is in people's hands.
"""

from __future__ import annotations

import json
import lzma
import sys
from pathlib import Path
from typing import Any

import msgspec

from in_process import ACCOUNT, REGION, InProcessHouse
from longshore.aws.errors import AwsError
from longshore.server.assemble import SERVICES
from longshore.store.migrate import REVISION

FOLDER = Path(__file__).parent / "landed"

# Their answers do not come from the database.
_NOT_KEPT = {
    "getcalleridentity", "getaccesskeyinfo", "assumerole", "getsessiontoken", "getfederationtoken", "describeinstancetypes",
    "describeinstancetypeofferings", "describeimages", "describeregions", "describeavailabilityzones",
    "discoverpollendpoint", "listaccountsettings", "listservices", "describeservices", "decodeauthorizationmessage",
    "simulatecustompolicy", "simulateprincipalpolicy", "getcontextkeysforcustompolicy", "listmfadevices",
    "listservicespecificcredentials", "listsigningcertificates", "listsshpublickeys", "listvirtualmfadevices",
}  # fmt: skip

_STATES = {
    "STARTING": {"LONGSHORE_PULL_SECONDS": "1000000"},
    "RUNNING": {"LONGSHORE_RUN_SECONDS": "1000000", "LONGSHORE_LOG": "it runs"},
    "SUCCEEDED": {"LONGSHORE_EXIT_CODE": "1,0", "LONGSHORE_LOG": "one\\ntwo"},
    "FAILED": {"LONGSHORE_EXIT_CODE": "3", "LONGSHORE_REASON": "OutOfMemoryError: Container killed"},
    "RUNNABLE": {"vcpus": "64"},  # The last: it holds up those behind it.
}


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def _trust(**principal: str) -> str:
    return _document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})


_ALL = _document({"Effect": "Allow", "Action": "*", "Resource": "*"})
_TAGS = [{"Key": "team", "Value": "harbour"}]
_CLUSTERS_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"


class Maker:
    """A house on virtual time, in which everything is made by clients."""

    def __init__(self) -> None:
        self.house = InProcessHouse(seed=1, machines="memory")
        self.iam, self.ec2, self.ecs, self.batch, self.logs = (
            self.house.client(service) for service in ("iam", "ec2", "ecs", "batch", "logs")
        )
        self.reads: list[dict[str, Any]] = []
        self.keys: dict[str, Any] = {}

    def make(self) -> None:
        self._make_iam()
        self._make_batch()
        self._make_ec2()
        self._make_ecs()
        self._make_logs()
        self.house.pass_time(30.0)

    def _make_iam(self) -> None:
        iam = self.iam
        policy = iam.create_policy(PolicyName="all", PolicyDocument=_ALL, Tags=_TAGS, Description="everything")[
            "Policy"
        ]
        iam.create_policy_version(PolicyArn=policy["Arn"], PolicyDocument=_ALL, SetAsDefault=True)
        iam.create_user(UserName="Ann", Path="/crew/", Tags=_TAGS, PermissionsBoundary=policy["Arn"])
        iam.put_user_policy(UserName="Ann", PolicyName="own", PolicyDocument=_ALL)
        iam.attach_user_policy(UserName="Ann", PolicyArn=policy["Arn"])
        key = iam.create_access_key(UserName="Ann")["AccessKey"]
        ann = self.house.client("sts", key["AccessKeyId"], key["SecretAccessKey"])
        session = ann.get_session_token(DurationSeconds=129_600)["Credentials"]
        self.keys = {
            "user": [key["AccessKeyId"], key["SecretAccessKey"]],
            "session": [session[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")],
        }
        iam.create_role(
            RoleName="job", AssumeRolePolicyDocument=_trust(Service="ecs-tasks.amazonaws.com"), Tags=_TAGS,
            MaxSessionDuration=7200, PermissionsBoundary=policy["Arn"],
        )  # fmt: skip
        iam.put_role_policy(RoleName="job", PolicyName="own", PolicyDocument=_ALL)
        iam.create_role(RoleName="ecsInstanceRole", AssumeRolePolicyDocument=_trust(Service="ec2.amazonaws.com"))
        iam.attach_role_policy(RoleName="ecsInstanceRole", PolicyArn=_CLUSTERS_POLICY)
        iam.create_instance_profile(InstanceProfileName="ecsInstanceRole", Tags=_TAGS)
        iam.add_role_to_instance_profile(InstanceProfileName="ecsInstanceRole", RoleName="ecsInstanceRole")
        iam.create_role(RoleName="gone", AssumeRolePolicyDocument=_trust(AWS=ACCOUNT))
        iam.delete_role(RoleName="gone")
        iam.create_service_linked_role(AWSServiceName="ecs.amazonaws.com")
        self._deletion = iam.delete_service_linked_role(RoleName="AWSServiceRoleForECS")["DeletionTaskId"]
        for name in ("sailors", "gone"):
            iam.create_group(GroupName=name, Path="/crew/")
        iam.delete_group(GroupName="gone")
        iam.add_user_to_group(GroupName="sailors", UserName="Ann")
        iam.put_group_policy(GroupName="sailors", PolicyName="own", PolicyDocument=_ALL)
        iam.attach_group_policy(GroupName="sailors", PolicyArn=policy["Arn"])
        iam.create_login_profile(UserName="Ann", Password="as-long-as-The-harbour-1")
        iam.update_account_password_policy(MinimumPasswordLength=12, RequireSymbols=True, MaxPasswordAge=90)
        iam.create_account_alias(AccountAlias="harbour")
        iam.generate_credential_report()
        self.house.pass_time(2.0)
        job = iam.generate_service_last_accessed_details(Arn=f"arn:aws:iam::{ACCOUNT}:user/crew/Ann")
        self._last_accessed = job["JobId"]
        self.house.pass_time(2.0)

    def _make_batch(self) -> None:
        batch = self.batch
        subnets = [each["SubnetId"] for each in self.ec2.describe_subnets()["Subnets"]]
        groups = [each["GroupId"] for each in self.ec2.describe_security_groups()["SecurityGroups"]]
        for name in ("sea", "gone"):
            batch.create_compute_environment(
                computeEnvironmentName=name, type="MANAGED", tags={"team": "harbour"},
                computeResources={
                    "type": "EC2", "minvCpus": 0, "maxvCpus": 16, "instanceTypes": ["c6i.xlarge"],
                    "subnets": subnets[:1], "securityGroupIds": groups, "instanceRole": "ecsInstanceRole",
                },
            )  # fmt: skip
        self._settled(batch.describe_compute_environments, "computeEnvironments")
        batch.update_compute_environment(computeEnvironment="gone", state="DISABLED")
        self._settled(batch.describe_compute_environments, "computeEnvironments")
        batch.delete_compute_environment(computeEnvironment="gone")
        order = [{"order": 1, "computeEnvironment": "sea"}]
        for name in ("harbour", "closed"):
            batch.create_job_queue(
                jobQueueName=name, priority=5, computeEnvironmentOrder=order, tags={"team": "harbour"}
            )
        self._settled(batch.describe_job_queues, "jobQueues")
        batch.update_job_queue(jobQueue="closed", state="DISABLED")
        for _ in range(2):
            batch.register_job_definition(
                jobDefinitionName="work", type="container", tags={"team": "harbour"}, parameters={"what": "true"},
                retryStrategy={"attempts": 2, "evaluateOnExit": [{"onExitCode": "9", "action": "EXIT"}]},
                timeout={"attemptDurationSeconds": 2_000_000},
                containerProperties={
                    "image": "busybox", "command": ["Ref::what"], "jobRoleArn": f"arn:aws:iam::{ACCOUNT}:role/job",
                    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
                },
            )  # fmt: skip
        batch.deregister_job_definition(jobDefinition="work:1")
        ended = self._submit("terminated", LONGSHORE_RUN_SECONDS="1000000", LONGSHORE_STOP="0")
        self._until(ended, "RUNNING")
        batch.terminate_job(jobId=ended, reason="enough")
        self._until(ended, "FAILED")
        jobs = {}
        for state, said in _STATES.items():
            jobs[state] = self._submit(state, **said)
            self._until(jobs[state], state)
        jobs["PENDING"] = self._submit("PENDING", after=jobs["RUNNING"])
        cancelled = self._submit("cancelled", after=jobs["RUNNING"])
        batch.cancel_job(jobId=cancelled, reason="no longer needed")
        assert all(self._status(job_id) == state for state, job_id in jobs.items())

    def _submit(self, name: str, *, after: str | None = None, vcpus: str = "1", **said: str) -> str:
        job_id: str = self.batch.submit_job(
            jobName=name, jobQueue="harbour", jobDefinition="work", tags={"state": name},
            dependsOn=[{"jobId": after}] if after else [],
            containerOverrides={
                "environment": [{"name": key, "value": value} for key, value in said.items()],
                "resourceRequirements": [{"type": "VCPU", "value": vcpus}],
            },
        )["jobId"]  # fmt: skip
        return job_id

    def _until(self, job_id: str, status: str) -> None:
        self.house.settle(lambda: self._status(job_id) == status)

    def _status(self, job_id: str) -> str:
        return str(self.batch.describe_jobs(jobs=[job_id])["jobs"][0]["status"])

    def _settled(self, describe: Any, member: str) -> None:
        self.house.settle(lambda: {each["status"] for each in describe()[member]} <= {"VALID"})

    def _make_ec2(self) -> None:
        named = [{"Name": "name", "Values": ["al2023-ami-2023*x86_64"]}]
        image = self.ec2.describe_images(Filters=named)["Images"][0]["ImageId"]
        asked = {"ImageId": image, "InstanceType": "c6i.large", "MinCount": 1, "MaxCount": 1}
        for name in ("stays", "goes"):
            tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}]
            made = self.ec2.run_instances(
                **asked, TagSpecifications=tags, UserData="#!/bin/sh\necho hello\n", ClientToken=name,
                IamInstanceProfile={"Name": "ecsInstanceRole"},
            )  # fmt: skip
        goes = made["Instances"][0]["InstanceId"]
        self.house.pass_time(5.0)
        self.ec2.terminate_instances(InstanceIds=[goes])
        self.house.pass_time(5.0)

    def _make_ecs(self) -> None:
        self.ecs.create_cluster(clusterName="quay", tags=[{"key": "team", "value": "harbour"}])
        self.ecs.create_cluster(clusterName="gone")
        self.ecs.delete_cluster(cluster="gone")

    def _make_logs(self) -> None:
        self.logs.create_log_group(logGroupName="/own", tags={"team": "harbour"})
        self.logs.put_retention_policy(logGroupName="/own", retentionInDays=365)
        self.logs.create_log_stream(logGroupName="/own", logStreamName="stream")
        now_ms = int(self.house.clock.now().timestamp() * 1000)
        events = [{"timestamp": now_ms + number, "message": f"line {number}"} for number in range(3)]
        self.logs.put_log_events(logGroupName="/own", logStreamName="stream", logEvents=events)

    def ask(self) -> None:
        """Everything there is to be asked, each operation at least once."""
        asked: set[str] = set()

        def answer(service: str, operation: str, **request: Any) -> dict[str, Any]:
            asked.add(operation.lower())
            found = present(self.house.assembly, service, operation, request)
            self.reads.append({"service": service, "operation": operation, "request": request, "answer": found})
            return found

        self._ask_iam(answer)
        self._ask_batch(answer)
        self._ask_rest(answer)
        kept = {
            name for room in SERVICES.values() for name, operation in room.operations.items() if not operation.writes
        }
        missing = kept - asked - _NOT_KEPT
        assert not missing, f"nothing was asked by {sorted(missing)}"

    def _ask_iam(self, answer: Any) -> None:
        answer("iam", "GetServiceLinkedRoleDeletionStatus", DeletionTaskId=self._deletion)
        for operation in (
            "GetAccountAuthorizationDetails", "GetAccountPasswordPolicy", "GetAccountSummary", "GetCredentialReport",
            "ListAccountAliases",
        ):  # fmt: skip
            answer("iam", operation)
        answer("iam", "GetServiceLastAccessedDetails", JobId=self._last_accessed)
        answer("iam", "GetServiceLastAccessedDetailsWithEntities", JobId=self._last_accessed, ServiceNamespace="sts")
        for group in answer("iam", "ListGroups")["Groups"]:
            name = {"GroupName": group["GroupName"]}
            for operation in ("GetGroup", "ListAttachedGroupPolicies"):
                answer("iam", operation, **name)
            for policy in answer("iam", "ListGroupPolicies", **name)["PolicyNames"]:
                answer("iam", "GetGroupPolicy", **name, PolicyName=policy)
        for role in answer("iam", "ListRoles")["Roles"]:
            name = {"RoleName": role["RoleName"]}
            for operation in ("GetRole", "ListRoleTags", "ListInstanceProfilesForRole", "ListAttachedRolePolicies"):
                answer("iam", operation, **name)
            for policy in answer("iam", "ListRolePolicies", **name)["PolicyNames"]:
                answer("iam", "GetRolePolicy", **name, PolicyName=policy)
        for profile in answer("iam", "ListInstanceProfiles")["InstanceProfiles"]:
            for operation in ("GetInstanceProfile", "ListInstanceProfileTags"):
                answer("iam", operation, InstanceProfileName=profile["InstanceProfileName"])
        for policy in answer("iam", "ListPolicies", Scope="Local")["Policies"]:
            arn = {"PolicyArn": policy["Arn"]}
            for operation in ("GetPolicy", "ListEntitiesForPolicy", "ListPolicyTags"):
                answer("iam", operation, **arn)
            for each in answer("iam", "ListPolicyVersions", **arn)["Versions"]:
                answer("iam", "GetPolicyVersion", **arn, VersionId=each["VersionId"])
        for user in answer("iam", "ListUsers")["Users"]:
            name = {"UserName": user["UserName"]}
            for operation in (
                "GetUser", "ListUserTags", "ListAccessKeys", "ListAttachedUserPolicies", "ListGroupsForUser", "GetLoginProfile",
            ):  # fmt: skip
                answer("iam", operation, **name)
            services = {"Arn": user["Arn"], "ServiceNamespaces": ["iam", "ec2"]}
            answer("iam", "ListPoliciesGrantingServiceAccess", **services)
            answer("iam", "GetContextKeysForPrincipalPolicy", PolicySourceArn=user["Arn"])
            for key in answer("iam", "ListAccessKeys", **name)["AccessKeyMetadata"]:
                answer("iam", "GetAccessKeyLastUsed", AccessKeyId=key["AccessKeyId"])
            for policy in answer("iam", "ListUserPolicies", **name)["PolicyNames"]:
                answer("iam", "GetUserPolicy", **name, PolicyName=policy)

    def _ask_batch(self, answer: Any) -> None:
        for operation in ("DescribeComputeEnvironments", "DescribeJobQueues", "DescribeJobDefinitions"):
            answer("batch", operation)
        states = set()
        for state in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"):
            for job in answer("batch", "ListJobs", jobQueue="harbour", jobStatus=state)["jobSummaryList"]:
                states.add(state)
                answer("batch", "DescribeJobs", jobs=[job["jobId"]])
                answer("batch", "ListTagsForResource", resourceArn=job["jobArn"])
        assert states == {"PENDING", *_STATES}

    def _ask_rest(self, answer: Any) -> None:
        for operation in (
            "DescribeInstances", "DescribeInstanceStatus", "DescribeVpcs", "DescribeSubnets", "DescribeSecurityGroups",
            "DescribeNetworkInterfaces", "DescribeTags", "DescribeIamInstanceProfileAssociations",
        ):  # fmt: skip
            found = answer("ec2", operation)
            for reservation in found.get("Reservations", []) if operation == "DescribeInstances" else []:
                for instance in reservation["Instances"]:
                    instance_id = {"InstanceId": instance["InstanceId"]}
                    answer("ec2", "DescribeInstanceAttribute", **instance_id, Attribute="userData")
                    answer("ec2", "GetConsoleOutput", **instance_id)
        clusters = answer("ecs", "ListClusters")["clusterArns"]
        answer("ecs", "DescribeClusters", clusters=clusters, include=["TAGS"])
        for cluster in clusters:
            answer("ecs", "ListTagsForResource", resourceArn=cluster)
            answer("ecs", "ListAttributes", cluster=cluster, targetType="container-instance")
            if instances := answer("ecs", "ListContainerInstances", cluster=cluster)["containerInstanceArns"]:
                answer("ecs", "DescribeContainerInstances", cluster=cluster, containerInstances=instances)
            for status in ("RUNNING", "STOPPED"):
                if tasks := answer("ecs", "ListTasks", cluster=cluster, desiredStatus=status)["taskArns"]:
                    answer("ecs", "DescribeTasks", cluster=cluster, tasks=tasks)
        answer("ecs", "ListTaskDefinitionFamilies")
        for definition in answer("ecs", "ListTaskDefinitions")["taskDefinitionArns"]:
            answer("ecs", "DescribeTaskDefinition", taskDefinition=definition)
        for group in answer("logs", "DescribeLogGroups")["logGroups"]:
            name = {"logGroupName": group["logGroupName"]}
            answer("logs", "ListTagsForResource", resourceArn=group["arn"].removesuffix(":*"))
            answer("logs", "FilterLogEvents", **name)
            for stream in answer("logs", "DescribeLogStreams", **name)["logStreams"]:
                answer("logs", "GetLogEvents", **name, logStreamName=stream["logStreamName"], startFromHead=True)
        answer("cloudtrail", "LookupEvents")

    def kept(self) -> tuple[str, dict[str, Any]]:
        """(the database as SQL, what is told about it)"""
        dump = "\n".join([*self.house.store._writer.iterdump(), f"PRAGMA user_version={REVISION};"])
        now = self.house.clock.now().isoformat()
        return dump, {"now": now, "region": REGION, "keys": self.keys, "reads": self.reads}


def present(assembly: Any, service: str, operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """What is answered now, from the database alone, as JSON. An error is an answer too."""
    found = assembly.dispatcher.operation(service, operation)
    assert not found.writes
    reading = assembly.call_as_root(service, operation, request)
    try:
        reading.send(None)
    except StopIteration as done:
        answer: dict[str, Any] = json.loads(msgspec.json.encode(done.value))
        return answer
    except AwsError as error:
        return {"Error": error.code}
    raise AssertionError("a read waited")


def main() -> int:
    there = FOLDER / f"{REVISION}.sql.xz"
    if there.exists():
        print(f"{there} is there already, and what has landed stays as it is", file=sys.stderr)
        return 1
    maker = Maker()
    try:
        maker.make()
        maker.ask()
        dump, told = maker.kept()
    finally:
        maker.house.close()
    FOLDER.mkdir(exist_ok=True)
    there.write_bytes(lzma.compress(dump.encode()))
    (FOLDER / f"{REVISION}.json.xz").write_bytes(lzma.compress(json.dumps(told).encode()))
    print(f"revision {REVISION}: {len(dump)} characters of SQL, {len(maker.reads)} answers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
