"""What RunInstances weighs before there is an instance: image, type, place, profile, size, count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from longshore.aws.clock import milliseconds
from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request
from longshore.services.ec2 import network, profiles, rules, store
from longshore.services.ec2.images import IMAGES, Image
from longshore.services.ec2.instance_types import INSTANCE_TYPES, InstanceType
from longshore.services.ec2.machines.base import Machines
from longshore.services.ec2.profiles import Found
from longshore.services.ec2.records import Instance, MetadataOptions, Profile, Subnet

__all__ = ["ROOT_DEVICE", "Launch", "make", "metadata_options", "prepare", "replace"]

ROOT_DEVICE = "/dev/xvda"
_DEFAULT_TYPE = "m1.small"  # API reference, RunInstances, InstanceType: the default. It is not offered here.
_TAGGABLE = ("instance", "volume", "network-interface", "spot-instances-request")


class Launch(Struct, frozen=True, kw_only=True):
    """A launch that is in order."""

    request: Mapping[str, Any]
    count: int
    image: Image
    kind: InstanceType
    subnet: Subnet
    security_group_ids: tuple[str, ...]
    profile: Found | None
    options: MetadataOptions
    tags: dict[str, str]


def prepare(call: Call, request: Request) -> Launch:
    """Checks the request against what there is. Errors are those of RunInstances."""
    rules.check_counts(request["MinCount"], request["MaxCount"])
    refuse_what_cannot_be(request)
    image = _image(rules.required(request, "ImageId"))
    kind = _kind(request.get("InstanceType") or _DEFAULT_TYPE)
    _check_architecture(image, kind)
    rules.check_user_data(request.get("UserData"))
    rules.check_tag_specifications(request, _TAGGABLE)
    network.ensure_default(call)
    subnet = _subnet(call, request)
    groups = _security_groups(call, request, subnet)
    given = request.get("IamInstanceProfile")
    profile = profiles.usable(call, given) if given else None
    defaults = MetadataOptions(http_tokens="required", hop_limit=2) if image.imds_v2 else MetadataOptions()
    return Launch(
        request=request,
        count=_count(call, request, kind, subnet),
        image=image,
        kind=kind,
        subnet=subnet,
        security_group_ids=groups,
        profile=profile,
        options=metadata_options(request.get("MetadataOptions") or {}, defaults),
        tags=rules.specified_tags(request, "instance"),
    )


def make(call: Call, launch: Launch) -> list[Instance]:
    """The instances of the launch, each with an address of its own; nothing is written.

    InsufficientFreeAddressesInSubnet: the subnet has none left.
    """
    request, ids = launch.request, call.ids
    taken = store.private_ips(call.transaction)
    reservation_id = f"r-{ids.hex(17)}"
    spot = (request.get("InstanceMarketOptions") or {}).get("MarketType") == "spot"
    made = []
    for index in range(launch.count):
        address = _address(call, request, launch.subnet, taken)
        taken.add(address)
        profile = None
        if launch.profile is not None:
            profile = Profile(
                arn=launch.profile.arn,
                profile_id=launch.profile.profile_id,
                association_id=f"iip-assoc-{ids.hex(17)}",
                associated_at_ms=milliseconds(call.now),
            )
        made.append(
            Instance(
                instance_id=f"i-{ids.hex(17)}",
                account=call.account,
                region=call.region,
                zone=launch.subnet.zone,
                reservation_id=reservation_id,
                launch_index=index,
                image_id=launch.image.image_id,
                instance_type=launch.kind.name,
                state="pending",
                private_ip=address,
                mac=mac(address),
                network_interface_id=f"eni-{ids.hex(17)}",
                attachment_id=f"eni-attach-{ids.hex(17)}",
                subnet_id=launch.subnet.subnet_id,
                vpc_id=launch.subnet.vpc_id,
                security_group_ids=launch.security_group_ids,
                launched_at_ms=milliseconds(call.now) // 1000 * 1000,
                metadata_options=launch.options,
                profile=profile,
                user_data=request.get("UserData") or None,
                client_token=request.get("ClientToken"),
                lifecycle="spot" if spot else None,
                spot_request_id=f"sir-{ids.hex(8)}" if spot else None,
                reason_code="pending",
                reason_message="pending",
                disable_api_termination=bool(request.get("DisableApiTermination")),
                shutdown_behavior=request.get("InstanceInitiatedShutdownBehavior") or "stop",
                ebs_optimized=bool(request.get("EbsOptimized")),
                monitoring=bool((request.get("Monitoring") or {}).get("Enabled")),
            )
        )
    return made


def mac(address: str) -> str:
    """A locally administered address that follows from the instance's own: unique as long as that is."""
    return "02:42:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def metadata_options(request: Mapping[str, Any], before: MetadataOptions) -> MetadataOptions:
    """`before`, changed as the request says. InvalidParameterValue: a hop limit that is none."""
    hop_limit = request.get("HttpPutResponseHopLimit") or before.hop_limit
    if not 1 <= hop_limit <= 64:
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({hop_limit}) for parameter HttpPutResponseHopLimit is invalid. Must be between 1 and 64.",
        )
    return MetadataOptions(
        http_tokens=request.get("HttpTokens") or before.http_tokens,
        hop_limit=hop_limit,
        http_endpoint=request.get("HttpEndpoint") or before.http_endpoint,
        instance_tags=request.get("InstanceMetadataTags") or before.instance_tags,
    )


