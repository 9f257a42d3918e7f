"""Lists by pages: whatever their size, they hold what the whole list holds, in its order; a marker is good for its list alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from in_process import ACCOUNT, InProcessHouse
from longshore.services.iam.service import SERVICE
from people import EC2_TRUST, allow, document
from refusals import refused, unchecked

BASE = f"arn:aws:iam::{ACCOUNT}"
TEXT = document(allow("s3:*"))
MANY = [f"{letter}-{number}" for number in range(2) for letter in "bA"]  # Neither in order nor in one case.
TAGS = [{"Key": name, "Value": "v"} for name in MANY]
READ = "arn:aws:iam::aws:policy/ReadOnlyAccess"

# operation -> (request, the member that holds the list)
LISTS: dict[str, tuple[dict[str, Any], str]] = {
    "list_users": ({}, "Users"),
    "list_groups": ({}, "Groups"),
    "list_roles": ({}, "Roles"),
    "list_policies": ({"Scope": "Local"}, "Policies"),
    "list_instance_profiles": ({}, "InstanceProfiles"),
    "list_instance_profiles_for_role": ({"RoleName": "b-0"}, "InstanceProfiles"),
    "list_groups_for_user": ({"UserName": "b-0"}, "Groups"),
    "get_group": ({"GroupName": "b-0"}, "Users"),
    "list_access_keys": ({"UserName": "b-0"}, "AccessKeyMetadata"),
    "list_policy_versions": ({"PolicyArn": f"{BASE}:policy/b-0"}, "Versions"),
    **{
        f"list_{kind}_tags": ({f"{member}": "b-0"}, "Tags")
        for kind, member in {
            "user": "UserName",
            "role": "RoleName",
            "instance_profile": "InstanceProfileName",
        }.items()
    },
    "list_policy_tags": ({"PolicyArn": f"{BASE}:policy/b-0"}, "Tags"),
    **{
        f"list_{kind}_policies": ({f"{kind.capitalize()}Name": "b-0"}, "PolicyNames")
        for kind in ("user", "role", "group")
    },
    **{
        f"list_attached_{kind}_policies": ({f"{kind.capitalize()}Name": "b-0"}, "AttachedPolicies")
        for kind in ("user", "role", "group")
    },
}
# Lists that have a test of their own, or at most one entry.
ELSEWHERE = {
    "listaccountaliases", "listentitiesforpolicy", "listmfadevices", "listpoliciesgrantingserviceaccess",
    "listservicespecificcredentials", "listsigningcertificates", "listsshpublickeys", "listvirtualmfadevices",
}  # fmt: skip


@pytest.fixture(scope="module")
def full() -> Iterator[InProcessHouse]:
    """A house whose account holds several of everything."""
    house = InProcessHouse()
    iam = house.client("iam")
    for name in MANY:
        iam.create_user(UserName=name, Tags=TAGS)
        iam.create_group(GroupName=name)
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=EC2_TRUST, Tags=TAGS)
        iam.create_policy(PolicyName=name, PolicyDocument=TEXT, Tags=TAGS)
        iam.create_instance_profile(InstanceProfileName=name, Tags=TAGS)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName="b-0")
    for name in MANY:
        iam.add_user_to_group(GroupName=name, UserName="b-0")
        if name != "b-0":
            iam.add_user_to_group(GroupName="b-0", UserName=name)
        for kind in ("user", "role", "group"):
            holder = {f"{kind.capitalize()}Name": "b-0"}
            getattr(iam, f"put_{kind}_policy")(**holder, PolicyName=name, PolicyDocument=TEXT)
            getattr(iam, f"attach_{kind}_policy")(**holder, PolicyArn=f"{BASE}:policy/{name}")
        iam.create_policy_version(PolicyArn=f"{BASE}:policy/b-0", PolicyDocument=TEXT)
    for _ in range(2):
        iam.create_access_key(UserName="b-0")
    yield house
    house.close()


@pytest.fixture
def iam(full: InProcessHouse) -> Any:
    return full.client("iam")


def test_every_list_is_tried() -> None:
    tried = {name.replace("_", "") for name in LISTS} | ELSEWHERE
    assert {name for name in SERVICE.operations if name.startswith("list")} <= tried


@pytest.mark.parametrize("operation", LISTS)
def test_pages_of_any_size_hold_what_the_whole_list_holds(iam: Any, operation: str) -> None:
    request, member = LISTS[operation]
    ask = getattr(iam, operation)
    whole = ask(**request)
    assert len(whole[member]) >= 2 and whole["IsTruncated"] is False and "Marker" not in whole
    for size in (1, 2, 3):
        found: list[Any] = []
        more: dict[str, str] = {}
        while True:
            page = ask(**request, **more, MaxItems=size)
            found += page[member]
            assert len(page[member]) == size or not page["IsTruncated"]
            if not page["IsTruncated"]:
                assert "Marker" not in page
                break
            more = {"Marker": page["Marker"]}
        assert found == whole[member]


@pytest.mark.parametrize("operation", LISTS)
def test_a_marker_is_good_for_its_list_alone(iam: Any, operation: str) -> None:
    request, _ = LISTS[operation]
    other = iam.list_roles if operation != "list_roles" else iam.list_users
    for marker in ("rubbish", "AAAA", other(MaxItems=1)["Marker"]):
        with refused("ValidationError", "Invalid Marker.", status=400):
            getattr(iam, operation)(**request, Marker=marker)


@pytest.mark.parametrize("operation", ["list_users", "list_policies", "get_account_authorization_details"])
@pytest.mark.parametrize("size", [0, -1, 1001])
def test_a_page_holds_one_to_a_thousand(full: InProcessHouse, operation: str, size: int) -> None:
    iam = unchecked(full.client("iam"))
    with refused("ValidationError", status=400) as caught:
        getattr(iam, operation)(MaxItems=size)
    assert "at 'maxItems' failed to satisfy constraint: Member must have value" in str(caught.value)


def test_what_is_made_or_goes_between_two_pages_moves_nothing_else(iam: Any) -> None:
    first = iam.list_users(MaxItems=2)
    names = [each["UserName"] for each in first["Users"]]
    assert names == ["A-0", "A-1"]
    iam.create_user(UserName="A-00")
    iam.create_user(UserName="a-9")
    try:
        rest = [each["UserName"] for each in iam.list_users(Marker=first["Marker"])["Users"]]
        assert rest == ["a-9", "b-0", "b-1"]
    finally:
        iam.delete_user(UserName="A-00")
        iam.delete_user(UserName="a-9")
