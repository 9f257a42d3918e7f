"""Instances: launched, shown, ended."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from longshore.aws.clock import from_milliseconds, milliseconds
from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.ec2 import launching, network, rules, store
from longshore.services.ec2.images import IMAGES
from longshore.services.ec2.instance_types import INSTANCE_TYPES
from longshore.services.ec2.lifecycle import TerminationAsked
from longshore.services.ec2.loops import INSTANCES_LOOP, apply, tell
from longshore.services.ec2.records import STATE_CODES, Instance, SecurityGroup
from longshore.services.ec2.selection import Values, page, select
from longshore.services.ec2.zones import zone


@operation
def run_instances(call: Call, request: Request) -> Response:
    """Instances in state `pending`; the loop launches their machines."""
    rules.check_dry_run(request)
    token = request.get("ClientToken")
    repeated = _launched_before(call, token, request) if token else None
    if repeated is not None:
        return _reservation(call, repeated)
    launch = launching.prepare(call, request)
    made = launching.make(call, launch)
    for instance in made:
        store.add(call.transaction, instance)
        store.put_tags(call.transaction, call.account, call.region, instance.instance_id, launch.tags)
        tell(call, instance, "pending")
    if token:
        store.add_token(
            call.transaction,
            call.account,
            call.region,
            token,
            digest=rules.digest(request),
            reservation_id=made[0].reservation_id,
            used_at_ms=milliseconds(call.now),
        )
    call.wake(INSTANCES_LOOP)
    return _reservation(call, made)


def _launched_before(call: Call, token: str, request: Request) -> list[Instance] | None:
    """What the token launched. IdempotentInstanceTerminated: that has all ended since."""
    known = store.find_token(call.transaction, call.account, call.region, token)
    if known is None:
        return None
    digest, reservation_id = known
    if digest != rules.digest(request):
        raise rules.idempotent_mismatch()
    instances = store.in_reservation(call.transaction, call.account, call.region, reservation_id)
    if not any(instance.is_living for instance in instances):
        raise AwsError(
            "IdempotentInstanceTerminated",
            "The request to launch an instance is idempotent and the instance has been terminated.",
        )
    return instances


@operation
def describe_instances(call: Call, request: Request) -> Response:
    rules.check_dry_run(request)
    if request.get("InstanceIds"):
        found = _asked_for(call, request)
        tags = _tags_of(call, found)
        places = {instance.instance_id: "" for instance in found}  # They come in one page.
    else:
        listed = _in_order(call)
        found = [instance for _, instance in listed]
        tags = store.list_tags(call.transaction, call.account, call.region)
        places = {instance.instance_id: f"{at:012d}" for at, instance in listed}
    found = select(found, request.get("Filters"), _FILTERS, lambda each: tags.get(each.instance_id, {}))
    shown, next_token = page(found, request, lambda instance: places[instance.instance_id])
    groups = {group.group_id: group for group in network.security_groups(call)}
    reservations: dict[str, list[Instance]] = {}
    for instance in shown:
        reservations.setdefault(instance.reservation_id, []).append(instance)
    return {
        "Reservations": [_shown_reservation(call, each, groups, tags) for each in reservations.values()],
        "NextToken": next_token,
    }


@operation
def describe_instance_status(call: Call, request: Request) -> Response:
    """Running instances only, unless IncludeAllInstances."""
    rules.check_dry_run(request)
    found = _asked_for(call, request)
    if not request.get("IncludeAllInstances"):
        found = [instance for instance in found if instance.state == "running"]
    found = select(found, request.get("Filters"), _STATUS_FILTERS)
    shown, next_token = page(sorted(found, key=_id), request, _id)
    return {"InstanceStatuses": [_status(instance) for instance in shown], "NextToken": next_token}


@operation
def terminate_instances(call: Call, request: Request) -> Response:
    """All of them or, when one is unknown or protected, none."""
    rules.check_dry_run(request)
    instances = _named(call, request["InstanceIds"])
    for instance in instances:
        if instance.disable_api_termination:
            raise AwsError(
                "OperationNotPermitted",
                f"The instance '{instance.instance_id}' may not be terminated. "
                "Modify its 'disableApiTermination' instance attribute and try again.",
            )
    changes = []
    for instance in instances:
        after = apply(call, instance, TerminationAsked())
        changes.append(
            {
                "InstanceId": instance.instance_id,
                "CurrentState": _state(after),
                "PreviousState": _state(instance),
            }
        )
    return {"TerminatingInstances": changes}


@operation
def get_console_output(call: Call, request: Request) -> Response:
    """What was posted last; it is posted after a boot and before an end, as at AWS."""
    rules.check_dry_run(request)
    instance = _named(call, [request["InstanceId"]])[0]
    posted = store.console(call.transaction, instance.instance_id)
    if posted is None:
        return {"InstanceId": instance.instance_id, "Timestamp": from_milliseconds(instance.launched_at_ms)}
    at_ms, output = posted
    return {
        "InstanceId": instance.instance_id,
        "Timestamp": from_milliseconds(at_ms),
        "Output": base64.b64encode(output).decode(),
    }


@operation
def describe_instance_attribute(call: Call, request: Request) -> Response:
    rules.check_dry_run(request)
    instance = _named(call, [request["InstanceId"]])[0]
    attribute = request["Attribute"]
    if attribute not in _ATTRIBUTES:
        raise AwsError("InvalidParameterValue", f"Value ({attribute}) for parameter attribute is invalid.")
    member, read = _ATTRIBUTES[attribute]
    return {"InstanceId": instance.instance_id, member: read(instance)}


@operation
def modify_instance_metadata_options(call: Call, request: Request) -> Response:
    rules.check_dry_run(request)
    instance = _named(call, [request["InstanceId"]])[0]
    options = launching.metadata_options(request, instance.metadata_options)
    changed = launching.replace(instance, metadata_options=options)
    store.save(call.transaction, changed)
    return {"InstanceId": instance.instance_id, "InstanceMetadataOptions": _options(changed)}


_ATTRIBUTES: dict[str, tuple[str, Any]] = {
    "userData": ("UserData", lambda instance: {"Value": instance.user_data} if instance.user_data else {}),
    "instanceType": ("InstanceType", lambda instance: {"Value": instance.instance_type}),
    "disableApiTermination": (
        "DisableApiTermination",
        lambda instance: {"Value": instance.disable_api_termination},
    ),
    "instanceInitiatedShutdownBehavior": (
        "InstanceInitiatedShutdownBehavior",
        lambda instance: {"Value": instance.shutdown_behavior},
    ),
    "ebsOptimized": ("EbsOptimized", lambda instance: {"Value": instance.ebs_optimized}),
    "rootDeviceName": ("RootDeviceName", lambda instance: {"Value": launching.ROOT_DEVICE}),
    "sourceDestCheck": ("SourceDestCheck", lambda instance: {"Value": True}),
    "enaSupport": ("EnaSupport", lambda instance: {"Value": True}),
    "groupSet": ("Groups", lambda instance: [{"GroupId": each} for each in instance.security_group_ids]),
    "blockDeviceMapping": ("BlockDeviceMappings", lambda instance: []),
    "productCodes": ("ProductCodes", lambda instance: []),
    "kernel": ("KernelId", lambda instance: {}),
    "ramdisk": ("RamdiskId", lambda instance: {}),
}


def _id(instance: Instance) -> str:
    return instance.instance_id


def _in_order(call: Call) -> list[tuple[int, Instance]]:
    return store.list_all(call.transaction, call.account, call.region)


def _asked_for(call: Call, request: Request) -> list[Instance]:
    """Those that InstanceIds names, or all, in the order of launching."""
    ids = request.get("InstanceIds")
    if not ids:
        return [instance for _, instance in _in_order(call)]
    if request.get("MaxResults"):
        raise AwsError(
            "InvalidParameterCombination",
            "The parameter instancesSet cannot be used with the parameter maxResults",
        )
    return _named(call, list(dict.fromkeys(ids)))


def _named(call: Call, ids: Sequence[str]) -> list[Instance]:
    """InvalidInstanceID.Malformed, InvalidInstanceID.NotFound."""
    rules.check_instance_ids(ids)
    found = [store.find_in(call.transaction, call.account, call.region, each) for each in ids]
    missing = [each for each, instance in zip(ids, found, strict=True) if instance is None]
    if missing:
        raise rules.not_found(missing)
    return [instance for instance in found if instance is not None]


def _reservation(call: Call, instances: Sequence[Instance]) -> Response:
    groups = {group.group_id: group for group in network.security_groups(call)}
    return _shown_reservation(call, instances, groups, _tags_of(call, instances))


def _tags_of(call: Call, instances: Sequence[Instance]) -> dict[str, dict[str, str]]:
    return {
        each.instance_id: store.tags_of(call.transaction, call.account, call.region, each.instance_id)
        for each in instances
    }


def _shown_reservation(
    call: Call,
    instances: Sequence[Instance],
    groups: Mapping[str, SecurityGroup],
    tags: Mapping[str, Mapping[str, str]],
) -> Response:
    return {
        "ReservationId": instances[0].reservation_id,
        "OwnerId": call.account,
        "Groups": [],
        "Instances": [_shown(instance, groups, tags.get(instance.instance_id, {})) for instance in instances],
    }


def _state(instance: Instance) -> Response:
    return {"Code": STATE_CODES[instance.state], "Name": instance.state}


def _options(instance: Instance) -> Response:
    options = instance.metadata_options
    return {
        "State": "applied" if instance.state != "pending" else "pending",
        "HttpTokens": options.http_tokens,
        "HttpPutResponseHopLimit": options.hop_limit,
        "HttpEndpoint": options.http_endpoint,
        "HttpProtocolIpv6": "disabled",
        "InstanceMetadataTags": options.instance_tags,
    }


def _shown(instance: Instance, groups: Mapping[str, SecurityGroup], tags: Mapping[str, str]) -> Response:
    """An instance as DescribeInstances shows it. A terminated one has no network any more."""
    kind = INSTANCE_TYPES[instance.instance_type]
    shown: Response = {
        "InstanceId": instance.instance_id,
        "ImageId": instance.image_id,
        "State": _state(instance),
        "PrivateDnsName": instance.private_dns_name if instance.is_living else "",
        "PublicDnsName": "",
        "StateTransitionReason": instance.transition_reason,
        "AmiLaunchIndex": instance.launch_index,
        "ProductCodes": [],
        "InstanceType": instance.instance_type,
        "LaunchTime": from_milliseconds(instance.launched_at_ms),
        "Placement": {
            "AvailabilityZone": instance.zone,
            "AvailabilityZoneId": _zone_id(instance.zone),
            "GroupName": "",
            "Tenancy": "default",
        },
        "Monitoring": {"State": "enabled" if instance.monitoring else "disabled"},
        "Architecture": kind.architecture,
        "BlockDeviceMappings": [],
        "ClientToken": instance.client_token or "",
        "EbsOptimized": instance.ebs_optimized,
        "EnaSupport": True,
        "Hypervisor": "xen",  # API reference, Instance, hypervisor: `xen` is shown for Nitro as well.
        "IamInstanceProfile": {"Arn": instance.profile.arn, "Id": instance.profile.profile_id}
        if instance.profile
        else None,
        "InstanceLifecycle": instance.lifecycle,
        "SpotInstanceRequestId": instance.spot_request_id,
        "NetworkInterfaces": [],
        "RootDeviceName": launching.ROOT_DEVICE,
        "RootDeviceType": "ebs",
        "SecurityGroups": [],
        "StateReason": {"Code": instance.reason_code, "Message": instance.reason_message}
        if instance.reason_code
        else None,
        "Tags": rules.tag_list(tags),
        "VirtualizationType": "hvm",
        "CpuOptions": {
            "CoreCount": max(1, kind.vcpus // kind.threads_per_core),
            "ThreadsPerCore": kind.threads_per_core,
        },
        "CapacityReservationSpecification": {"CapacityReservationPreference": "open"},
        "HibernationOptions": {"Configured": False},
        "MetadataOptions": _options(instance),
        "EnclaveOptions": {"Enabled": False},
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "UsageOperationUpdateTime": from_milliseconds(instance.launched_at_ms),
        "MaintenanceOptions": {"AutoRecovery": "default"},
        "CurrentInstanceBootMode": "legacy-bios" if kind.hypervisor == "xen" else "uefi",
    }
    if instance.is_living:
        group_set = [
            {"GroupId": each, "GroupName": groups[each].group_name if each in groups else ""}
            for each in instance.security_group_ids
        ]
        shown |= {
            "SubnetId": instance.subnet_id,
            "VpcId": instance.vpc_id,
            "PrivateIpAddress": instance.private_ip,
            "SourceDestCheck": True,
            "SecurityGroups": group_set,
            "NetworkInterfaces": [_interface(instance, group_set)],
            "PrivateDnsNameOptions": {
                "HostnameType": "ip-name",
                "EnableResourceNameDnsARecord": False,
                "EnableResourceNameDnsAAAARecord": False,
            },
        }
    return shown


def _interface(instance: Instance, group_set: list[Response]) -> Response:
    address = {
        "Primary": True,
        "PrivateDnsName": instance.private_dns_name,
        "PrivateIpAddress": instance.private_ip,
    }
    return {
        "Attachment": {
            "AttachTime": from_milliseconds(instance.launched_at_ms),
            "AttachmentId": instance.attachment_id,
            "DeleteOnTermination": True,
            "DeviceIndex": 0,
            "Status": "attached" if instance.state != "pending" else "attaching",
            "NetworkCardIndex": 0,
        },
        "Description": "",
        "Groups": group_set,
        "Ipv6Addresses": [],
        "MacAddress": instance.mac,
        "NetworkInterfaceId": instance.network_interface_id,
        "OwnerId": instance.account,
        "PrivateDnsName": instance.private_dns_name,
        "PrivateIpAddress": instance.private_ip,
        "PrivateIpAddresses": [address],
        "SourceDestCheck": True,
        "Status": "in-use",
        "SubnetId": instance.subnet_id,
        "VpcId": instance.vpc_id,
        "InterfaceType": "interface",
    }


def _status(instance: Instance) -> Response:
    checked = "ok" if instance.state == "running" else "not-applicable"
    summary: Response = {"Status": checked}
    if instance.state == "running":
        summary["Details"] = [{"Name": "reachability", "Status": "passed"}]
    return {
        "AvailabilityZone": instance.zone,
        "AvailabilityZoneId": _zone_id(instance.zone),
        "InstanceId": instance.instance_id,
        "InstanceState": _state(instance),
        "InstanceStatus": summary,
        "SystemStatus": summary,
        "Events": [],
    }


def _zone_id(name: str) -> str | None:
    found = zone(name)
    return found.zone_id if found else None


def _profile_arn(instance: Instance) -> list[str]:
    return [instance.profile.arn] if instance.profile else []


def _profile_id(instance: Instance) -> list[str]:
    return [instance.profile.profile_id] if instance.profile else []


# API reference, DescribeInstances, Filters: those that can tell our instances apart.
_FILTERS: Values[Instance] = {
    "instance-id": lambda each: [each.instance_id],
    "instance-state-name": lambda each: [each.state],
    "instance-state-code": lambda each: [str(STATE_CODES[each.state])],
    "instance-type": lambda each: [each.instance_type],
    "instance-lifecycle": lambda each: [each.lifecycle] if each.lifecycle else [],
    "image-id": lambda each: [each.image_id],
    "architecture": lambda each: [IMAGES[each.image_id].architecture],
    "availability-zone": lambda each: [each.zone],
    "availability-zone-id": lambda each: [_zone_id(each.zone) or ""],
    "client-token": lambda each: [each.client_token or ""],
    "reservation-id": lambda each: [each.reservation_id],
    "owner-id": lambda each: [each.account],
    "iam-instance-profile.arn": _profile_arn,
    "iam-instance-profile.id": _profile_id,
    "iam-instance-profile.name": lambda each: [each.profile.name] if each.profile else [],
    "private-ip-address": lambda each: [each.private_ip] if each.is_living else [],
    "private-dns-name": lambda each: [each.private_dns_name] if each.is_living else [],
    "network-interface.network-interface-id": lambda each: [each.network_interface_id] if each.is_living else [],
    "subnet-id": lambda each: [each.subnet_id] if each.is_living else [],
    "vpc-id": lambda each: [each.vpc_id] if each.is_living else [],
    "instance.group-id": lambda each: list(each.security_group_ids) if each.is_living else [],
    "group-id": lambda each: list(each.security_group_ids) if each.is_living else [],
    "launch-index": lambda each: [str(each.launch_index)],
    "launch-time": lambda each: [f"{from_milliseconds(each.launched_at_ms):%Y-%m-%dT%H:%M:%S.000Z}"],
    "spot-instance-request-id": lambda each: [each.spot_request_id] if each.spot_request_id else [],
    "state-reason-code": lambda each: [each.reason_code] if each.reason_code else [],
    "state-reason-message": lambda each: [each.reason_message] if each.reason_message else [],
    "reason": lambda each: [each.transition_reason],
    "metadata-options.http-tokens": lambda each: [each.metadata_options.http_tokens],
    "metadata-options.http-endpoint": lambda each: [each.metadata_options.http_endpoint],
    "root-device-type": lambda each: ["ebs"],
    "virtualization-type": lambda each: ["hvm"],
    "tenancy": lambda each: ["default"],
}
_STATUS_FILTERS: Values[Instance] = {
    "availability-zone": lambda each: [each.zone],
    "instance-state-name": lambda each: [each.state],
    "instance-state-code": lambda each: [str(STATE_CODES[each.state])],
    "instance-status.status": lambda each: ["ok" if each.state == "running" else "not-applicable"],
    "instance-status.reachability": lambda each: ["passed"] if each.state == "running" else [],
    "system-status.status": lambda each: ["ok" if each.state == "running" else "not-applicable"],
    "system-status.reachability": lambda each: ["passed"] if each.state == "running" else [],
}