def refuse_what_cannot_be(request: Request) -> None:
    """There are no key pairs and no launch templates here, so none that is named exists."""
    if request.get("KeyName"):
        raise AwsError("InvalidKeyPair.NotFound", f"The key pair '{request['KeyName']}' does not exist")
    template = request.get("LaunchTemplate")
    if not template:
        return
    if template.get("LaunchTemplateId"):
        raise AwsError(
            "InvalidLaunchTemplateId.NotFound",
            f"The specified launch template, with template ID {template['LaunchTemplateId']}, does not exist.",
        )
    raise AwsError(
        "InvalidLaunchTemplateName.NotFoundException",
        f"The specified launch template, with template name {template.get('LaunchTemplateName')}, does not exist.",
    )


def _image(image_id: str) -> Image:
    rules.check_id(image_id, "ami", "InvalidAMIID")
    if image_id not in IMAGES:
        raise AwsError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    return IMAGES[image_id]


def _kind(name: str) -> InstanceType:
    if name not in INSTANCE_TYPES:
        raise AwsError("InvalidParameterValue", f"Invalid value '{name}' for InstanceType.")
    return INSTANCE_TYPES[name]


def _check_architecture(image: Image, kind: InstanceType) -> None:
    if image.architecture != kind.architecture:
        raise AwsError(
            "InvalidParameterValue",
            f"The architecture '{kind.architecture}' of the specified instance type does not match the architecture "
            f"'{image.architecture}' of the specified AMI. Specify an instance type and an AMI that have matching "
            "architectures, and try again. You can use 'describe-instance-types' or 'describe-images' to discover "
            "the architecture of the instance type or AMI.",
        )


def _interface(request: Request) -> Mapping[str, Any]:
    """The specification of the first network interface, which may carry the subnet and the groups."""
    interfaces: Sequence[Mapping[str, Any]] = request.get("NetworkInterfaces") or ()
    if interfaces and (request.get("SubnetId") or request.get("SecurityGroupIds") or request.get("SecurityGroups")):
        raise AwsError(
            "InvalidParameterCombination",
            "Network interfaces and an instance-level subnet ID may not be specified on the same request",
        )
    return next((each for each in interfaces if not each.get("DeviceIndex")), {})


