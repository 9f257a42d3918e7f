"""Checks that the service model states only in prose. Pure: a request in, nothing or a refusal out.

Sources: Batch API reference and user guide, the members' descriptions; texts as users and tools have reported them from
AWS. Where no text was found, the words are ours, and the line says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from longshore.aws.errors import AwsError

Given = Mapping[str, Any]  # a request, or a structure within one

TAGS_MAX = 50
ENVIRONMENTS_MAX = 3  # of a job queue
DEPENDENCIES_MAX = 20
ARRAY_SIZE_MIN = 2
ARRAY_SIZE_MAX = 10_000
IDS_MAX = 100  # that a Describe takes
DEFINITION_KIB_MAX = 24
JOB_KIB_MAX = 30
REASON_LENGTH_MAX = 1024

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_EVALUATED_TEXT = re.compile(r"[A-Za-z0-9.:\s]*\*?")
_EVALUATED_CODE = re.compile(r"[0-9]*\*?")


class Refused(Exception):
    """The request can't be carried out; the text says why, in AWS's words where they are known."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def client_exception(text: str) -> AwsError:
    return AwsError("ClientException", text)


@contextmanager
def executing(request_id: str) -> Any:
    """Puts a refusal in the form in which Batch passes on what it found wrong with a request.

    Source: hashicorp/terraform-provider-aws#16230 and many others; what concerns the state of a resource comes bare.
    """
    try:
        yield
    except Refused as refused:
        raise client_exception(
            f"Error executing request, Exception : {refused.text}, RequestId: {request_id}"
        ) from None


def not_offered(what: str, instead: str = "") -> Refused:
    """For what AWS has and this endpoint has not. The words are ours."""
    return Refused(f"{what} not offered by this endpoint{f'; {instead}' if instead else ''}.")


def check_name(name: str, noun: str) -> None:
    """API reference: up to 128 letters, digits, hyphens and underscores. After the text for jobs, which was seen."""
    if not _NAME.fullmatch(name):
        raise Refused(f"{noun} name should match valid pattern")


def check_job_name(name: str) -> None:
    """API reference, SubmitJob, jobName: up to 128 characters, the first one alphanumeric."""
    if not _JOB_NAME.fullmatch(name):
        raise Refused("Job name should match valid pattern")


def check_tags(tags: Mapping[str, str] | None, present: Mapping[str, str] | None = None) -> dict[str, str]:
    """The tags, laid over those that are there. User guide, "Tag restrictions"; the words are ours."""
    merged = {**(present or {}), **(tags or {})}
    if any(key.lower().startswith("aws:") for key in tags or ()):
        raise client_exception("Tag keys starting with aws: are reserved for AWS use.")
    if len(merged) > TAGS_MAX:
        raise client_exception(f"A resource can have at most {TAGS_MAX} tags.")
    return merged


# --- compute environments ---

_SPOT_STRATEGIES = frozenset(
    {"SPOT_CAPACITY_OPTIMIZED", "SPOT_PRICE_CAPACITY_OPTIMIZED", "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED"}
)
_ORDERED_STRATEGIES = frozenset({"BEST_FIT_PROGRESSIVE_ORDERED", "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED"})
_BUNDLES = frozenset({"optimal", "default_x86_64", "default_arm64"})
_IMAGE_TYPES = frozenset({"ECS_AL2", "ECS_AL2_NVIDIA", "ECS_AL2023", "ECS_AL2023_NVIDIA"})
_OLD_IMAGE_TYPES = frozenset({"ECS_AL2", "ECS_AL2_NVIDIA"})
DEFAULT_IMAGES = [{"imageType": "ECS_AL2023"}]  # API reference, Ec2Configuration, imageType: since January 2026
_PROFILE_ARN = re.compile(r"arn:aws[\w-]*:iam::\d{12}:instance-profile/(?:[\w+=,.@/-]*/)?[\w+=,.@-]+")
_SCALE_DOWN_MINUTES = range(20, 10_081)  # API reference, ComputeScalingPolicy; 0 unsets it


