"""Requests written by hand, or spoilt on purpose, and signed all the same; a house whose loops stand still."""

from __future__ import annotations

import random
from typing import Any

from botocore.model import Shape

from aws.oracle import Values, botocore_model, read_error_by_botocore, sent_by_botocore
from in_process import ACCOUNT, ENDPOINT, REGION, ROOT, InProcessHouse
from longshore.aws import sigv4
from longshore.aws.wire.http import HttpRequest, HttpResponse
from people import EC2_TRUST, Person, allow, document, trust

KEY = (ROOT.access_key_id, ROOT.secret_access_key, None)


def signed(
    house: InProcessHouse,
    request: HttpRequest,
    service: str,
    *,
    key: tuple[str, str, str | None] = KEY,
    region: str = REGION,
) -> HttpRequest:
    url = f"{ENDPOINT}{request.path}" + (f"?{request.query_string}" if request.query_string else "")
    headers = {name: value for name, value in request.headers.items() if name != "host"}
    made = sigv4.sign(request.method, url, headers, request.body, service, region, *key, house.clock.now())
    return HttpRequest(request.method, request.path, request.query_string, made, request.body)


def sent(house: InProcessHouse, request: HttpRequest) -> HttpResponse:
    return house.loop.run_until_complete(house.assembly.gateway.handle(request, ENDPOINT))


def error_of(service: str, answer: HttpResponse, operation: str | None = None) -> tuple[str, str, int]:
    """(code, message, status), as botocore reads them."""
    known = botocore_model(service)
    form = known.operation_model(operation or next(iter(known.operation_names)))
    read = read_error_by_botocore(form, answer)
    return read["Error"]["Code"], read["Error"]["Message"], answer.status


def kept(house: InProcessHouse) -> dict[str, list[Any]]:
    """All that the house holds, but what it notes about calls."""
    from longshore.store.statement import METADATA

    connection = house.store._writer  # type: ignore[attr-defined]
    return {
        table.name: connection.execute(f"SELECT * FROM {table.name}").fetchall()
        for table in METADATA.sorted_tables
        if not table.name.startswith(("cloudtrail", "outbox", "test_"))
    }


