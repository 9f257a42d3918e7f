"""The images that instances can be made of."""

from __future__ import annotations

from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.ec2 import rules
from longshore.services.ec2.images import BARE_OWNER, IMAGES, OWNER, Image
from longshore.services.ec2.launching import ROOT_DEVICE
from longshore.services.ec2.selection import Values, page, select


@operation
def describe_images(call: Call, request: Request) -> Response:
    """All images are AWS's: one asks for them by the owner `amazon`, by name, or by id."""
    rules.check_dry_run(request)
    ids = request.get("ImageIds") or []
    for image_id in ids:
        rules.check_id(image_id, "ami", "InvalidAMIID")
    unknown = [image_id for image_id in ids if image_id not in IMAGES]
    if unknown:
        verb, noun = ("does", "id") if len(unknown) == 1 else ("do", "ids")
        raise AwsError("InvalidAMIID.NotFound", f"The image {noun} '[{', '.join(unknown)}]' {verb} not exist")
    images = [IMAGES[image_id] for image_id in dict.fromkeys(ids)] if ids else list(IMAGES.values())
    owners = request.get("Owners") or []
    if owners:
        images = [image for image in images if "amazon" in owners or _owner(image) in owners]
    images = sorted(select(images, request.get("Filters"), _FILTERS), key=_id)
    shown, next_token = page(images, request, _id)
    return {"Images": [_shown(image) for image in shown], "NextToken": next_token}


def _id(image: Image) -> str:
    return image.image_id


def _owner(image: Image) -> str:
    return OWNER if image.starts_agent else BARE_OWNER


def _shown(image: Image) -> Response:
    return {
        "ImageId": image.image_id,
        "Name": image.name,
        "Description": image.description,
        "Architecture": image.architecture,
        "CreationDate": image.created_at,
        "ImageLocation": f"amazon/{image.name}",
        "ImageType": "machine",
        "Public": True,
        "OwnerId": _owner(image),
        "ImageOwnerAlias": "amazon",
        "State": "available",
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "BlockDeviceMappings": [],
        "EnaSupport": True,
        "Hypervisor": "xen",
        "RootDeviceName": ROOT_DEVICE,
        "RootDeviceType": "ebs",
        "SriovNetSupport": "simple",
        "VirtualizationType": "hvm",
        "BootMode": "uefi" if image.architecture == "arm64" else "uefi-preferred",
        "ImdsSupport": "v2.0" if image.imds_v2 else None,
    }


# API reference, DescribeImages, Filters.
_FILTERS: Values[Image] = {
    "architecture": lambda image: [image.architecture],
    "creation-date": lambda image: [image.created_at],
    "description": lambda image: [image.description],
    "hypervisor": lambda image: ["xen"],
    "image-id": lambda image: [image.image_id],
    "image-type": lambda image: ["machine"],
    "is-public": lambda image: ["true"],
    "name": lambda image: [image.name],
    "owner-alias": lambda image: ["amazon"],
    "owner-id": lambda image: [_owner(image)],
    "platform-details": lambda image: ["Linux/UNIX"],
    "root-device-name": lambda image: [ROOT_DEVICE],
    "root-device-type": lambda image: ["ebs"],
    "state": lambda image: ["available"],
    "virtualization-type": lambda image: ["hvm"],
    "ena-support": lambda image: ["true"],
    "imds-support": lambda image: ["v2.0"] if image.imds_v2 else [],
}