def check_compute_environment(request: Given) -> None:
    """What CreateComputeEnvironment asks of its request, but for what other services know."""
    check_name(request["computeEnvironmentName"], "Compute environment")
    if request.get("eksConfiguration"):
        raise not_offered("Compute environments on Amazon EKS are", "leave eksConfiguration out")
    resources = request.get("computeResources")
    kind = resources["type"] if resources else None
    if request["type"] == "UNMANAGED":
        if kind in ("FARGATE", "FARGATE_SPOT"):
            raise Refused("Cannot create an UNMANAGED Fargate Compute Environment.")
        if resources:
            raise Refused("computeResources can not be provided for an UNMANAGED compute environment")  # our words
        if not request.get("serviceRole"):
            raise Refused("ServiceRole is required.")
    if request.get("state", "ENABLED") != "ENABLED":
        raise Refused("Compute Environment must be created in ENABLED state.")
    if request["type"] == "MANAGED":
        if not resources:
            raise Refused("computeResources must be provided for a MANAGED compute environment")
        if request.get("unmanagedvCpus") is not None:
            raise Refused("unmanagedvCpus can only be provided for an UNMANAGED compute environment")  # our words
        _check_kind(resources)
        for entry in resources.get("ec2Configuration") or ():
            if entry["imageType"] in _OLD_IMAGE_TYPES:
                raise Refused(
                    "Amazon Linux 2 is end-of-life. Please see"
                    " https://docs.aws.amazon.com/batch/latest/userguide/compute_resource_AMIs.html."
                )
        check_compute_resources(resources)
    elif (request.get("unmanagedvCpus") or 0) < 0:
        raise Refused("unmanagedvCpus must not be negative.")  # our words


def _check_kind(resources: Given) -> None:
    if resources["type"] not in ("EC2", "SPOT"):
        raise not_offered(f"Compute environments of type {resources['type']} are", "use EC2 or SPOT")


def check_compute_resources(resources: Given) -> None:
    """Of a managed environment as it would be after the request."""
    for member in ("managedInstancesProvider", "capacityTags"):
        if resources.get(member):
            raise Refused(f"{member} is not applicable for {resources['type']}.")  # our words
    if resources.get("launchTemplate"):
        raise not_offered("Launch templates are", "leave launchTemplate out")
    least, most, desired = (resources.get(member) for member in ("minvCpus", "maxvCpus", "desiredvCpus"))
    if least is None:
        raise Refused("Resource minvCpus is required.")
    if least < 0:
        raise Refused("minvCpus should be greater than or equal to 0.")  # our words
    if most is None or most < max(least, 1):
        raise Refused("maxvCpus should be greater than or equal to minvCpus.")
    if desired is not None and not least <= desired <= most:
        raise Refused("desiredvCpus should be between minvCpus and maxvCpus.")
    if not resources.get("instanceTypes"):
        raise Refused("Resource instanceTypes are required.")
    if not resources.get("subnets"):
        raise Refused("Subnets are required.")  # our words, after the next
    if not resources.get("securityGroupIds"):
        raise Refused("Security group ids are required.")
    check_instance_role(resources.get("instanceRole"))
    _check_strategy(resources)
    _check_images(resources.get("ec2Configuration") or [])
    delay = (resources.get("scalingPolicy") or {}).get("minScaleDownDelayMinutes") or 0
    if delay and delay not in _SCALE_DOWN_MINUTES:
        raise Refused("minScaleDownDelayMinutes should be 0 or between 20 and 10080.")  # our words


def check_instance_role(instance_role: str | None) -> None:
    """An instance profile's name or ARN. Whether there is such a profile is found later, when Batch sets up."""
    if not instance_role:
        raise Refused("Instance role is required.")
    if instance_role.startswith("arn:") and not _PROFILE_ARN.fullmatch(instance_role):
        raise Refused("The ECS Instance Role should be an ECS Instance Profile ARN.")


