"""An instance as its metadata service shows it: the value that EC2's room fills in and the metadata tree reads."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct


class RoleCredentials(Struct, frozen=True, kw_only=True):
    """A session of the role inside the instance profile."""

    access_key_id: str
    secret_access_key: str
    token: str
    updated_at: datetime
    expires_at: datetime


class ProfileView(Struct, frozen=True, kw_only=True):
    """The instance profile as the instance sees it at this moment.

    `code` is that of `iam/info`, `credentials_code` that of the credentials document: `Success` or the fault.
    """

    profile_arn: str
    profile_id: str
    updated_at: datetime
    code: str = "Success"
    message: str | None = None
    role_name: str | None = None  # None: the profile is gone or holds no role
    credentials: RoleCredentials | None = None  # None: the role could not be assumed; `credentials_code` says why
    credentials_code: str = "Success"
    credentials_message: str | None = None


class InstanceView(Struct, frozen=True, kw_only=True):
    """All that the metadata of one instance is made of."""

    instance_id: str
    account: str
    region: str
    zone: str
    zone_id: str
    image_id: str
    instance_type: str
    architecture: str  # x86_64, arm64
    launch_index: int
    reservation_id: str
    launched_at: datetime
    private_ip: str
    private_dns_name: str
    mac: str
    network_interface_id: str
    subnet_id: str
    subnet_cidr: str
    vpc_id: str
    vpc_cidr: str
    security_groups: tuple[tuple[str, str], ...]  # (id, name)
    user_data: bytes | None = None
    lifecycle: str = "on-demand"  # or spot
    tags: tuple[tuple[str, str], ...] = ()
    tags_shown: bool = False  # InstanceMetadataTags enabled
    http_endpoint: bool = True
    http_tokens_required: bool = False
    document: str = ""  # the instance identity document, JSON
    signature: str = ""  # of the document: RSA with SHA-256, base64
    profile: ProfileView | None = None  # None: launched without an instance profile
