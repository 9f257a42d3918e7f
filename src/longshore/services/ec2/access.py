"""What the operations of EC2 ask.

Source: service authorization reference, Amazon EC2. An operation that acts on several kinds of resource asks about each of
them, with the condition keys of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from longshore.kit.access import Access, Question, pass_role, tag_context
from longshore.kit.call import Call
from longshore.kit.operation import Request
from longshore.services.ec2 import launching, network, profiles, rules, store
from longshore.services.ec2.instance_types import INSTANCE_TYPES
from longshore.services.ec2.operations.tags import kind
from longshore.services.ec2.records import Instance

Context = dict[str, str | list[str]]
_EC2 = "ec2.amazonaws.com"
_FALLBACK = "unknown"


def _none(call: Call, request: Request) -> Iterable[str]:
    return ()


def resource_tags(call: Call, resource_id: str) -> Context:
    """aws:ResourceTag/k and ec2:ResourceTag/k of a resource that is there."""
    tags = store.tags_of(call.transaction, call.account, call.region, resource_id)
    context: Context = {}
    for key, value in tags.items():
        context[f"aws:ResourceTag/{key}"] = value
        context[f"ec2:ResourceTag/{key}"] = value
    return context


def _instance_context(call: Call, instance_id: str) -> Context:
    context = {"ec2:Region": call.region, **resource_tags(call, instance_id)}
    instance = store.find_in(call.transaction, call.account, call.region, instance_id)
    if instance is not None:
        context |= _shape_of(instance)
    return context


def _shape_of(instance: Instance) -> Context:
    context: Context = {
        "ec2:InstanceType": instance.instance_type,
        "ec2:AvailabilityZone": instance.zone,
        "ec2:MetadataHttpTokens": instance.metadata_options.http_tokens,
    }
    if instance.profile is not None:
        context["ec2:InstanceProfile"] = instance.profile.arn
    return context


def _specified(request: Request, resource_type: str) -> Context:
    return tag_context(rules.specified_tags(request, resource_type))


def _tagging(call: Call, request: Request, operation: str) -> Iterable[Question]:
    """ec2:CreateTags for what a request tags at its birth, told apart by ec2:CreateAction."""
    for each in request.get("TagSpecifications") or ():
        tags, kind_of_resource = rules.tag_map(each.get("Tags")), each.get("ResourceType")
        if tags and kind_of_resource:
            context = {**tag_context(tags), "ec2:CreateAction": operation, "ec2:Region": call.region}
            yield Question("ec2:CreateTags", call.arn(f"{kind_of_resource}/*"), context)


def _run(call: Call, request: Request) -> Iterable[Question]:
    """RunInstances: about the image, the instances, their interfaces, volumes, subnet and groups; then the role passed."""
    action = "ec2:RunInstances"
    there: Context = {"ec2:Region": call.region}
    subnet = launching.chosen_subnet(call, request)
    name = request.get("InstanceType") or ""
    options = request.get("MetadataOptions") or {}
    instance: Context = {**there, "ec2:InstanceType": name, "ec2:Tenancy": "default", "ec2:RootDeviceType": "ebs"}
    instance["ec2:InstanceMarketType"] = (request.get("InstanceMarketOptions") or {}).get("MarketType") or "on-demand"
    if name in INSTANCE_TYPES:
        instance["ec2:EbsOptimized"] = "true" if request.get("EbsOptimized") else "false"
    if options.get("HttpTokens"):
        instance["ec2:MetadataHttpTokens"] = options["HttpTokens"]
    if subnet is not None:
        instance["ec2:AvailabilityZone"] = subnet.zone
    given = request.get("IamInstanceProfile")
    profile = profiles.given(call, given) if given else None
    if profile is not None:
        instance["ec2:InstanceProfile"] = profile.arn
    yield Question(action, call.arn("instance/*"), {**instance, **_specified(request, "instance")})
    image_id = request.get("ImageId") or _FALLBACK
    image: Context = {**there, "ec2:ImageID": image_id, "ec2:Owner": "amazon", "ec2:Public": "true"}
    image |= {"ec2:ImageType": "machine", "ec2:RootDeviceType": "ebs"}
    yield Question(action, f"arn:aws:ec2:{call.region}::image/{image_id}", image)
    vpc: Context = {"ec2:Vpc": call.arn(f"vpc/{subnet.vpc_id}")} if subnet is not None else {}
    zone: Context = {"ec2:AvailabilityZone": subnet.zone} if subnet is not None else {}
    interface: Context = {**there, **vpc, **zone, **_specified(request, "network-interface")}
    if subnet is not None:
        interface["ec2:Subnet"] = call.arn(f"subnet/{subnet.subnet_id}")
    yield Question(action, call.arn("network-interface/*"), interface)
    yield Question(action, call.arn("volume/*"), {**there, **zone, **_specified(request, "volume")})
    if subnet is not None:
        context = {**there, **vpc, **zone, "ec2:SubnetID": subnet.subnet_id, **resource_tags(call, subnet.subnet_id)}
        yield Question(action, call.arn(f"subnet/{subnet.subnet_id}"), context)
    for group_id in launching.chosen_group_ids(call, request) or _default_groups(call):
        group: Context = {**there, **vpc, "ec2:SecurityGroupID": group_id, **resource_tags(call, group_id)}
        yield Question(action, call.arn(f"security-group/{group_id}"), group)
    if request.get("KeyName"):
        yield Question(action, call.arn(f"key-pair/{request['KeyName']}"), there)
    yield from _tagging(call, request, "RunInstances")
    if profile is not None and profile.role_arn is not None:
        # iam.md, PassRole: it is the role inside the profile that is passed.
        yield pass_role(profile.role_arn, _EC2)


def _default_groups(call: Call) -> list[str]:
    return [group.group_id for group in network.security_groups(call) if group.group_name == "default"][:1]


def _on_instances(operation: str) -> Access:
    def ask(call: Call, request: Request) -> Iterable[Question]:
        for instance_id in request.get("InstanceIds") or [request["InstanceId"]]:
            context = _instance_context(call, instance_id)
            yield Question(f"ec2:{operation}", call.arn(f"instance/{instance_id}"), context)

    return Access(resources=_none, further=ask)


def _change_tags(operation: str) -> Access:
    def ask(call: Call, request: Request) -> Iterable[Question]:
        given = tag_context({tag.get("Key") or "": tag.get("Value") or "" for tag in request.get("Tags") or ()})
        for resource_id in request["Resources"]:
            context = {"ec2:Region": call.region, **given, **resource_tags(call, resource_id)}
            yield Question(f"ec2:{operation}", call.arn(f"{kind(resource_id)}/{resource_id}"), context)

    return Access(resources=_none, further=ask)


def _create(operation: str, resource_type: str, *, in_vpc: bool = False) -> Access:
    def ask(call: Call, request: Request) -> Iterable[Question]:
        there: Context = {"ec2:Region": call.region}
        yield Question(
            f"ec2:{operation}", call.arn(f"{resource_type}/*"), {**there, **_specified(request, resource_type)}
        )
        if in_vpc and request.get("VpcId"):
            vpc_id = request["VpcId"]
            yield Question(f"ec2:{operation}", call.arn(f"vpc/{vpc_id}"), {**there, **resource_tags(call, vpc_id)})
        yield from _tagging(call, request, operation)

    return Access(resources=_none, further=ask)


def _delete(operation: str, resource_type: str, named: Callable[[Request], str]) -> Access:
    def ask(call: Call, request: Request) -> Iterable[Question]:
        resource_id = named(request)
        context = {"ec2:Region": call.region, **resource_tags(call, resource_id)}
        yield Question(f"ec2:{operation}", call.arn(f"{resource_type}/{resource_id}"), context)

    return Access(resources=_none, further=ask)


def _associate(operation: str) -> Access:
    """About the instance, and the role inside the profile that it is to get."""

    def ask(call: Call, request: Request) -> Iterable[Question]:
        instance_id = request.get("InstanceId") or _of_association(call, request.get("AssociationId") or "")
        given = request.get("IamInstanceProfile")
        profile = profiles.given(call, given) if given else None
        context = _instance_context(call, instance_id)
        if profile is not None:
            context["ec2:NewInstanceProfile"] = profile.arn
        yield Question(f"ec2:{operation}", call.arn(f"instance/{instance_id}"), context)
        if profile is not None and profile.role_arn is not None:
            yield pass_role(profile.role_arn, _EC2)

    return Access(resources=_none, further=ask)


def _of_association(call: Call, association_id: str) -> str:
    for _, instance in store.list_all(call.transaction, call.account, call.region):
        if instance.profile is not None and instance.profile.association_id == association_id:
            return instance.instance_id
    return "*"


def _group_id(request: Request) -> str:
    return request.get("GroupId") or request.get("GroupName") or _FALLBACK


# The describing operations have no resource type: they are asked about `*`.
DESCRIBE = Access()

ACCESS = {
    "RunInstances": Access(resources=_none, further=_run),
    "DescribeInstances": DESCRIBE,
    "DescribeInstanceStatus": DESCRIBE,
    "TerminateInstances": _on_instances("TerminateInstances"),
    "GetConsoleOutput": _on_instances("GetConsoleOutput"),
    "DescribeInstanceAttribute": _on_instances("DescribeInstanceAttribute"),
    "ModifyInstanceMetadataOptions": _on_instances("ModifyInstanceMetadataOptions"),
    "DescribeInstanceTypes": DESCRIBE,
    "DescribeInstanceTypeOfferings": DESCRIBE,
    "DescribeImages": DESCRIBE,
    "DescribeRegions": DESCRIBE,
    "DescribeAvailabilityZones": DESCRIBE,
    "CreateVpc": _create("CreateVpc", "vpc"),
    "DescribeVpcs": DESCRIBE,
    "DeleteVpc": _delete("DeleteVpc", "vpc", lambda request: request["VpcId"]),
    "CreateSubnet": _create("CreateSubnet", "subnet", in_vpc=True),
    "DescribeSubnets": DESCRIBE,
    "DeleteSubnet": _delete("DeleteSubnet", "subnet", lambda request: request["SubnetId"]),
    "CreateSecurityGroup": _create("CreateSecurityGroup", "security-group", in_vpc=True),
    "DescribeSecurityGroups": DESCRIBE,
    "DeleteSecurityGroup": _delete("DeleteSecurityGroup", "security-group", _group_id),
    "DescribeNetworkInterfaces": DESCRIBE,
    "CreateTags": _change_tags("CreateTags"),
    "DeleteTags": _change_tags("DeleteTags"),
    "DescribeTags": DESCRIBE,
    "AssociateIamInstanceProfile": _associate("AssociateIamInstanceProfile"),
    "ReplaceIamInstanceProfileAssociation": _associate("ReplaceIamInstanceProfileAssociation"),
    "DisassociateIamInstanceProfile": _associate("DisassociateIamInstanceProfile"),
    "DescribeIamInstanceProfileAssociations": DESCRIBE,
}