def _check_strategy(resources: Given) -> None:
    """API reference, ComputeResource, allocationStrategy. The words are ours where no comment says otherwise."""
    strategy = resources.get("allocationStrategy")
    spot = resources["type"] == "SPOT"
    if strategy in _SPOT_STRATEGIES and not spot:
        raise Refused(f"Allocation strategy {strategy} is only applicable for SPOT.")
    if strategy == "BEST_FIT_PROGRESSIVE_ORDERED" and spot:
        raise Refused(f"Allocation strategy {strategy} is only applicable for EC2.")
    bundles = sorted(_BUNDLES.intersection(resources["instanceTypes"]))
    if strategy in _ORDERED_STRATEGIES and bundles:
        raise Refused(f"Allocation strategy {strategy} cannot be used with instance type {bundles[0]}.")
    if spot and strategy in (None, "BEST_FIT") and not resources.get("spotIamFleetRole"):
        raise Refused("compute resource spotIamFleetRole is required.")  # Seen so.
    bid = resources.get("bidPercentage")
    if spot and bid is not None and not 1 <= bid <= 100:
        raise Refused("bidPercentage should be between 1 and 100.")


def _check_images(images: Sequence[Given]) -> None:
    if len(images) > 2:
        raise Refused("At most 2 ec2Configurations are allowed.")  # our words
    kinds = [entry["imageType"] for entry in images]
    for kind in kinds:
        if kind not in _IMAGE_TYPES:
            raise Refused(f"imageType {kind} is not valid. Valid values: {', '.join(sorted(_IMAGE_TYPES))}")  # ours
    if len(set(kinds)) != len(kinds):
        raise Refused("Duplicate imageType in ec2Configuration.")  # our words


def check_instance_types(wanted: Sequence[str], unknown: Sequence[str], offered: Mapping[str, str]) -> None:
    """`unknown`: entries that name nothing offered. `offered`: name of a type -> its architecture."""
    if unknown:
        families = {name.partition(".")[0] for name in offered}
        raise Refused(f"Instance type can only be one of [{', '.join(sorted(_BUNDLES | families | set(offered)))}]")
    architectures = {architecture for entry in wanted for architecture in _architectures(entry, offered)}
    if len(architectures) > 1:
        raise Refused("arm-based instance type cannot be used with other instance types.")


def _architectures(entry: str, offered: Mapping[str, str]) -> Iterable[str]:
    if entry in _BUNDLES:
        return ("arm64" if entry == "default_arm64" else "x86_64",)
    return (each for name, each in offered.items() if name == entry or name.partition(".")[0] == entry)


INFRASTRUCTURE = frozenset(  # Members whose change replaces the instances (user guide, "Updating compute environments").
    {
        "allocationStrategy", "bidPercentage", "ec2Configuration", "ec2KeyPair", "imageId", "instanceRole",
        "instanceTypes", "launchTemplate", "placementGroup", "securityGroupIds", "subnets", "tags", "type",
    }
)  # fmt: skip
SERVICE_LINKED = ":role/aws-service-role/batch.amazonaws.com/"


