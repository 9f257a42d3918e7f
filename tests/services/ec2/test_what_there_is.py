"""Types, images, zones, and the network that is only recorded."""

from __future__ import annotations

import json

from people import allow
from refusals import refused


def test_instance_types_have_the_sizes_that_aws_publishes(house, ec2) -> None:
    (found,) = ec2.describe_instance_types(InstanceTypes=["m5.2xlarge"])["InstanceTypes"]
    assert found["VCpuInfo"]["DefaultVCpus"] == 8 and found["MemoryInfo"]["SizeInMiB"] == 32768
    assert found["ProcessorInfo"]["SupportedArchitectures"] == ["x86_64"]
    with refused("InvalidInstanceType", "The following supplied instance types do not exist: [m5.tiny]", status=400):
        ec2.describe_instance_types(InstanceTypes=["m5.tiny"])
    pages = ec2.get_paginator("describe_instance_types").paginate(
        Filters=[{"Name": "processor-info.supported-architecture", "Values": ["arm64"]}],
        PaginationConfig={"PageSize": 10},
    )
    names = [each["InstanceType"] for page in pages for each in page["InstanceTypes"]]
    assert len(names) == len(set(names)) > 20 and names == sorted(names)
    assert all(name.split(".")[0] in ("t4g", "m6g", "m7g", "c6g", "c7g", "r6g", "r7g") for name in names)
    offers = ec2.describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": ["m5.large"]}]
    )["InstanceTypeOfferings"]
    assert {each["Location"] for each in offers} == {f"us-east-1{letter}" for letter in "abcdef"}


def test_images_are_found_by_the_names_that_people_use(ec2) -> None:
    for name, bare in (
        ("al2023-ami-ecs-hvm-*x86_64", False),
        ("amzn2-ami-ecs-hvm-*", False),
        ("al2023-ami-2023*", True),
    ):
        found = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": [name]}])["Images"]
        assert found and all(each["State"] == "available" for each in found)
        assert all(each["OwnerId"] == ("137112412989" if bare else "591542846629") for each in found)
    assert ec2.describe_images(Owners=["self"])["Images"] == []
    with refused("InvalidAMIID.NotFound", "The image id '[ami-12345678]' does not exist", status=400):
        ec2.describe_images(ImageIds=["ami-12345678"])


def test_zones_and_regions_are_named_as_aws_names_them(ec2) -> None:
    zones = ec2.describe_availability_zones()["AvailabilityZones"]
    assert zones[0] == {
        "OptInStatus": "opt-in-not-required",
        "Messages": [],
        "RegionName": "us-east-1",
        "ZoneName": "us-east-1a",
        "ZoneId": "use1-az6",
        "GroupName": "us-east-1-zg-1",
        "GroupLongName": "US East (N. Virginia) 1",
        "NetworkBorderGroup": "us-east-1",
        "ZoneType": "availability-zone",
        "State": "available",
    }
    assert "eu-central-1" in {each["RegionName"] for each in ec2.describe_regions()["Regions"]}
    with refused("InvalidParameterValue", "Invalid availability zone: [us-east-1z]", status=400):
        ec2.describe_availability_zones(ZoneNames=["us-east-1z"])


def test_every_region_has_a_default_network(house, ec2) -> None:
    (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    assert vpc["CidrBlock"] == "172.31.0.0/16" and vpc["IsDefault"] and vpc["State"] == "available"
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"]
    assert len(subnets) == 6 and all(each["DefaultForAz"] for each in subnets)
    assert {each["AvailableIpAddressCount"] for each in subnets} == {4091}
    (group,) = ec2.describe_security_groups()["SecurityGroups"]
    assert group["GroupName"] == "default" and group["VpcId"] == vpc["VpcId"]
    elsewhere = house.client("ec2", region="eu-west-1").describe_vpcs()["Vpcs"]
    assert elsewhere[0]["VpcId"] != vpc["VpcId"]
    with refused("CannotDelete", status=400):
        ec2.delete_security_group(GroupId=group["GroupId"])
    # Reading wrote nothing, and what a write writes down is the same network.
    ec2.create_security_group(GroupName="mine", Description="d")
    assert ec2.describe_vpcs()["Vpcs"][0]["VpcId"] == vpc["VpcId"]
    assert {each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]} == {each["SubnetId"] for each in subnets}


def test_a_network_of_ones_own_is_made_used_and_taken_down(house, ec2, launch) -> None:
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "mine"}]}]
    made = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=tags)["Vpc"]
    assert made["State"] == "pending" and made["CidrBlockAssociationSet"][0]["CidrBlockState"] == {
        "State": "associated"
    }
    vpc_id = made["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.1.0/24", AvailabilityZone="us-east-1b")["Subnet"]
    assert subnet["AvailableIpAddressCount"] == 251
    group = ec2.create_security_group(GroupName="mine", Description="d", VpcId=vpc_id)
    assert set(group) >= {"GroupId", "SecurityGroupArn"}
    with refused("InvalidGroup.Duplicate", status=400):
        ec2.create_security_group(GroupName="mine", Description="d", VpcId=vpc_id)
    with refused("InvalidSubnet.Conflict", status=400):
        ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.1.128/25")
    with refused("InvalidSubnet.Range", status=400):
        ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.1.1.0/24")
    with refused("InvalidVpcID.NotFound", "The vpc ID 'vpc-12345678' does not exist", status=400):
        ec2.create_subnet(VpcId="vpc-12345678", CidrBlock="10.1.1.0/24")
    instance = launch(SubnetId=subnet["SubnetId"], SecurityGroupIds=[group["GroupId"]])
    assert instance["PrivateIpAddress"].startswith("10.0.1.") and instance["VpcId"] == vpc_id
    assert instance["Placement"]["AvailabilityZone"] == "us-east-1b"
    (interface,) = ec2.describe_network_interfaces(
        Filters=[{"Name": "attachment.instance-id", "Values": [instance["InstanceId"]]}]
    )["NetworkInterfaces"]
    assert interface["PrivateIpAddress"] == instance["PrivateIpAddress"]
    for call in (
        lambda: ec2.delete_vpc(VpcId=vpc_id),
        lambda: ec2.delete_subnet(SubnetId=subnet["SubnetId"]),
        lambda: ec2.delete_security_group(GroupId=group["GroupId"]),
    ):
        with refused("DependencyViolation", status=400):
            call()
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    house.settle(lambda: ec2.describe_network_interfaces()["NetworkInterfaces"] == [])
    ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    ec2.delete_security_group(GroupId=group["GroupId"])
    ec2.delete_vpc(VpcId=vpc_id)
    assert vpc_id not in {each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"]}


def test_what_is_not_offered_says_so(ec2) -> None:
    with refused("UnsupportedOperation", status=400):
        ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)


def test_describing_is_asked_about_everything(person) -> None:
    anna = person("anna")
    hers = anna.client("ec2")
    anna.may(allow("ec2:DescribeInstances", "arn:aws:ec2:*:*:instance/*"))
    with refused("UnauthorizedOperation", status=403):
        hers.describe_instances()
    anna.may(allow("ec2:Describe*"))
    hers.describe_instances(), hers.describe_subnets(), hers.describe_images()


def test_documents_are_json(ec2) -> None:
    """What clients read of a described instance type goes through their own JSON without a rest."""
    assert json.dumps(ec2.describe_instance_types(InstanceTypes=["t3.nano"])["InstanceTypes"])
