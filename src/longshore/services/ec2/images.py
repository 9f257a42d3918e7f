"""The images that instances can be made of. An image here says what starts at boot, not what lies on a disk.

Names follow those of AWS's own images, so that the name filters people write find them.
"""

from __future__ import annotations

import hashlib

from msgspec import Struct

from longshore.services.ec2.instance_types import ARM, X86


class Image(Struct, frozen=True, kw_only=True):
    name: str
    description: str
    architecture: str
    starts_agent: bool  # ECS-optimised: our agent starts at boot and reads /etc/ecs/ecs.config
    imds_v2: bool  # AL2023: tokens are required unless the launch says otherwise, and the hop limit is 2
    created_at: str

    @property
    def image_id(self) -> str:
        """From the name: the same in every region, account and life of the house."""
        return "ami-" + hashlib.sha256(self.name.encode()).hexdigest()[:17]


def _ecs(architecture: str) -> Image:
    return Image(
        name=f"al2023-ami-ecs-hvm-2023.0.20261101-kernel-6.1-{architecture}",
        description=f"Amazon Linux AMI 2023.0.20261101 {architecture} ECS HVM EBS",
        architecture=architecture,
        starts_agent=True,
        imds_v2=True,
        created_at="2026-11-01T00:00:00.000Z",
    )


def _ecs_al2(architecture: str) -> Image:
    middle = "" if architecture == X86 else f"{architecture}-"
    return Image(
        name=f"amzn2-ami-ecs-hvm-2.0.20260601-{middle or 'x86_64-'}ebs",
        description=f"Amazon Linux AMI 2.0.20260601 {architecture} ECS HVM GP2",
        architecture=architecture,
        starts_agent=True,
        imds_v2=False,
        created_at="2026-06-01T00:00:00.000Z",
    )


def _bare(architecture: str) -> Image:
    return Image(
        name=f"al2023-ami-2023.9.20261101.0-kernel-6.1-{architecture}",
        description=f"Amazon Linux 2023 AMI 2023.9.20261101.0 {architecture} HVM kernel-6.1",
        architecture=architecture,
        starts_agent=False,
        imds_v2=True,
        created_at="2026-11-01T00:00:00.000Z",
    )


# image id -> image.
IMAGES: dict[str, Image] = {
    image.image_id: image for make in (_ecs, _ecs_al2, _bare) for image in (make(X86), make(ARM))
}

OWNER = "591542846629"  # the account from which AWS publishes ECS-optimised images
BARE_OWNER = "137112412989"  # and the one of Amazon Linux