def check_compute_environment_update(
    request: Given, *, managed: bool, before: Given | None, desired: int, service_role: str, new_service_role: str
) -> None:
    """`before`: computeResources as they are. `desired`: vCPUs that are up or on their way."""
    if request.get("eksConfiguration"):
        raise not_offered("Compute environments on Amazon EKS are", "leave eksConfiguration out")
    if (SERVICE_LINKED in service_role) != (SERVICE_LINKED in new_service_role):
        # API reference, UpdateComputeEnvironment, serviceRole; the words are ours.
        raise Refused("serviceRole can not be changed between a service-linked role and another role.")
    changes = request.get("computeResources")
    if not managed:
        if changes:
            raise Refused("computeResources can not be provided for an UNMANAGED compute environment")  # our words
        if (request.get("unmanagedvCpus") or 0) < 0:
            raise Refused("unmanagedvCpus must not be negative.")  # our words
        return
    if request.get("unmanagedvCpus") is not None:
        raise Refused("unmanagedvCpus can only be provided for an UNMANAGED compute environment")  # our words
    if changes is None:
        return
    if not changes:
        raise Refused("At least one compute-resources attribute must be specified")
    assert before is not None
    asked = changes.get("desiredvCpus")
    if asked is not None and asked < desired:
        raise Refused(
            "Manually scaling down compute environment is not supported.  Disconnecting job queues from compute"
            " environment will cause it to scale-down to minvCpus."
        )
    if replaces_instances(changes, before):
        # User guide, "Updating compute environments"; the words are ours.
        if SERVICE_LINKED not in service_role:
            raise Refused("Instances can only be replaced in a compute environment with the service-linked role.")
        strategy = changes.get("allocationStrategy") or before.get("allocationStrategy") or "BEST_FIT"
        if strategy == "BEST_FIT":
            raise Refused("Instances can not be replaced in a compute environment with allocation strategy BEST_FIT.")
    if changes.get("type"):
        _check_kind(changes)


def replaces_instances(changes: Given, before: Given) -> bool:
    """Whether something changes that an instance has from its launch. What is sent again as it is changes nothing."""
    return any(changes[member] != before.get(member) for member in INFRASTRUCTURE.intersection(changes))


# --- job queues ---

TIME_LIMIT_REASONS = (
    # User guide, "Jobs blocked in the queue": the codes that a time limit action may name.
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
    "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED",
)
_TIME_LIMIT_SECONDS = range(600, 86_401)


def check_job_queue(request: Given) -> None:
    """Of CreateJobQueue and, but for what must be there, UpdateJobQueue."""
    if request.get("schedulingPolicyArn"):
        raise not_offered("Scheduling policies are", "leave schedulingPolicyArn out for first-in, first-out")
    if request.get("serviceEnvironmentOrder"):
        raise not_offered("Service environments are", "use computeEnvironmentOrder")
    if request.get("jobQueueType") not in (None, "ECS"):
        raise not_offered(f"Job queues of type {request['jobQueueType']} are", "use ECS")
    order = request.get("computeEnvironmentOrder")
    if order is not None:
        _check_order(order)
    for action in request.get("jobStateTimeLimitActions") or ():
        if action["action"] != "CANCEL":
            raise Refused("Invalid job action. Valid job actions: [CANCEL]")
        if action["maxTimeSeconds"] not in _TIME_LIMIT_SECONDS:
            raise Refused("maxTimeSeconds should be between 600 and 86400.")  # our words, as the next
        if action["reason"] not in TIME_LIMIT_REASONS:
            raise Refused(f"Invalid reason. Valid reasons: [{', '.join(TIME_LIMIT_REASONS)}]")


def _check_order(order: Sequence[Given]) -> None:
    if not order:
        raise Refused("computeEnvironmentOrder is required.")
    if len(order) > ENVIRONMENTS_MAX:
        raise Refused("Only 3 environments are allowed in job queue request.")
    if len({entry["order"] for entry in order}) != len(order):
        raise Refused("Duplicate ComputeEnvironment order values.")


# --- job definitions ---

_OF_FARGATE = (
    "networkConfiguration", "fargatePlatformConfiguration", "ephemeralStorage", "runtimePlatform",
)  # fmt: skip
_AWSLOGS_OPTIONS = frozenset(
    {
        "awslogs-group", "awslogs-region", "awslogs-stream-prefix", "awslogs-create-group", "awslogs-datetime-format",
        "awslogs-multiline-pattern", "mode", "max-buffer-size",
    }
)  # fmt: skip
_MEMORY_MIN_MIB = 4
_SWAPPINESS = range(101)
_PRIORITIES = range(10_000)