def chosen_subnet(call: Call, request: Request) -> Subnet | None:
    """The subnet that the launch would use; None: there is no such one."""
    subnets = network.subnets(call)
    wanted = request.get("SubnetId") or _interface(request).get("SubnetId")
    if wanted:
        return next((subnet for subnet in subnets if subnet.subnet_id == wanted), None)
    zone = (request.get("Placement") or {}).get("AvailabilityZone")
    defaults = sorted((subnet for subnet in subnets if subnet.is_default), key=lambda subnet: subnet.zone)
    return next((subnet for subnet in defaults if zone in (None, "", subnet.zone)), None)


def _subnet(call: Call, request: Request) -> Subnet:
    found = chosen_subnet(call, request)
    if found is not None:
        return found
    wanted = request.get("SubnetId") or _interface(request).get("SubnetId")
    if wanted:
        raise AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{wanted}' does not exist")
    zone = (request.get("Placement") or {}).get("AvailabilityZone")
    if zone:
        raise AwsError("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
    raise AwsError("MissingInput", "No subnets found for the default VPC. Please specify a subnet.")


def chosen_group_ids(call: Call, request: Request) -> list[str]:
    """The security groups that the launch names, by id; names are those of the default VPC's groups."""
    ids = list(request.get("SecurityGroupIds") or _interface(request).get("Groups") or ())
    by_name = {group.group_name: group.group_id for group in network.security_groups(call)}
    return ids + [by_name.get(name, name) for name in request.get("SecurityGroups") or ()]


def _security_groups(call: Call, request: Request, subnet: Subnet) -> tuple[str, ...]:
    groups = {group.group_id: group for group in network.security_groups(call)}
    chosen = chosen_group_ids(call, request)
    for each in chosen:
        if each not in groups:
            raise AwsError("InvalidGroup.NotFound", f"The security group '{each}' does not exist")
        if groups[each].vpc_id != subnet.vpc_id:
            raise AwsError(
                "InvalidParameter",
                f"Security group {each} and subnet {subnet.subnet_id} belong to different networks.",
            )
    if chosen:
        return tuple(dict.fromkeys(chosen))
    return tuple(
        group.group_id for group in groups.values() if group.vpc_id == subnet.vpc_id and group.group_name == "default"
    )


def _count(call: Call, request: Request, kind: InstanceType, subnet: Subnet) -> int:
    """As many as fit on the machine, up to MaxCount. InsufficientInstanceCapacity: fewer than MinCount do."""
    machines: Machines = call.house.ports["machines"]
    vcpus, memory_mib = machines.capacity()
    for name in store.types_of_living(call.transaction):
        vcpus -= INSTANCE_TYPES[name].vcpus
        memory_mib -= INSTANCE_TYPES[name].memory_mib
    fitting = min(vcpus // kind.vcpus, memory_mib // kind.memory_mib, request["MaxCount"])
    if fitting < request["MinCount"]:
        raise AwsError(
            "InsufficientInstanceCapacity",
            f"We currently do not have sufficient {kind.name} capacity in the Availability Zone you requested "
            f"({subnet.zone}). Our system will be working on provisioning additional capacity.",
            status=500,
        )
    return int(fitting)


def _address(call: Call, request: Mapping[str, Any], subnet: Subnet, taken: set[str]) -> str:
    wanted = request.get("PrivateIpAddress")
    if wanted:
        if wanted in taken:
            raise AwsError("InvalidIPAddress.InUse", f"Address {wanted} is in use.")
        if not network.holds(subnet.cidr, wanted):
            raise AwsError("InvalidParameterValue", f"Address {wanted} does not fall within the subnet's address range")
        return str(wanted)
    address = network.free_address(subnet.cidr, taken, int(call.ids.hex(6), 16))
    if address is None:
        raise AwsError(
            "InsufficientFreeAddressesInSubnet",
            f"The specified subnet does not have enough free addresses to satisfy the request: {subnet.subnet_id}",
        )
    return address
