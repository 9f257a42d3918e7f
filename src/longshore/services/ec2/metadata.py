"""What an instance is told of itself, its role's credentials among it: the server's side of the metadata service.

Source: IAM user guide, "Use roles for applications on EC2", and EC2 user guide, "IAM roles for Amazon EC2": credentials
are there five minutes before the old ones end; faults show as codes in the documents and heal by themselves.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct

from longshore.aws.clock import from_milliseconds
from longshore.aws.errors import AwsError
from longshore.aws.instance import InstanceView, ProfileView, RoleCredentials
from longshore.kit.call import Call
from longshore.kit.event import Event
from longshore.kit.house import House
from longshore.services.ec2 import network, profiles, store
from longshore.services.ec2.images import IMAGES
from longshore.services.ec2.records import Instance
from longshore.services.ec2.zones import zone

_EC2 = "ec2.amazonaws.com"
_IDENTITY = "/instance-identity/"
_SESSION = timedelta(hours=6)  # Observed at AWS: about six hours.
_ROTATED = timedelta(hours=1)
_LEFT = timedelta(minutes=5)  # EC2 user guide: new credentials at least five minutes before the old ones expire
_FAULT_KEPT = timedelta(seconds=5)  # What was refused is asked again; an event of IAM asks at once.


class Respond(Protocol):
    """Answers one request for metadata from the view of the instance: (status, headers, text)."""

    def __call__(
        self, view: InstanceView, method: str, path: str, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], str]: ...


class _Kept(Struct, frozen=True):
    profile: ProfileView
    until: datetime


class MetadataService:
    """The port `imds`: answers for every instance of the house, and keeps their credentials in memory."""

    def __init__(self, house: House, respond: Respond) -> None:
        self._house = house
        self._respond = respond
        self._kept: dict[str, _Kept] = {}  # instance id -> its profile's view

    def resolve_by_private_ip(self, private_ip: str) -> str | None:
        """The id of the living instance that has the address."""
        instance = self._house.store.read(lambda transaction: store.find_by_private_ip(transaction, private_ip))
        return instance.instance_id if instance is not None else None

    async def request(self, instance_id: str, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        status, _, text = await self.answer(instance_id, method, path, headers)
        return status, text

    async def answer(
        self, instance_id: str, method: str, path: str, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], str]:
        """404 for an instance that is no more."""
        instance = self._house.store.read(lambda transaction: store.find(transaction, instance_id))
        if instance is None or not instance.is_living:
            return 404, {}, ""
        profile = None
        if instance.profile is not None:
            if "/iam/" in f"{path}/":
                profile = await self._profile(instance)
            else:
                profile = _unasked(instance)
        # A signature costs more than all the rest of a view, and is wanted on one page only.
        return self._respond(self._view(instance, profile, signed=_IDENTITY in path), method, path, headers)

    def forget(self, instance_id: str) -> None:
        """Has the credentials made anew at the next request. Those handed out stay valid till their end."""
        self._kept.pop(instance_id, None)

    def forget_account(self, account: str) -> None:
        ids = list(self._kept)
        for instance_id in ids:
            if f":{account}:" in self._kept[instance_id].profile.profile_arn:
                del self._kept[instance_id]

    async def _profile(self, instance: Instance) -> ProfileView:
        now = self._house.now()
        kept = self._kept.get(instance.instance_id)
        if kept is not None and now < kept.until:
            return kept.profile
        turn = self._house.turn("ec2", account=instance.account, region=instance.region)
        profile = await turn.write(lambda call: look_up(call, instance))
        credentials = profile.credentials
        until = now + _FAULT_KEPT
        if credentials is not None:
            until = min(now + _ROTATED, credentials.expires_at - _LEFT)
        self._kept[instance.instance_id] = _Kept(profile, until)
        return profile

    def _view(self, instance: Instance, profile: ProfileView | None, *, signed: bool) -> InstanceView:
        turn = self._house.turn("ec2", account=instance.account, region=instance.region)
        return turn.read(lambda call: view(call, instance, profile, signed=signed))


def look_up(call: Call, instance: Instance) -> ProfileView:
    """The instance's profile as IAM has it now, and a fresh session of the role inside."""
    given = instance.profile
    assert given is not None
    found = profiles.find(call, given.name)
    seen = ProfileView(profile_arn=given.arn, profile_id=given.profile_id, updated_at=call.now)
    if found is None or found.profile_id != given.profile_id:
        # A profile re-made under its old name is another one: ids tell.
        return _faulty(
            seen,
            "InstanceProfileNotFound",
            f"The specified instance profile {given.arn} does not exist or was deleted and made again; associate it anew.",
        )
    if found.role_name is None or found.role_arn is None:
        return _with(seen, message="Instance Profile does not contain a role. Please see documentation at "
                                   "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html.")  # fmt: skip
    request = {
        "RoleArn": found.role_arn,
        "RoleSessionName": instance.instance_id,
        "DurationSeconds": int(_SESSION.total_seconds()),
        "_sourceInstanceArn": instance.arn,
        "_sourceVpc": instance.vpc_id,
        "_sourcePrivateIp": instance.private_ip,
    }
    try:
        given_out = call.peer("sts", "AssumeRole", request, as_=call.as_service(_EC2))["Credentials"]
    except AwsError as error:
        return _with(
            seen,
            role_name=found.role_name,
            credentials_code="AssumeRoleUnauthorizedAccess",
            credentials_message=f"EC2 cannot assume the role {found.role_name}. Please see documentation at "
            "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html. "
            f"({error.message})",
        )
    credentials = RoleCredentials(
        access_key_id=given_out["AccessKeyId"],
        secret_access_key=given_out["SecretAccessKey"],
        token=given_out["SessionToken"],
        updated_at=call.now,
        expires_at=given_out["Expiration"],
    )
    return _with(seen, role_name=found.role_name, credentials=credentials)