def check_job_definition(request: Given) -> None:
    """What RegisterJobDefinition asks of its request."""
    check_name(request["jobDefinitionName"], "Job definition")
    if request["type"] == "multinode" or request.get("nodeProperties"):
        raise not_offered("Multi-node parallel jobs are", "use type container with containerProperties")
    for member in ("eksProperties", "ecsProperties"):
        if request.get(member):
            raise not_offered(f"Job definitions with {member} are", "use containerProperties")
    if (request.get("consumableResourceProperties") or {}).get("consumableResourceList"):
        raise not_offered("Consumable resources are", "leave consumableResourceProperties out")
    capabilities = request.get("platformCapabilities") or []
    if len(capabilities) > 1:
        raise Refused("Exactly 1 capability must be provided.")
    if capabilities and capabilities[0] != "EC2":
        raise not_offered(f"Jobs with platform capability {capabilities[0]} are", "use EC2")
    priority = request.get("schedulingPriority")
    if priority is not None and priority not in _PRIORITIES:
        raise Refused("schedulingPriority should be between 0 and 9999.")  # our words
    properties = request.get("containerProperties")
    if not properties:
        raise Refused("Container properties should not be empty.")
    check_container(properties)
    check_retry_strategy(request.get("retryStrategy"))
    check_timeout(request.get("timeout"))
    size = len(msgspec.json.encode(request))
    if size > 1024 * DEFINITION_KIB_MAX:
        # After the text for jobs, which was seen.
        raise Refused(f"Job definition size must be less than {DEFINITION_KIB_MAX} KiB, got {_kib(size)} KiB")


def check_container(properties: Given) -> None:
    if not properties.get("image"):
        raise Refused("Image should not be null or empty.")  # our words
    if properties.get("instanceType"):
        raise Refused("instanceType is only applicable for multi-node parallel jobs.")  # our words
    for member in _OF_FARGATE:
        if properties.get(member):
            dot = "is not" if member == "runtimePlatform" else "not"  # as seen
            raise Refused(f"{member} {dot} applicable for EC2.")
    if properties.get("enableExecuteCommand"):
        raise not_offered("ECS Exec is", "leave enableExecuteCommand out")
    if properties.get("repositoryCredentials"):
        raise not_offered("Credentials of private registries are", "leave repositoryCredentials out")
    check_amounts(properties)
    check_environment(properties.get("environment"))
    _check_secrets(properties)
    _check_volumes(properties)
    _check_linux(properties.get("linuxParameters") or {})
    _check_logging(properties.get("logConfiguration"))


def check_amounts(properties: Given) -> None:
    """What a definition says of vCPUs, memory and GPUs, in the present form or the deprecated one."""
    amounts = check_requirements(properties.get("resourceRequirements"))
    for member, kind in (("vcpus", "VCPU"), ("memory", "MEMORY")):
        if properties.get(member) is not None and kind in amounts:
            raise Refused("Cannot provide duplicates in resourceRequirements.")
    vcpus, memory = properties.get("vcpus"), properties.get("memory")
    if vcpus is None and "VCPU" not in amounts:
        raise Refused("vCPU is required.")
    if memory is None and "MEMORY" not in amounts:
        raise Refused("Memory is required.")  # our words, after the one before
    check_deprecated_amounts(vcpus, memory)


def check_deprecated_amounts(vcpus: int | None, memory: int | None) -> None:
    if vcpus is not None and vcpus < 1:
        raise Refused(f"vCPU must be at least 1, got {vcpus}.")
    if memory is not None and memory < _MEMORY_MIN_MIB:
        raise Refused(f"Memory must be at least {_MEMORY_MIN_MIB} MiB, got {memory}.")  # our words


