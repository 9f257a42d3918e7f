"""What is kept of instances and of the network."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

State = Literal["pending", "running", "shutting-down", "terminated"]

# API reference, InstanceState.
STATE_CODES: dict[str, int] = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48}


class Profile(Struct, frozen=True, kw_only=True):
    """The instance profile that an instance was given. Its id tells a profile re-made under the same name."""

    arn: str
    profile_id: str  # AIPA...
    association_id: str  # iip-assoc-...
    associated_at_ms: int

    @property
    def name(self) -> str:
        return self.arn.rsplit("/", 1)[-1]


class MetadataOptions(Struct, frozen=True, kw_only=True):
    http_tokens: str = "optional"  # or required
    hop_limit: int = 1  # 1 to 64
    http_endpoint: str = "enabled"
    instance_tags: str = "disabled"


class Instance(Struct, frozen=True, kw_only=True):
    instance_id: str
    account: str
    region: str
    zone: str
    reservation_id: str
    launch_index: int
    image_id: str
    instance_type: str
    state: State
    private_ip: str
    mac: str
    network_interface_id: str
    attachment_id: str
    subnet_id: str
    vpc_id: str
    security_group_ids: tuple[str, ...]
    launched_at_ms: int
    metadata_options: MetadataOptions
    profile: Profile | None = None
    user_data: str | None = None  # base64, as it was sent
    client_token: str | None = None
    lifecycle: str | None = None  # spot; None: on demand
    spot_request_id: str | None = None
    reason_code: str | None = None  # StateReason of the last transition; None: none is shown
    reason_message: str | None = None
    transition_reason: str = ""
    running_at_ms: int | None = None
    ended_at_ms: int | None = None  # terminated
    disable_api_termination: bool = False
    shutdown_behavior: str = "stop"
    ebs_optimized: bool = False
    monitoring: bool = False

    @property
    def arn(self) -> str:
        return f"arn:aws:ec2:{self.region}:{self.account}:instance/{self.instance_id}"

    @property
    def private_dns_name(self) -> str:
        return f"ip-{self.private_ip.replace('.', '-')}.{internal_domain(self.region)}"

    @property
    def is_living(self) -> bool:
        return self.state != "terminated"


def internal_domain(region: str) -> str:
    """VPC user guide, "DNS attributes": us-east-1 has a domain of its own."""
    return "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"


class Vpc(Struct, frozen=True, kw_only=True):
    vpc_id: str
    cidr: str
    association_id: str
    is_default: bool = False
    instance_tenancy: str = "default"


class Subnet(Struct, frozen=True, kw_only=True):
    subnet_id: str
    vpc_id: str
    cidr: str
    zone: str
    is_default: bool = False


class SecurityGroup(Struct, frozen=True, kw_only=True):
    group_id: str
    group_name: str
    description: str
    vpc_id: str
