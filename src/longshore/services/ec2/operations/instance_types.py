"""Instance types and where they are offered."""

from __future__ import annotations

from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.ec2 import rules
from longshore.services.ec2.instance_types import INSTANCE_TYPES, InstanceType
from longshore.services.ec2.selection import Values, page, select
from longshore.services.ec2.zones import zones

_PAGE = 100  # API reference, DescribeInstanceTypes, MaxResults: 5 to 100


@operation
def describe_instance_types(call: Call, request: Request) -> Response:
    rules.check_dry_run(request)
    names = request.get("InstanceTypes") or []
    if names and request.get("MaxResults"):
        raise AwsError(
            "InvalidParameterCombination",
            "The parameter InstanceTypes cannot be used with the parameter MaxResults",
        )
    unknown = [name for name in names if name not in INSTANCE_TYPES]
    if unknown:
        raise AwsError(
            "InvalidInstanceType", f"The following supplied instance types do not exist: [{', '.join(unknown)}]"
        )
    kinds = [INSTANCE_TYPES[name] for name in names] if names else list(INSTANCE_TYPES.values())
    kinds = sorted(select(kinds, request.get("Filters"), _FILTERS), key=_name)
    shown, next_token = page(kinds, request, _name, default=_PAGE)
    return {"InstanceTypes": [_shown(kind) for kind in shown], "NextToken": next_token}


@operation
def describe_instance_type_offerings(call: Call, request: Request) -> Response:
    """Every type is offered everywhere: what fits is the machine's matter, and said at the launch."""
    rules.check_dry_run(request)
    location_type = request.get("LocationType") or "region"
    if location_type == "region":
        locations = [call.region]
    else:
        locations = [zone.zone_id if location_type.endswith("-id") else zone.name for zone in zones(call.region)]
    offers = [(name, location) for name in sorted(INSTANCE_TYPES) for location in locations]
    offers = select(
        offers, request.get("Filters"), {"instance-type": lambda each: [each[0]], "location": lambda each: [each[1]]}
    )
    shown, next_token = page(offers, request, "/".join)
    return {
        "InstanceTypeOfferings": [
            {"InstanceType": name, "LocationType": location_type, "Location": location} for name, location in shown
        ],
        "NextToken": next_token,
    }


def _name(kind: InstanceType) -> str:
    return kind.name


def _shown(kind: InstanceType) -> Response:
    nitro = kind.hypervisor == "nitro"
    return {
        "InstanceType": kind.name,
        "CurrentGeneration": kind.current,
        "FreeTierEligible": kind.name == "t3.micro",
        "SupportedUsageClasses": ["on-demand", "spot"],
        "SupportedRootDeviceTypes": ["ebs"],
        "SupportedVirtualizationTypes": ["hvm"],
        "BareMetal": False,
        "Hypervisor": kind.hypervisor,
        "ProcessorInfo": {
            "SupportedArchitectures": [kind.architecture],
            "SustainedClockSpeedInGhz": kind.clock_ghz,
            "Manufacturer": _manufacturer(kind),
        },
        "VCpuInfo": {
            "DefaultVCpus": kind.vcpus,
            "DefaultCores": max(1, kind.vcpus // kind.threads_per_core),
            "DefaultThreadsPerCore": kind.threads_per_core,
        },
        "MemoryInfo": {"SizeInMiB": kind.memory_mib},
        "InstanceStorageSupported": False,
        "EbsInfo": {
            "EbsOptimizedSupport": "default",
            "EncryptionSupport": "supported",
            "NvmeSupport": "required" if nitro else "unsupported",
        },
        "NetworkInfo": {
            "MaximumNetworkInterfaces": kind.interfaces,
            "MaximumNetworkCards": 1,
            "DefaultNetworkCardIndex": 0,
            "Ipv4AddressesPerInterface": 1,
            "Ipv6AddressesPerInterface": 0,
            "Ipv6Supported": False,
            "EnaSupport": "required" if nitro else "unsupported",
            "EfaSupported": False,
        },
        "PlacementGroupInfo": {"SupportedStrategies": ["partition", "spread"]},
        "HibernationSupported": False,
        "BurstablePerformanceSupported": kind.burstable,
        "DedicatedHostsSupported": False,
        "AutoRecoverySupported": False,
        "SupportedBootModes": ["legacy-bios", "uefi"]
        if nitro and kind.architecture == "x86_64"
        else ["uefi"]
        if nitro
        else ["legacy-bios"],
    }


def _manufacturer(kind: InstanceType) -> str:
    if kind.architecture == "arm64":
        return "AWS"
    return "AMD" if kind.family.endswith("a") else "Intel"


def _flag(value: bool) -> list[str]:
    return ["true" if value else "false"]


# API reference, DescribeInstanceTypes, Filters.
_FILTERS: Values[InstanceType] = {
    "instance-type": lambda kind: [kind.name],
    "current-generation": lambda kind: _flag(kind.current),
    "free-tier-eligible": lambda kind: _flag(kind.name == "t3.micro"),
    "bare-metal": lambda kind: ["false"],
    "burstable-performance-supported": lambda kind: _flag(kind.burstable),
    "hypervisor": lambda kind: [kind.hypervisor],
    "instance-storage-supported": lambda kind: ["false"],
    "memory-info.size-in-mib": lambda kind: [str(kind.memory_mib)],
    "processor-info.supported-architecture": lambda kind: [kind.architecture],
    "processor-info.sustained-clock-speed-in-ghz": lambda kind: [str(kind.clock_ghz)],
    "supported-root-device-type": lambda kind: ["ebs"],
    "supported-usage-class": lambda kind: ["on-demand", "spot"],
    "supported-virtualization-type": lambda kind: ["hvm"],
    "vcpu-info.default-vcpus": lambda kind: [str(kind.vcpus)],
    "vcpu-info.default-cores": lambda kind: [str(max(1, kind.vcpus // kind.threads_per_core))],
    "vcpu-info.default-threads-per-core": lambda kind: [str(kind.threads_per_core)],
}
