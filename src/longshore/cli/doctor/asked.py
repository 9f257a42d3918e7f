"""Who uses which role, and what each will be asked: the questions that policies alone can answer. Pure.

Actions and resources are those of the real calls: of Batch as its service role, of the agent as the instance role, of ECS
and the agent as the execution role. What a job does with its own role is its owner's to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from longshore.cli.doctor.account import (
    BATCH,
    EC2,
    ECS_TASKS,
    LINKED_ROLE,
    NOT_THERE_YET,
    Account,
    Asked,
    Definition,
    Environment,
    Kind,
    Role,
    name_of,
)


class Use(Struct, frozen=True):
    """A role, as it was named, and what for and by whom it is used."""

    kind: Kind
    role: str
    where: tuple[str, ...]


class PassRole(Struct, frozen=True):
    """A role that a caller hands over when he makes something: `by` is the action of making."""

    role: str  # ARN
    kind: Kind
    to: str
    by: Asked
    passing: Asked


# --- who uses which role ---


def uses(account: Account) -> list[Use]:
    """Each role once for each kind of use, in the order of the chain."""
    found: dict[tuple[Kind, str], list[str]] = {}

    def add(kind: Kind, role: str | None, where: str) -> None:
        if role is not None and where not in found.setdefault((kind, role), []):
            found[kind, role].append(where)

    for environment in account.environments:
        is_served = environment.name is not None and environment.type == "MANAGED"
        if is_served or environment.service_role is not None:  # Of one to be made, Batch makes the service-linked role.
            add("service role", environment.service_role or LINKED_ROLE, environment.shown)
        add("Spot fleet role", environment.spot_fleet_role, environment.shown)
    for environment in account.environments:
        add("instance role", role_inside(account, environment), environment.shown)
    for definition in account.definitions:
        add("execution role", definition.execution_role, definition.shown)
        add("job role", definition.job_role, definition.shown)
    return [Use(kind, role, tuple(where)) for (kind, role), where in found.items()]


def role_inside(account: Account, environment: Environment) -> str | None:
    """Name of the role in the environment's instance profile. None: there is none such."""
    if not environment.has_instances:
        return None
    profile = account.profiles.get(name_of(environment.instance_role or ""))
    return profile.roles[0] if profile is not None and profile.roles else None


def find_role(account: Account, name_or_arn: str) -> Role | None:
    """None: there is no role of that name, or of that ARN."""
    role = account.roles.get(name_of(name_or_arn))
    return None if role is None or (name_or_arn.startswith("arn:") and role.arn != name_or_arn) else role


# --- what roles are asked ---


def of_role(account: Account, use: Use) -> list[Asked]:
    """Empty: there is no such role, or its policies are none of ours."""
    role = find_role(account, use.role)
    if role is None or role.is_linked:
        return []
    questions: Iterable[tuple[str, str, dict[str, str]]]
    match use.kind:
        case "service role":
            questions = (each for one in _of(account, use) for each in _service(account, one))
        case "instance role":
            questions = agent(account, _of(account, use))
        case "execution role":
            questions = (each for one in account.definitions if one.shown in use.where for each in _task(account, one))
        case _:
            questions = ()
    asked = [Asked(role.arn, action, resource, tuple(context.items())) for action, resource, context in questions]
    return list(dict.fromkeys(asked))


def _of(account: Account, use: Use) -> list[Environment]:
    return [each for each in account.environments if each.shown in use.where]


