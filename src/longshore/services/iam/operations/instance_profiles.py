"""Instance profiles: by which a role reaches an instance. By API a profile and its role are made separately."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.iam import rules, shown, store
from longshore.services.iam.operations import roles
from longshore.services.iam.records import InstanceProfile, Role


def existing(call: Call, name: str) -> InstanceProfile:
    """NoSuchEntity: there is no such instance profile."""
    profile = store.find(call.transaction, InstanceProfile, call.account, name)
    if profile is None:
        raise rules.no_profile(name)
    return profile


def _changed(call: Call, profile: InstanceProfile) -> None:
    call.emit("IAM Instance Profile Changed", profile.arn, {"instanceProfileName": profile.name})


def details(call: Call, profile: InstanceProfile) -> dict[str, Any]:
    """The profile as answers show it, with its role."""
    within = []
    if profile.role_name is not None:
        role = store.find(call.transaction, Role, call.account, profile.role_name)
        if role is not None:
            within = [shown.role(role, roles.trust_of(call, role), whole=False, session=False)]
    return shown.profile(profile, within)


@operation
def create_instance_profile(call: Call, request: Request) -> Response:
    name, path = request["InstanceProfileName"], rules.path_of(request)
    if store.find(call.transaction, InstanceProfile, call.account, name) is not None:
        raise rules.exists(f"Instance Profile {name} already exists.")
    rules.check_quota(call, "InstanceProfilesPerAccount", store.count(call.transaction, InstanceProfile, call.account))
    profile = InstanceProfile(
        name=name,
        path=path,
        profile_id=call.ids.unique_id("AIPA"),
        arn=call.arn(f"instance-profile{path}{name}"),
        created_at=call.now,
        tags=rules.tags_of(call, request),
    )
    store.add(call.transaction, call.account, profile)
    _changed(call, profile)
    return {"InstanceProfile": details(call, profile)}


@operation
def get_instance_profile(call: Call, request: Request) -> Response:
    return {"InstanceProfile": details(call, existing(call, request["InstanceProfileName"]))}


@operation
def list_instance_profiles(call: Call, request: Request) -> Response:
    prefix = request.get("PathPrefix") or "/"
    return _page(call, request, lambda profile: profile.path.startswith(prefix))


@operation
def list_instance_profiles_for_role(call: Call, request: Request) -> Response:
    role = roles.existing(call, request["RoleName"])
    return _page(call, request, lambda profile: profile.role_name == role.name)


def _page(call: Call, request: Request, wanted: Callable[[InstanceProfile], bool]) -> Response:
    profiles = [each for each in store.listed(call.transaction, InstanceProfile, call.account) if wanted(each)]
    return shown.page(
        call, request, "InstanceProfiles", profiles, key=store.folded, show=lambda profile: details(call, profile)
    )


@operation
def add_role_to_instance_profile(call: Call, request: Request) -> Response:
    profile = existing(call, request["InstanceProfileName"])
    role = roles.changeable(call, request["RoleName"])
    if profile.role_name is not None:
        raise rules.over("InstanceSessionsPerInstanceProfile: 1")
    profile = replace(profile, role_name=role.name)
    store.save(call.transaction, call.account, profile)
    _changed(call, profile)
    return {}


@operation
def remove_role_from_instance_profile(call: Call, request: Request) -> Response:
    profile = existing(call, request["InstanceProfileName"])
    role = roles.existing(call, request["RoleName"])
    if profile.role_name != role.name:
        raise rules.no_role(request["RoleName"])
    profile = replace(profile, role_name=None)
    store.save(call.transaction, call.account, profile)
    _changed(call, profile)
    return {}


@operation
def delete_instance_profile(call: Call, request: Request) -> Response:
    profile = existing(call, request["InstanceProfileName"])
    if profile.role_name is not None:
        raise rules.conflict("Cannot delete entity, must remove roles from instance profile first.")
    store.drop(call.transaction, call.account, profile)
    _changed(call, profile)
    return {}


@operation
def tag_instance_profile(call: Call, request: Request) -> Response:
    profile = existing(call, request["InstanceProfileName"])
    store.save(call.transaction, call.account, replace(profile, tags=rules.tags_of(call, request, profile.tags)))
    return {}


@operation
def untag_instance_profile(call: Call, request: Request) -> Response:
    profile = existing(call, request["InstanceProfileName"])
    tags = rules.without_tags(profile.tags, request["TagKeys"])
    store.save(call.transaction, call.account, replace(profile, tags=tags))
    return {}


@operation
def list_instance_profile_tags(call: Call, request: Request) -> Response:
    return shown.page(call, request, "Tags", shown.tag_list(existing(call, request["InstanceProfileName"]).tags) or [])