def _with(seen: ProfileView, **changes: object) -> ProfileView:
    from msgspec.structs import replace

    return replace(seen, **changes)


def _faulty(seen: ProfileView, code: str, message: str) -> ProfileView:
    return _with(seen, code=code, message=message)


def _unasked(instance: Instance) -> ProfileView:
    """For paths that need no more than that there is a profile."""
    assert instance.profile is not None
    return ProfileView(
        profile_arn=instance.profile.arn,
        profile_id=instance.profile.profile_id,
        updated_at=from_milliseconds(instance.profile.associated_at_ms),
    )


def view(call: Call, instance: Instance, profile: ProfileView | None, *, signed: bool = True) -> InstanceView:
    """The instance as its metadata shows it; where it is wanted `signed`, with its identity document."""
    document = identity_document(instance) if signed else ""
    groups = {group.group_id: group.group_name for group in network.security_groups(call)}
    subnet = next((each for each in network.subnets(call) if each.subnet_id == instance.subnet_id), None)
    vpc = next((each for each in network.vpcs(call) if each.vpc_id == instance.vpc_id), None)
    there = zone(instance.zone)
    options = instance.metadata_options
    tags = store.tags_of(call.transaction, instance.account, instance.region, instance.instance_id)
    return InstanceView(
        instance_id=instance.instance_id,
        account=instance.account,
        region=instance.region,
        zone=instance.zone,
        zone_id=there.zone_id if there else "",
        image_id=instance.image_id,
        instance_type=instance.instance_type,
        architecture=IMAGES[instance.image_id].architecture,
        launch_index=instance.launch_index,
        reservation_id=instance.reservation_id,
        launched_at=from_milliseconds(instance.launched_at_ms),
        private_ip=instance.private_ip,
        private_dns_name=instance.private_dns_name,
        mac=instance.mac,
        network_interface_id=instance.network_interface_id,
        subnet_id=instance.subnet_id,
        subnet_cidr=subnet.cidr if subnet else "",
        vpc_id=instance.vpc_id,
        vpc_cidr=vpc.cidr if vpc else "",
        security_groups=tuple((each, groups.get(each, "")) for each in instance.security_group_ids),
        user_data=base64.b64decode(instance.user_data) if instance.user_data else None,
        lifecycle=instance.lifecycle or "on-demand",
        tags=tuple(tags.items()),
        tags_shown=options.instance_tags == "enabled",
        http_endpoint=options.http_endpoint == "enabled",
        http_tokens_required=options.http_tokens == "required",
        document=document,
        signature=call.house.identity_documents.sign(document) if signed else "",
        profile=profile,
    )


def identity_document(instance: Instance) -> str:
    """EC2 user guide, "Instance identity documents": members in alphabetical order, two spaces deep."""
    members = {
        "accountId": instance.account,
        "architecture": IMAGES[instance.image_id].architecture,
        "availabilityZone": instance.zone,
        "billingProducts": None,
        "devpayProductCodes": None,
        "marketplaceProductCodes": None,
        "imageId": instance.image_id,
        "instanceId": instance.instance_id,
        "instanceType": instance.instance_type,
        "kernelId": None,
        "pendingTime": f"{from_milliseconds(instance.launched_at_ms):%Y-%m-%dT%H:%M:%SZ}",
        "privateIp": instance.private_ip,
        "ramdiskId": None,
        "region": instance.region,
        "version": "2017-09-30",
    }
    return json.dumps(members, indent=2, separators=(",", " : "))


def forget(house: House, instance_id: str) -> None:
    """After the instance was given another profile, or none."""
    service: MetadataService | None = house.ports.get("imds")
    if service is not None:
        service.forget(instance_id)


def on_iam_change(call: Call, event: Event) -> None:
    """A role or a profile has changed: what instances of the account were told of theirs is asked anew."""
    service: MetadataService | None = call.house.ports.get("imds")
    if service is not None:
        call.after_commit(lambda: service.forget_account(event.account))