def agent(account: Account, environments: Iterable[Environment]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """What the agent of an instance calls, in its order; then what it does for jobs without an execution role."""
    joining = [each for each in environments if not each.is_kubernetes]
    if not joining:
        return
    for environment in joining:
        cluster = _cluster(account, environment)
        instance = f"{cluster.replace(':cluster/', ':container-instance/')}/{NOT_THERE_YET}"
        yield "ecs:RegisterContainerInstance", cluster, {}
        yield "ecs:DiscoverPollEndpoint", "*", {}
        yield "ecs:Poll", instance, {"ecs:cluster": cluster}
        yield "ecs:SubmitContainerStateChange", cluster, {}
        yield "ecs:SubmitTaskStateChange", cluster, {}
    for definition in account.definitions or [Definition(name=None)]:
        if definition.execution_role is None and not definition.is_fargate:
            yield from _task(account, definition)


def _task(account: Account, definition: Definition) -> Iterator[tuple[str, str, dict[str, str]]]:
    """What is done before a container of the definition runs, by the execution role or in its place the instance's."""
    place = f"{account.region}:{account.number}"
    if definition.log_group is not None:
        prefix = (definition.name or "job").partition(":")[0]
        stream = f"arn:aws:logs:{place}:log-group:{definition.log_group}:log-stream:{prefix}/default/{NOT_THERE_YET}"
        yield "logs:CreateLogStream", stream, {}
        yield "logs:PutLogEvents", stream, {}
    host, _, rest = definition.image.partition("/")
    if ".dkr.ecr." in host:
        number, _, _, region = host.split(".")[:4]
        repository = f"arn:aws:ecr:{region}:{number}:repository/{rest.partition('@')[0].partition(':')[0]}"
        yield "ecr:GetAuthorizationToken", "*", {}
        yield "ecr:BatchGetImage", repository, {}
        yield "ecr:GetDownloadUrlForLayer", repository, {}
    for secret in definition.secrets:
        if secret.startswith("arn:aws:secretsmanager:"):
            # ECS developer guide, "Secrets Manager": what follows the name is a key inside the secret, and a version.
            yield "secretsmanager:GetSecretValue", ":".join(secret.split(":")[:7]), {}
        else:
            parameter = secret if secret.startswith("arn:") else f"arn:aws:ssm:{place}:parameter/{secret.lstrip('/')}"
            yield "ssm:GetParameters", parameter, {}


def _service(account: Account, environment: Environment) -> Iterator[tuple[str, str, dict[str, str]]]:
    """What Batch calls to serve an environment."""
    if environment.type != "MANAGED" or environment.is_kubernetes:
        return
    place = f"{account.region}:{account.number}"
    cluster = _cluster(account, environment)
    in_cluster = {"ecs:cluster": cluster}
    definition = f"arn:aws:ecs:{place}:task-definition/job:1"
    task = f"{cluster.replace(':cluster/', ':task/')}/{NOT_THERE_YET}"
    yield "ecs:CreateCluster", cluster, {}
    yield "ecs:DescribeClusters", cluster, {}
    yield "ecs:RegisterTaskDefinition", definition, {}
    yield "ecs:ListTasks", f"{cluster.replace(':cluster/', ':container-instance/')}/{NOT_THERE_YET}", in_cluster
    yield "ecs:DescribeTasks", task, in_cluster
    yield "ecs:StopTask", task, in_cluster
    yield "ecs:DeleteCluster", cluster, {}
    yield "logs:DescribeLogGroups", "*", {}
    yield "logs:CreateLogGroup", f"arn:aws:logs:{place}:log-group:/aws/batch/job", {}
    if environment.has_instances:
        group = f"arn:aws:autoscaling:{place}:autoScalingGroup:{NOT_THERE_YET}:autoScalingGroupName/AWSBatch-{environment.name}"
        instance = f"arn:aws:ec2:{place}:instance/i-{NOT_THERE_YET}"
        yield "iam:GetInstanceProfile", _profile_arn(account, environment), {}
        yield "ec2:DescribeInstances", "*", {}
        yield "ec2:CreateLaunchTemplate", f"arn:aws:ec2:{place}:launch-template/lt-{NOT_THERE_YET}", {}
        yield "ec2:RunInstances", instance, {}
        yield "ec2:TerminateInstances", instance, {}
        for action in ("CreateAutoScalingGroup", "SetDesiredCapacity", "TerminateInstanceInAutoScalingGroup",
                       "DeleteAutoScalingGroup"):  # fmt: skip
            yield f"autoscaling:{action}", group, {}
        yield "ecs:StartTask", definition, in_cluster
        inside = find_role(account, role_inside(account, environment) or "")
        if inside is not None:
            yield "iam:PassRole", inside.arn, {"iam:PassedToService": EC2}
    yield "ecs:RunTask", definition, in_cluster
    for one in account.definitions:
        for arn in (one.execution_role, one.job_role):
            if arn is not None and arn.startswith("arn:"):
                yield "iam:PassRole", arn, {"iam:PassedToService": ECS_TASKS}


def _cluster(account: Account, environment: Environment) -> str:
    name = f"{environment.name or 'environment'}_Batch_{NOT_THERE_YET}"
    return environment.cluster or f"arn:aws:ecs:{account.region}:{account.number}:cluster/{name}"


def _profile_arn(account: Account, environment: Environment) -> str:
    given = environment.instance_role or ""
    profile = account.profiles.get(name_of(given))
    return profile.arn if profile is not None else f"arn:aws:iam::{account.number}:instance-profile/{name_of(given)}"


# --- what the caller is asked ---


def passed(account: Account) -> list[PassRole]:
    """The roles that the caller would hand over, if he made what is there."""
    source = account.caller.source
    if source is None:
        return []
    place = f"{account.region}:{account.number}"
    found: dict[tuple[str, str, str], PassRole] = {}

    def add(name_or_arn: str | None, kind: Kind, to: str, action: str, resource: str) -> None:
        role = find_role(account, name_or_arn or "")
        if role is not None and not role.is_linked:
            by = Asked(source, action, f"arn:aws:batch:{place}:{resource}")
            passing = Asked(source, "iam:PassRole", role.arn, (("iam:PassedToService", to),))
            found.setdefault((role.arn, to, action), PassRole(role.arn, kind, to, by, passing))

    for environment in account.environments:
        named = f"compute-environment/{environment.name or 'new'}"
        make = "batch:CreateComputeEnvironment"
        add(environment.service_role, "service role", BATCH, make, named)
        add(role_inside(account, environment), "instance role", EC2, make, named)
    for definition in account.definitions:
        named = f"job-definition/{(definition.name or 'new').partition(':')[0]}"
        add(definition.execution_role, "execution role", ECS_TASKS, "batch:RegisterJobDefinition", named)
        add(definition.job_role, "job role", ECS_TASKS, "batch:RegisterJobDefinition", named)
    return list(found.values())


def everything(account: Account) -> list[Asked]:
    """All that is to be answered."""
    asked = [each for use in uses(account) for each in of_role(account, use)]
    asked += [each for environment in account.environments for each in of_its_namesake(account, environment)]
    for one in passed(account):
        asked += [one.by, one.passing]
    return list(dict.fromkeys(asked))


def of_its_namesake(account: Account, environment: Environment) -> list[Asked]:
    """What the role of the profile's own name would be asked, where another is inside."""
    inside = role_inside(account, environment)
    other = account.roles.get(name_of(environment.instance_role or ""))
    if inside is None or other is None or other.name == inside:
        return []
    return [
        Asked(other.arn, action, resource, tuple(context.items()))
        for action, resource, context in agent(account, [environment])
    ]
