"""Which instance has which instance profile, and changing it while the instance lives."""

from __future__ import annotations

from msgspec.structs import replace

from longshore.aws.clock import from_milliseconds, milliseconds
from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.ec2 import metadata, profiles, rules, store
from longshore.services.ec2.records import Instance, Profile
from longshore.services.ec2.selection import Values, page, select


@operation
def associate_iam_instance_profile(call: Call, request: Request) -> Response:
    """IncorrectState: the instance has one already."""
    rules.check_dry_run(request)
    instance = _living(call, request["InstanceId"])
    found = profiles.usable(call, request["IamInstanceProfile"])
    if instance.profile is not None:
        raise AwsError("IncorrectState", f"There is an existing association for instance {instance.instance_id}")
    changed = _give(call, instance, found)
    return {"IamInstanceProfileAssociation": _shown(changed, "associating")}


@operation
def replace_iam_instance_profile_association(call: Call, request: Request) -> Response:
    rules.check_dry_run(request)
    instance = _associated(call, request["AssociationId"])
    changed = _give(call, instance, profiles.usable(call, request["IamInstanceProfile"]))
    return {"IamInstanceProfileAssociation": _shown(changed, "associating")}


@operation
def disassociate_iam_instance_profile(call: Call, request: Request) -> Response:
    rules.check_dry_run(request)
    instance = _associated(call, request["AssociationId"])
    store.save(call.transaction, replace(instance, profile=None))
    call.after_commit(lambda: metadata.forget(call.house, instance.instance_id))
    return {"IamInstanceProfileAssociation": _shown(instance, "disassociating")}


@operation
def describe_iam_instance_profile_associations(call: Call, request: Request) -> Response:
    living = [instance for _, instance in store.list_all(call.transaction, call.account, call.region)]
    living = [instance for instance in living if instance.is_living and instance.profile is not None]
    wanted = request.get("AssociationIds")
    if wanted:
        living = [instance for instance in living if _place(instance) in wanted]
    found = sorted(select(living, request.get("Filters"), _FILTERS), key=_place)
    shown, next_token = page(found, request, _place)
    return {
        "IamInstanceProfileAssociations": [_shown(instance, "associated") for instance in shown],
        "NextToken": next_token,
    }


def _give(call: Call, instance: Instance, found: profiles.Found) -> Instance:
    profile = Profile(
        arn=found.arn,
        profile_id=found.profile_id,
        association_id=f"iip-assoc-{call.ids.hex(17)}",
        associated_at_ms=milliseconds(call.now),
    )
    changed = replace(instance, profile=profile)
    store.save(call.transaction, changed)
    call.after_commit(lambda: metadata.forget(call.house, instance.instance_id))
    return changed


def _living(call: Call, instance_id: str) -> Instance:
    rules.check_instance_ids([instance_id])
    instance = store.find_in(call.transaction, call.account, call.region, instance_id)
    if instance is None:
        raise rules.not_found([instance_id])
    if instance.state not in ("pending", "running"):
        raise AwsError(
            "IncorrectInstanceState",
            f"The instance '{instance_id}' is not in a valid state for this operation.",
        )
    return instance


def _associated(call: Call, association_id: str) -> Instance:
    for _, instance in store.list_all(call.transaction, call.account, call.region):
        if instance.is_living and instance.profile is not None and _place(instance) == association_id:
            return instance
    raise AwsError("InvalidAssociationID.NotFound", f"An invalid association-id of '{association_id}' was given")


def _place(instance: Instance) -> str:
    return instance.profile.association_id if instance.profile else ""


def _shown(instance: Instance, state: str) -> Response:
    profile = instance.profile
    assert profile is not None
    return {
        "AssociationId": profile.association_id,
        "InstanceId": instance.instance_id,
        "IamInstanceProfile": {"Arn": profile.arn, "Id": profile.profile_id},
        "State": state,
        "Timestamp": from_milliseconds(profile.associated_at_ms),
    }


_FILTERS: Values[Instance] = {
    "instance-id": lambda each: [each.instance_id],
    "state": lambda each: ["associated"],
}