def check_requirements(requirements: Sequence[Given] | None) -> dict[str, int]:
    """Kind -> amount. API reference, ResourceRequirement: whole numbers on EC2; VCPU 1, MEMORY 4 at least."""
    amounts: dict[str, int] = {}
    for entry in requirements or ():
        kind, value = entry["type"], entry["value"]
        if kind in amounts:
            raise Refused("Cannot provide duplicates in resourceRequirements.")
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise Refused(
                f"Value {value} for type {kind} in resourceRequirement is not valid. Please provide a numeric value."
            )
        amounts[kind] = int(value)
    check_deprecated_amounts(amounts.get("VCPU"), amounts.get("MEMORY"))
    if amounts.get("GPU") == 0:
        raise Refused("GPU must be at least 1, got 0.")  # our words
    return amounts


def check_environment(environment: Sequence[Given] | None) -> None:
    """API reference, ContainerProperties, environment: AWS_BATCH is reserved. The words are ours."""
    for variable in environment or ():
        name = variable.get("name") or ""
        if not name:
            raise Refused("Environment variable names should not be null or empty.")
        if name.startswith("AWS_BATCH"):
            raise Refused(f"Environment variable names cannot start with AWS_BATCH: {name}")


def _check_secrets(properties: Given) -> None:
    logging = properties.get("logConfiguration") or {}
    if not properties.get("secrets") and not logging.get("secretOptions"):
        return
    if not properties.get("executionRoleArn"):
        raise Refused("executionRoleArn cannot be empty when using secrets or secretOptions")
    raise not_offered("Secrets Manager and Systems Manager parameters are", "leave secrets out")


def _check_volumes(properties: Given) -> None:
    """API reference, Volume, MountPoint. The words are ours."""
    names: set[str] = set()
    for volume in properties.get("volumes") or ():
        name = volume.get("name") or ""
        if not _NAME.fullmatch(name):
            raise Refused(f"Volume name should match valid pattern: '{name}'")
        if name in names:
            raise Refused(f"Volume names must be unique: {name}")
        names.add(name)
        for member in ("efsVolumeConfiguration", "s3filesVolumeConfiguration"):
            if volume.get(member):
                raise not_offered(f"Volumes with {member} are", "use a host path")
    for mount in properties.get("mountPoints") or ():
        if mount.get("sourceVolume") not in names:
            raise Refused(f"Unknown volume '{mount.get('sourceVolume')}' in mountPoints.")
        if not mount.get("containerPath"):
            raise Refused("containerPath is required in mountPoints.")


def _check_linux(parameters: Given) -> None:
    swappiness = parameters.get("swappiness")
    if parameters.get("maxSwap") is not None and swappiness is None:
        raise Refused("When container specified swap memory, swappiness value is required.")
    if swappiness is not None and swappiness not in _SWAPPINESS:
        raise Refused("swappiness should be between 0 and 100.")  # our words
    if (parameters.get("maxSwap") or 0) < 0:
        raise Refused("maxSwap should be 0 or more.")  # our words


def _check_logging(configuration: Given | None) -> None:
    if not configuration or configuration["logDriver"] != "awslogs":
        return
    for option in configuration.get("options") or ():
        if option not in _AWSLOGS_OPTIONS:
            raise Refused(f"Log driver awslogs disallows options: {option}")


def check_retry_strategy(strategy: Given | None) -> None:
    if not strategy:
        return
    attempts, rules = strategy.get("attempts"), strategy.get("evaluateOnExit")
    if attempts is None:
        raise Refused("RetryAttempts must be provided with retry strategy.")
    if not 1 <= attempts <= 10:
        raise Refused("RetryAttempts must be between 1 and 10.")
    if len(rules or ()) > 5:
        raise Refused("EvaluateOnExit should contain at most 5 conditions")  # our words
    for rule in rules or ():
        _check_rule(rule)


def _check_rule(rule: Given) -> None:
    """API reference, EvaluateOnExit."""
    texts = [rule[member] for member in ("onStatusReason", "onReason") if rule.get(member)]
    code = rule.get("onExitCode")
    if not texts and not code:
        raise Refused("EvaluateOnExit should contain at least one of onExitCode, onReason or onStatusReason")
    fits = all(_EVALUATED_TEXT.fullmatch(text) and len(text) <= 512 for text in texts)
    if not fits or (code and not (_EVALUATED_CODE.fullmatch(code) and len(code) <= 512)):
        raise Refused("Evaluate on exit condition contains restricted characters.")