class Furnished:
    """A house with one of each thing in it, its loops stopped: only requests change it from now on.

    `key` is an operator's, whose policies are asked. `sound`: member in lower case -> values that make sense there.
    """

    def __init__(self) -> None:
        self.house = house = InProcessHouse(machines="memory")
        operator = Person(house, "operator")
        tagged = {"StringLike": {"aws:RequestTag/x": "${aws:username}*"}}
        operator.may(allow("*"), {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": tagged})
        self.key = (operator.key["AccessKeyId"], operator.key["SecretAccessKey"], None)
        iam, batch, ecs, logs, ec2 = (house.client(name) for name in ("iam", "batch", "ecs", "logs", "ec2"))
        role = iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)["Role"]["Arn"]
        trusting = iam.create_role(RoleName="open", AssumeRolePolicyDocument=trust({"AWS": "*"}))["Role"]["Arn"]
        iam.create_user(UserName="ann")
        policy = iam.create_policy(PolicyName="pol", PolicyDocument=document(allow("s3:*")))["Policy"]["Arn"]
        iam.create_instance_profile(InstanceProfileName="ops")
        iam.add_role_to_instance_profile(InstanceProfileName="ops", RoleName="ops")
        iam.create_instance_profile(InstanceProfileName="empty")
        iam.put_role_policy(RoleName="ops", PolicyName="inline", PolicyDocument=document(allow("s3:*")))
        ecs.create_cluster(clusterName="c")
        container = {"name": "main", "image": "busybox", "memory": 64}
        task = ecs.register_task_definition(family="fam", containerDefinitions=[container])["taskDefinition"]
        logs.create_log_group(logGroupName="g")
        logs.create_log_stream(logGroupName="g", logStreamName="s")
        subnet = ec2.describe_subnets()["Subnets"][0]
        group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
        image = ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"][0]["ImageId"]
        (instance,) = ec2.run_instances(
            ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1, IamInstanceProfile={"Name": "ops"}
        )["Instances"]
        associations = ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]
        batch.create_compute_environment(
            computeEnvironmentName="ce",
            type="MANAGED",
            computeResources={
                "type": "EC2", "minvCpus": 0, "maxvCpus": 4, "instanceTypes": ["optimal"], "subnets": [subnet["SubnetId"]],
                "securityGroupIds": [group], "instanceRole": "ops",
            },
        )  # fmt: skip
        house.settle(
            lambda: batch.describe_compute_environments()["computeEnvironments"][0]["status"] == "VALID", seconds=300
        )
        order = [{"order": 1, "computeEnvironment": "ce"}]
        batch.create_job_queue(jobQueueName="q", priority=1, computeEnvironmentOrder=order)
        definition = batch.register_job_definition(
            jobDefinitionName="jd", type="container", containerProperties={"image": "busybox", "vcpus": 1, "memory": 64}
        )["jobDefinitionArn"]
        house.settle(lambda: batch.describe_job_queues()["jobQueues"][0]["status"] == "VALID", seconds=300)
        job = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="jd")["jobId"]
        house.loop.run_until_complete(house.assembly.stop())
        self.sound: dict[str, list[Any]] = {
            "rolename": ["ops", "open"], "username": ["ann", "operator"], "instanceprofilename": ["ops", "empty", "new"],
            "policyname": ["inline", "pol", "new"], "policyarn": [policy, "arn:aws:iam::aws:policy/AdministratorAccess"],
            "permissionsboundary": [policy], "policydocument": [document(allow("s3:*")), document(allow("iam:*", "*"))],
            "assumerolepolicydocument": [EC2_TRUST, trust({"AWS": "*"})], "versionid": ["v1", "v2"], "path": ["/", "/x/"],
            "accesskeyid": [operator.key["AccessKeyId"]], "awsservicename": ["batch.amazonaws.com", "ecs.amazonaws.com"],
            "rolearn": [role, trusting], "rolesessionname": ["job"], "policysourcearn": [role], "actionnames": ["s3:GetObject"],
            "policyinputlist": [document(allow("s3:*"))], "resourcearns": ["arn:aws:s3:::b"], "key": ["x", "Name", "y"],
            "value": ["z", "operator1"], "tagkeys": ["x", "y"], "durationseconds": [900, 3600], "federationtokenname": ["ann"],
            "cluster": ["c"], "clusters": ["c"], "clustername": ["c", "new"], "taskdefinition": ["fam", "fam:1"],
            "family": ["fam"],
            "image": ["busybox"], "cpu": ["0", "64"], "memory": ["64", 64], "containerinstance": ["x" * 36],
            "resourcearn": [definition, task["taskDefinitionArn"], f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/c",
                            f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:g"],
            "computeenvironment": ["ce"], "computeenvironments": ["ce"], "computeenvironmentname": ["new", "ce"],
            "jobqueue": ["q"], "jobqueues": ["q"], "jobqueuename": ["new", "q"], "jobdefinition": ["jd", "jd:1", definition],
            "jobdefinitions": ["jd:1"], "jobdefinitionname": ["jd", "new"], "jobname": ["j"], "jobid": [job], "jobs": [job],
            "reason": ["because"], "subnets": [subnet["SubnetId"]], "securitygroupids": [group], "instancerole": ["ops"],
            "instancetypes": ["optimal", "m5.large"], "loggroupname": ["g", "new"], "logstreamname": ["s", "new"],
            "message": ["hello"], "timestamp": [1_767_225_600_000], "loggroupnameprefix": ["g"], "retentionindays": [1, 7],
            "instanceid": [instance["InstanceId"]], "instanceids": [instance["InstanceId"]], "imageid": [image],
            "instancetype": ["t3.micro"], "subnetid": [subnet["SubnetId"]], "vpcid": [subnet["VpcId"]], "groupid": [group],
            "resources": [instance["InstanceId"], group], "associationid": [each["AssociationId"] for each in associations],
            "cidrblock": ["10.1.0.0/16", "172.31.240.0/24"], "groupname": ["new"], "description": ["words"], "dryrun": [False],
            "mincount": [1], "maxcount": [1, 2], "priority": [1], "order": [1], "vcpus": [1], "maxvcpus": [4], "minvcpus": [0],
            "maxresults": [10, 100], "maxitems": [10], "limit": [10], "nexttoken": ["1"], "marker": ["1"], "size": [2],
            "count": [1],
            "attribute": ["instanceType", "userData"], "name": ["main", "new", "x"], "arn": [policy],
        }  # fmt: skip


NAMES = [
    "ops", "ann", "pol", "inline", "c", "fam", "fam:1", "g", "s", "ce", "q", "jd", "jd:1", "new", "t3.micro", "m5.large",
    "busybox", "v1", "1", "0", "true", "ECS", "batch.amazonaws.com", "ec2.amazonaws.com", "/", "/x/",
    f"arn:aws:iam::{ACCOUNT}:role/ops", f"arn:aws:iam::{ACCOUNT}:policy/pol", f"arn:aws:iam::{ACCOUNT}:user/ann",
    f"arn:aws:iam::{ACCOUNT}:instance-profile/ops", "arn:aws:iam::aws:policy/AdministratorAccess",
    f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/c", f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/fam:1",
    f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/q", f"arn:aws:batch:{REGION}:{ACCOUNT}:job-definition/jd:1",
    f"arn:aws:batch:{REGION}:{ACCOUNT}:compute-environment/ce", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:g:*",
    "i-0123456789abcdef0", "ami-0123456789abcdef0", "subnet-0123456789abcdef0", "sg-0123456789abcdef0",
    "arn:aws:iam::999999999999:role/x", "arn::::::", "arn:aws", ":", "::", "*", "%", "\x00", "a" * 3000,
    "\N{ROCKET}é\u202e", " x ",
    document(allow("s3:*")), EC2_TRUST, "eyJ4IjoxfQ==", "2026-01-01T00:00:00Z", "10.0.0.0/8", "9" * 30, "-1", "NaN", "\ud7ff",
    "[{}]", '{"a":', "x" * 70, "host", "awslogs", "SIGTERM", "task-group", "cpu", "memory", "VCPU", "MEMORY",
]  # fmt: skip


class Strange(Values):
    """Values of the model's types, often such as make sense in their place, often of no sense at all."""

    def __init__(self, seed: str, sound: dict[str, list[Any]], *, sense: float, full: bool, nodes: int) -> None:
        super().__init__(seed, full=full, nodes=nodes)
        self.sound = sound
        self.sense = sense  # how often what makes sense is taken, where something is known to

    def _sound(self, kind: type) -> Any:
        values = [each for each in self.sound.get(self.member.lower(), ()) if isinstance(each, kind)]
        return self._random.choice(values) if values and self._random.random() < self.sense else None

    def _string(self, shape: Shape) -> str:
        if (sound := self._sound(str)) is not None:
            return str(sound)
        if shape.enum and self._random.random() < 0.85:
            return self._random.choice(shape.enum)
        return self._random.choice(NAMES)

    def _boolean(self, shape: Shape) -> bool:
        return False if self._sound(bool) is not None else super()._boolean(shape)

    def _integer(self, shape: Shape) -> int:
        if (sound := self._sound(int)) is not None:
            return int(sound)
        return self._random.choice((0, 1, -1, 2, 3, 10, 64, 100, 1000, 10_000, 2**31 - 1, -(2**31)))

    def _long(self, shape: Shape) -> int:
        if (sound := self._sound(int)) is not None:
            return int(sound)
        return self._random.choice((0, 1, -1, 1_767_225_600_000, 2**53 + 1, 2**63 - 1, -(2**63)))

    def _float(self, shape: Shape) -> float:
        return self._random.choice((0.0, 1.0, -2.5, 1e-320, 1e308, 0.1))

    _double = _float


def strange_request(service: str, operation: str, seed: str, sound: dict[str, list[Any]]) -> HttpRequest:
    theirs = botocore_model(service).operation_model(operation)
    chance = random.Random(seed)
    full, nodes, sense = chance.random() < 0.1, chance.choice((1, 10, 40, 150)), chance.choice((0.5, 0.9, 1.0))
    values = Strange(seed, sound, sense=sense, full=full, nodes=nodes)
    value = values.of(theirs.input_shape) if theirs.input_shape else {}
    if theirs.input_shape is not None:
        for name, member in theirs.input_shape.members.items():
            if member.serialization.get("location") == "uri":
                value[name] = chance.choice([each for each in [*NAMES, *sound["resourcearn"]] if ":batch:" in each])
        if value and chance.random() < 0.15:
            lost = chance.choice(sorted(value))
            if theirs.input_shape.members[lost].serialization.get("location") != "uri":
                del value[lost]
    return sent_by_botocore(theirs, value)


def spoilt(request: HttpRequest, chance: random.Random) -> HttpRequest:
    """The request with its body, its target, its query or its path damaged."""
    from msgspec.structs import replace

    body = bytearray(request.body)
    match chance.randrange(9):
        case 0:
            del body[chance.randrange(len(body) + 1) :]
        case 1 | 2 if body:
            at = chance.randrange(len(body))
            body[at : at + chance.randrange(3)] = chance.choice(
                (b"", b"\xff", b'"', b"{", b"[", b"}", b"null", b"1e999", b"%", b"&", b"\x00")
            )
        case 3 if body:
            at = chance.randrange(len(body))
            body[at:at] = body[chance.randrange(len(body)) :][: chance.randrange(60)]
        case 4:
            body[:] = chance.choice(SPOILT_BODIES)
        case 5:
            return replace(
                request,
                query_string=chance.choice(("a=%ff", "Action=GetUser", "X-Amz-Expires=x", "&&==&", "%", "tagKeys")),
            )
        case 6:
            headers = {
                **request.headers,
                "x-amz-target": chance.choice(("", "x", "x.y", "Logs_20140328.", ".ListTasks", "é")),
            }
            return replace(request, headers=headers)
        case 7:
            text = request.body.decode("latin-1")
            for old, new in (
                ("true", '"x"'),
                ("1", '"x"'),
                ("[", "{"),
                ('":"', '":["'),
                (".1", ".x"),
                (".member.", ".."),
            ):
                if chance.random() < 0.4:
                    text = text.replace(old, new, 1)
            body[:] = text.encode("latin-1")
        case _:
            body += chance.choice(
                (b"}", b"&a", b"&Action=GetUser", b"\n", b"\x00", b"{}", b"&Tags.member.1=x&Tags.member.1.Key=y")
            )
    return replace(request, body=bytes(body))


SPOILT_BODIES = [
    b"", b"null", b"[]", b'"x"', b"1", b"{", b"{}", b'{"a":}', b"\xff\xfe", b"\xef\xbb\xbf{}", b"<xml/>", b"NaN", b"{}{}",
    b"[" * 20_000, b'{"a":' * 20_000, b"=", b"&", b"%", b"Action", b"Action=", b"Action=GetUser&UserName=%ff",
    b'{"clusters": {"a": 1}}', b'{"maxResults": 1e400}', b'{"maxResults": ' + b"9" * 5000 + b"}", b'{"cluster": "\\ud800"}',
    b'{"jobName": "\\ud800", "jobQueue": "q", "jobDefinition": "jd"}',
]  # fmt: skip
