"""VPCs, subnets, security groups and network interfaces: recorded, shown, and checked by launches. Nothing is enforced."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from longshore.aws.clock import from_milliseconds
from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.ec2 import network, rules, store
from longshore.services.ec2.records import Instance, SecurityGroup, Subnet, Vpc
from longshore.services.ec2.selection import Values, page, select
from longshore.services.ec2.zones import zone, zones

R = TypeVar("R", Vpc, Subnet, SecurityGroup)


# VPCs


@operation
def create_vpc(call: Call, request: Request) -> Response:
    rules.check_dry_run(request)
    cidr = _range(rules.required(request, "CidrBlock"), "InvalidVpc.Range")
    tags = _tags(request, "vpc")
    network.ensure_default(call)
    vpc = Vpc(
        vpc_id=f"vpc-{call.ids.hex(17)}",
        cidr=cidr,
        association_id=f"vpc-cidr-assoc-{call.ids.hex(17)}",
        instance_tenancy=request.get("InstanceTenancy") or "default",
    )
    group = SecurityGroup(
        group_id=f"sg-{call.ids.hex(17)}",
        group_name="default",
        description="default VPC security group",
        vpc_id=vpc.vpc_id,
    )
    store.add_resource(call.transaction, call.account, call.region, vpc.vpc_id, vpc)
    store.add_resource(call.transaction, call.account, call.region, group.group_id, group)
    store.put_tags(call.transaction, call.account, call.region, vpc.vpc_id, tags)
    return {"Vpc": {**_vpc(call, vpc, tags), "State": "pending"}}


@operation
def describe_vpcs(call: Call, request: Request) -> Response:
    rules.check_dry_run(request)
    tags = store.list_tags(call.transaction, call.account, call.region)
    found = _named(network.vpcs(call), request.get("VpcIds"), lambda vpc: vpc.vpc_id, _no_vpc)
    found = select(found, request.get("Filters"), _VPC_FILTERS, lambda vpc: tags.get(vpc.vpc_id, {}))
    shown, next_token = page(sorted(found, key=lambda vpc: vpc.vpc_id), request, lambda vpc: vpc.vpc_id)
    return {"Vpcs": [_vpc(call, vpc, tags.get(vpc.vpc_id, {})) for vpc in shown], "NextToken": next_token}


@operation
def delete_vpc(call: Call, request: Request) -> Response:
    """DependencyViolation: it still has subnets, or security groups besides its default one."""
    rules.check_dry_run(request)
    network.ensure_default(call)
    vpc = _one_vpc(call, request["VpcId"])
    groups = [group for group in network.security_groups(call) if group.vpc_id == vpc.vpc_id]
    subnets = [subnet for subnet in network.subnets(call) if subnet.vpc_id == vpc.vpc_id]
    if subnets or any(group.group_name != "default" for group in groups):
        raise AwsError("DependencyViolation", f"The vpc '{vpc.vpc_id}' has dependencies and cannot be deleted.")
    for group in groups:
        store.drop_resource(call.transaction, call.account, call.region, SecurityGroup, group.group_id)
    store.drop_resource(call.transaction, call.account, call.region, Vpc, vpc.vpc_id)
    return {}


# Subnets


@operation
def create_subnet(call: Call, request: Request) -> Response:
    rules.check_dry_run(request)
    network.ensure_default(call)
    vpc = _one_vpc(call, request["VpcId"])
    cidr = _range(rules.required(request, "CidrBlock"), "InvalidSubnet.Range")
    within = ipaddress.ip_network(cidr)
    if not within.subnet_of(ipaddress.ip_network(vpc.cidr)):  # type: ignore[arg-type]
        raise AwsError("InvalidSubnet.Range", f"The CIDR '{cidr}' is invalid.")
    for other in network.subnets(call):
        if other.vpc_id == vpc.vpc_id and within.overlaps(ipaddress.ip_network(other.cidr)):
            raise AwsError("InvalidSubnet.Conflict", f"The CIDR '{cidr}' conflicts with another subnet")
    tags = _tags(request, "subnet")
    subnet = Subnet(subnet_id=f"subnet-{call.ids.hex(17)}", vpc_id=vpc.vpc_id, cidr=cidr, zone=_zone(call, request))
    store.add_resource(call.transaction, call.account, call.region, subnet.subnet_id, subnet)
    store.put_tags(call.transaction, call.account, call.region, subnet.subnet_id, tags)
    return {"Subnet": _subnet(call, subnet, tags, set())}


@operation
def describe_subnets(call: Call, request: Request) -> Response:
    rules.check_dry_run(request)
    tags = store.list_tags(call.transaction, call.account, call.region)
    taken = store.private_ips(call.transaction)
    found = _named(network.subnets(call), request.get("SubnetIds"), lambda subnet: subnet.subnet_id, _no_subnet)
    found = select(found, request.get("Filters"), _SUBNET_FILTERS, lambda each: tags.get(each.subnet_id, {}))
    shown, next_token = page(sorted(found, key=lambda each: each.subnet_id), request, lambda each: each.subnet_id)
    return {
        "Subnets": [_subnet(call, each, tags.get(each.subnet_id, {}), taken) for each in shown],
        "NextToken": next_token,
    }


@operation
def delete_subnet(call: Call, request: Request) -> Response:
    """DependencyViolation: instances live in it."""
    rules.check_dry_run(request)
    network.ensure_default(call)
    subnet_id = request["SubnetId"]
    subnet = _named(network.subnets(call), [subnet_id], lambda each: each.subnet_id, _no_subnet)[0]
    if any(instance.subnet_id == subnet.subnet_id for instance in _living(call)):
        raise AwsError("DependencyViolation", f"The subnet '{subnet_id}' has dependencies and cannot be deleted.")
    store.drop_resource(call.transaction, call.account, call.region, Subnet, subnet_id)
    return {}


# Security groups


@operation
def create_security_group(call: Call, request: Request) -> Response:
    rules.check_dry_run(request)
    default = network.ensure_default(call)
    vpc = _one_vpc(call, request.get("VpcId") or default.vpc.vpc_id)
    name = request["GroupName"]
    if name == "default":
        raise AwsError("InvalidParameterValue", "Cannot use reserved security group name: default")
    if name.startswith("sg-"):
        raise AwsError("InvalidParameterValue", f"invalid value for parameter groupName: {name}. Group names may not be in the format sg-*.")  # fmt: skip
    if any(group.vpc_id == vpc.vpc_id and group.group_name == name for group in network.security_groups(call)):
        raise AwsError("InvalidGroup.Duplicate", f"The security group '{name}' already exists for VPC '{vpc.vpc_id}'")
    tags = _tags(request, "security-group")
    group = SecurityGroup(
        group_id=f"sg-{call.ids.hex(17)}",
        group_name=name,
        description=request["Description"],
        vpc_id=vpc.vpc_id,
    )
    store.add_resource(call.transaction, call.account, call.region, group.group_id, group)
    store.put_tags(call.transaction, call.account, call.region, group.group_id, tags)
    return {
        "GroupId": group.group_id,
        "SecurityGroupArn": call.arn(f"security-group/{group.group_id}"),
        "Tags": rules.tag_list(tags),
    }


@operation
def describe_security_groups(call: Call, request: Request) -> Response:
    rules.check_dry_run(request)
    tags = store.list_tags(call.transaction, call.account, call.region)
    groups = _named(network.security_groups(call), request.get("GroupIds"), lambda each: each.group_id, _no_group)
    names = request.get("GroupNames")
    if names:
        groups = _named(groups, names, lambda each: each.group_name, _no_group)
    groups = select(groups, request.get("Filters"), _GROUP_FILTERS, lambda each: tags.get(each.group_id, {}))
    shown, next_token = page(sorted(groups, key=lambda each: each.group_id), request, lambda each: each.group_id)
    return {
        "SecurityGroups": [_group(call, each, tags.get(each.group_id, {})) for each in shown],
        "NextToken": next_token,
    }


@operation
def delete_security_group(call: Call, request: Request) -> Response:
    """CannotDelete: the default group of a VPC. DependencyViolation: instances are in it."""
    rules.check_dry_run(request)
    network.ensure_default(call)
    groups = network.security_groups(call)
    if request.get("GroupId"):
        group = _named(groups, [request["GroupId"]], lambda each: each.group_id, _no_group)[0]
    else:
        name = request.get("GroupName")
        if not name:
            raise AwsError("MissingParameter", "The request must contain the parameter groupName or groupId")
        group = _named(groups, [name], lambda each: each.group_name, _no_group)[0]
    if group.group_name == "default":
        raise AwsError(
            "CannotDelete", f'the specified group: "{group.group_id}" name: "default" cannot be deleted by a user'
        )
    if any(group.group_id in instance.security_group_ids for instance in _living(call)):
        raise AwsError("DependencyViolation", f"resource {group.group_id} has a dependent object")
    store.drop_resource(call.transaction, call.account, call.region, SecurityGroup, group.group_id)
    return {"Return": True, "GroupId": group.group_id}


# Network interfaces: those of the living instances.


@operation
def describe_network_interfaces(call: Call, request: Request) -> Response:
    rules.check_dry_run(request)
    living = _living(call)
    ids = request.get("NetworkInterfaceIds")
    if ids:
        known = {instance.network_interface_id for instance in living}
        for each in ids:
            if each not in known:
                raise AwsError("InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{each}' does not exist")
        living = [instance for instance in living if instance.network_interface_id in ids]
    living = select(living, request.get("Filters"), _INTERFACE_FILTERS)
    shown, next_token = page(
        sorted(living, key=lambda each: each.network_interface_id), request, lambda each: each.network_interface_id
    )
    names = {group.group_id: group.group_name for group in network.security_groups(call)}
    return {"NetworkInterfaces": [_interface(each, names) for each in shown], "NextToken": next_token}


def _living(call: Call) -> list[Instance]:
    found = store.list_all(call.transaction, call.account, call.region)
    return [instance for _, instance in found if instance.is_living]


def _named(items: Sequence[Any], names: Sequence[str] | None, key: Any, missing: Any) -> list[Any]:
    """The items of those names, or all of them when none is given; `missing(name)` makes the error."""
    if not names:
        return list(items)
    known = {key(item) for item in items}
    for name in names:
        if name not in known:
            raise missing(name)
    return [item for item in items if key(item) in names]


def _no_vpc(vpc_id: str) -> AwsError:
    return AwsError("InvalidVpcID.NotFound", f"The vpc ID '{vpc_id}' does not exist")


def _no_subnet(subnet_id: str) -> AwsError:
    return AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist")


def _no_group(group: str) -> AwsError:
    return AwsError("InvalidGroup.NotFound", f"The security group '{group}' does not exist")


def _one_vpc(call: Call, vpc_id: str) -> Vpc:
    vpc: Vpc = _named(network.vpcs(call), [vpc_id], lambda each: each.vpc_id, _no_vpc)[0]
    return vpc


def _range(cidr: str, code: str) -> str:
    """A range of /16 to /28, its host bits cleared as EC2 clears them."""
    try:
        found = ipaddress.IPv4Network(cidr, strict=False)
    except ValueError:
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({cidr}) for parameter cidrBlock is invalid. This is not a valid CIDR block.",
        ) from None
    if not 16 <= found.prefixlen <= 28:
        raise AwsError(code, f"The CIDR '{cidr}' is invalid.")
    return str(found)


def _zone(call: Call, request: Request) -> str:
    there = zones(call.region)
    wanted, wanted_id = request.get("AvailabilityZone"), request.get("AvailabilityZoneId")
    for each in there:
        if each.name == wanted or each.zone_id == wanted_id:
            return each.name
    if wanted or wanted_id:
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({wanted or wanted_id}) for parameter availabilityZone is invalid. "
            f"Subnets can currently only be created in the following availability zones: "
            f"{', '.join(each.name for each in there)}.",
        )
    return there[0].name


def _tags(request: Request, resource_type: str) -> dict[str, str]:
    rules.check_tag_specifications(request, [resource_type])
    return rules.specified_tags(request, resource_type)


def _vpc(call: Call, vpc: Vpc, tags: Mapping[str, str]) -> Response:
    return {
        "VpcId": vpc.vpc_id,
        "OwnerId": call.account,
        "State": "available",
        "CidrBlock": vpc.cidr,
        "DhcpOptionsId": "default",
        "InstanceTenancy": vpc.instance_tenancy,
        "IsDefault": vpc.is_default,
        "Ipv6CidrBlockAssociationSet": [],
        "CidrBlockAssociationSet": [
            {
                "AssociationId": vpc.association_id,
                "CidrBlock": vpc.cidr,
                "CidrBlockState": {"State": "associated"},
            }
        ],
        "Tags": rules.tag_list(tags),
    }


def _subnet(call: Call, subnet: Subnet, tags: Mapping[str, str], taken: set[str]) -> Response:
    found = zone(subnet.zone)
    return {
        "SubnetId": subnet.subnet_id,
        "SubnetArn": call.arn(f"subnet/{subnet.subnet_id}"),
        "OwnerId": call.account,
        "State": "available",
        "VpcId": subnet.vpc_id,
        "CidrBlock": subnet.cidr,
        "AvailableIpAddressCount": network.free_addresses(subnet.cidr, taken),
        "AvailabilityZone": subnet.zone,
        "AvailabilityZoneId": found.zone_id if found else None,
        "DefaultForAz": subnet.is_default,
        "MapPublicIpOnLaunch": False,
        "MapCustomerOwnedIpOnLaunch": False,
        "AssignIpv6AddressOnCreation": False,
        "Ipv6CidrBlockAssociationSet": [],
        "EnableDns64": False,
        "Ipv6Native": False,
        "PrivateDnsNameOptionsOnLaunch": {
            "HostnameType": "ip-name",
            "EnableResourceNameDnsARecord": False,
            "EnableResourceNameDnsAAAARecord": False,
        },
        "Tags": rules.tag_list(tags),
    }


def _group(call: Call, group: SecurityGroup, tags: Mapping[str, str]) -> Response:
    everywhere = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}], "Ipv6Ranges": [], "PrefixListIds": []}
    from_itself = {
        "IpProtocol": "-1",
        "IpRanges": [],
        "UserIdGroupPairs": [{"UserId": call.account, "GroupId": group.group_id}],
    }
    return {
        "GroupId": group.group_id,
        "SecurityGroupArn": call.arn(f"security-group/{group.group_id}"),
        "GroupName": group.group_name,
        "Description": group.description,
        "OwnerId": call.account,
        "VpcId": group.vpc_id,
        "IpPermissions": [from_itself] if group.group_name == "default" else [],
        "IpPermissionsEgress": [{**everywhere, "UserIdGroupPairs": []}],
        "Tags": rules.tag_list(tags),
    }


def _interface(instance: Instance, group_names: Mapping[str, str]) -> Response:
    found = zone(instance.zone)
    return {
        "NetworkInterfaceId": instance.network_interface_id,
        "OwnerId": instance.account,
        "Status": "in-use",
        "Description": "",
        "InterfaceType": "interface",
        "AvailabilityZone": instance.zone,
        "AvailabilityZoneId": found.zone_id if found else None,
        "SubnetId": instance.subnet_id,
        "VpcId": instance.vpc_id,
        "MacAddress": instance.mac,
        "PrivateIpAddress": instance.private_ip,
        "PrivateDnsName": instance.private_dns_name,
        "PrivateIpAddresses": [
            {
                "Primary": True,
                "PrivateIpAddress": instance.private_ip,
                "PrivateDnsName": instance.private_dns_name,
            }
        ],
        "Groups": [{"GroupId": each, "GroupName": group_names.get(each, "")} for each in instance.security_group_ids],
        "Attachment": {
            "AttachmentId": instance.attachment_id,
            "AttachTime": from_milliseconds(instance.launched_at_ms),
            "DeleteOnTermination": True,
            "DeviceIndex": 0,
            "InstanceId": instance.instance_id,
            "InstanceOwnerId": instance.account,
            "Status": "attached",
        },
        "Ipv6Addresses": [],
        "RequesterManaged": False,
        "SourceDestCheck": True,
        "TagSet": [],
    }


def _flag(value: bool) -> list[str]:
    return ["true" if value else "false"]


def _zone_id(name: str) -> list[str]:
    found = zone(name)
    return [found.zone_id] if found else []


# API reference, DescribeVpcs, DescribeSubnets, DescribeSecurityGroups and DescribeNetworkInterfaces, Filters.
_VPC_FILTERS: Values[Vpc] = {
    "vpc-id": lambda vpc: [vpc.vpc_id],
    "cidr": lambda vpc: [vpc.cidr],
    "cidr-block-association.cidr-block": lambda vpc: [vpc.cidr],
    "is-default": lambda vpc: _flag(vpc.is_default),
    "isDefault": lambda vpc: _flag(vpc.is_default),
    "state": lambda vpc: ["available"],
}
_SUBNET_FILTERS: Values[Subnet] = {
    "subnet-id": lambda subnet: [subnet.subnet_id],
    "vpc-id": lambda subnet: [subnet.vpc_id],
    "availability-zone": lambda subnet: [subnet.zone],
    "availabilityZone": lambda subnet: [subnet.zone],
    "availability-zone-id": lambda subnet: _zone_id(subnet.zone),
    "cidr-block": lambda subnet: [subnet.cidr],
    "cidr": lambda subnet: [subnet.cidr],
    "default-for-az": lambda subnet: _flag(subnet.is_default),
    "defaultForAz": lambda subnet: _flag(subnet.is_default),
    "map-public-ip-on-launch": lambda subnet: ["false"],
    "state": lambda subnet: ["available"],
}
_GROUP_FILTERS: Values[SecurityGroup] = {
    "group-id": lambda group: [group.group_id],
    "group-name": lambda group: [group.group_name],
    "description": lambda group: [group.description],
    "vpc-id": lambda group: [group.vpc_id],
}
_INTERFACE_FILTERS: Values[Instance] = {
    "network-interface-id": lambda each: [each.network_interface_id],
    "attachment.instance-id": lambda each: [each.instance_id],
    "attachment.attachment-id": lambda each: [each.attachment_id],
    "availability-zone": lambda each: [each.zone],
    "group-id": lambda each: list(each.security_group_ids),
    "mac-address": lambda each: [each.mac],
    "private-ip-address": lambda each: [each.private_ip],
    "addresses.private-ip-address": lambda each: [each.private_ip],
    "private-dns-name": lambda each: [each.private_dns_name],
    "status": lambda each: ["in-use"],
    "subnet-id": lambda each: [each.subnet_id],
    "vpc-id": lambda each: [each.vpc_id],
}