def check_timeout(timeout: Given | None) -> None:
    if timeout and (timeout.get("attemptDurationSeconds") or 0) < 60:
        raise Refused("AttemptDurationSeconds in Timeout must be at least 60 seconds.")


# --- jobs ---


def check_submission(request: Given) -> None:
    """What SubmitJob asks of its request, before queue and definition are looked at."""
    check_job_name(request["jobName"])
    size = (request.get("arrayProperties") or {}).get("size")
    if size is not None and not ARRAY_SIZE_MIN <= size <= ARRAY_SIZE_MAX:
        # API reference, ArrayProperties, size; the words are ours.
        raise Refused(f"Array size must be between {ARRAY_SIZE_MIN} and {ARRAY_SIZE_MAX}, got {size}.")
    for member, what in (
        ("nodeOverrides", "Multi-node parallel jobs are"),
        ("eksPropertiesOverride", "Jobs on Amazon EKS are"),
        ("ecsPropertiesOverride", "Jobs with ecsProperties are"),
        ("consumableResourcePropertiesOverride", "Consumable resources are"),
    ):
        if request.get(member):
            raise not_offered(what, f"leave {member} out")
    if request.get("shareIdentifier") or request.get("schedulingPriorityOverride") is not None:
        raise Refused(
            "Job with shareIdentifier or schedulingPriority can only be submitted to job queue with fair share"
            " scheduling policy."
        )
    if request.get("retryStrategy"):
        check_retry_strategy(request["retryStrategy"])
    if request.get("timeout"):
        check_timeout(request["timeout"])
    if request.get("containerOverrides"):
        _check_overrides(request["containerOverrides"])
    if request.get("dependsOn"):
        _check_dependencies(request["dependsOn"], is_array=size is not None)


def _check_overrides(overrides: Given) -> None:
    if overrides.get("instanceType"):
        raise Refused("instanceType is only applicable for multi-node parallel jobs.")  # our words
    if "" in (overrides.get("command") or ()):
        raise Refused("Container override command can not contain an empty string.")  # our words
    check_requirements(overrides.get("resourceRequirements"))
    check_deprecated_amounts(overrides.get("vcpus"), overrides.get("memory"))
    check_environment(overrides.get("environment"))


def _check_dependencies(dependencies: Sequence[Given], *, is_array: bool) -> None:
    """API reference, SubmitJob, dependsOn. The words are ours."""
    if len(dependencies) > DEPENDENCIES_MAX:
        raise Refused(f"A job can depend on at most {DEPENDENCIES_MAX} jobs, got {len(dependencies)}.")
    for dependency in dependencies:
        if dependency.get("type") and not is_array:
            raise Refused(f"Dependency type {dependency['type']} is only applicable for array jobs.")
        if dependency.get("type") == "SEQUENTIAL":
            if dependency.get("jobId"):
                raise Refused("jobId can not be provided for dependency type SEQUENTIAL.")
        elif not dependency.get("jobId"):
            raise Refused("jobId is required in dependsOn.")


def check_job_size(size: int) -> None:
    if size > 1024 * JOB_KIB_MAX:
        raise client_exception(f"Job size must be less than {JOB_KIB_MAX} KiB, got {_kib(size)} KiB")


def _kib(size: int) -> int:
    return -(-size // 1024)


def check_reason(reason: str) -> None:
    """API reference, CancelJob, TerminateJob, reason: up to 1,024 characters. The words are ours."""
    if len(reason) > REASON_LENGTH_MAX:
        raise client_exception(f"Reason must be at most {REASON_LENGTH_MAX} characters.")


def check_count(ids: Sequence[str] | None, noun: str) -> None:
    if ids and len(ids) > IDS_MAX:
        raise client_exception(f"Maximum number of {noun} supported is {IDS_MAX}, got {len(ids)}.")
