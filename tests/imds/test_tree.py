"""The tree of metadata, as a function of a view and a path."""

from __future__ import annotations

import json

from msgspec.structs import replace

from longshore.imds import tree


def test_listings_name_what_is_below_with_a_slash_where_there_is_more(view) -> None:
    assert tree.read(view, "/").splitlines()[-1] == "latest"
    assert tree.read(view, "/latest/").splitlines() == ["dynamic/", "meta-data/", "user-data"]
    names = tree.read(view, "/latest/meta-data/").splitlines()
    assert {"ami-id", "instance-id", "placement/", "network/", "local-ipv4"} <= set(names)
    assert "iam/" not in names and "tags/" not in names and names == sorted(names)


def test_leaves_say_what_the_instance_is(view) -> None:
    for path, text in {
        "meta-data/instance-id": "i-1",
        "meta-data/local-ipv4": "172.31.0.9",
        "meta-data/placement/availability-zone": "us-east-1a",
        "meta-data/placement/availability-zone-id": "use1-az6",
        "meta-data/placement/region": "us-east-1",
        "meta-data/security-groups": "default\nmine",
        "meta-data/instance-life-cycle": "on-demand",
        "meta-data/services/domain": "amazonaws.com",
        "meta-data/network/interfaces/macs/": "02:42:ac:1f:00:09/",
        "meta-data/network/interfaces/macs/02:42:ac:1f:00:09/subnet-id": "subnet-1",
        "user-data": "#!/bin/sh\n",
    }.items():
        assert tree.read(view, f"/latest/{path}") == text
        assert tree.read(view, f"/2021-07-15/{path}") == text


def test_what_is_not_there_is_none(view) -> None:
    for path in (
        "/earliest/meta-data/", "/latest/meta-data/instance-id/more", "/latest/meta-data/iam/",
        "/latest/meta-data/nothing", "/2030-01-01/", "/latest/meta-data/tags/instance",
    ):  # fmt: skip
        assert tree.read(view, path) is None
    assert tree.read(replace(view, user_data=None), "/latest/user-data") is None


def test_tags_are_shown_only_where_they_were_asked_for(view) -> None:
    shown = replace(view, tags_shown=True)
    assert tree.read(shown, "/latest/meta-data/tags/instance/") == "team"
    assert tree.read(shown, "/latest/meta-data/tags/instance/team") == "a"


def test_the_branch_of_the_role(view, profile) -> None:
    shown = replace(view, profile=profile)
    assert tree.read(shown, "/latest/meta-data/iam/").splitlines() == ["info", "security-credentials/"]
    assert tree.read(shown, "/latest/meta-data/iam/security-credentials/") == "r"
    document = json.loads(tree.read(shown, "/latest/meta-data/iam/security-credentials/r"))
    assert document == {
        "Code": "Success", "LastUpdated": "2026-01-01T12:00:00Z", "Type": "AWS-HMAC", "AccessKeyId": "ASIA1",
        "SecretAccessKey": "s", "Token": "t", "Expiration": "2026-01-01T18:00:00Z",
    }  # fmt: skip
    info = json.loads(tree.read(shown, "/latest/meta-data/iam/info"))
    assert info == {
        "Code": "Success", "LastUpdated": "2026-01-01T12:00:00Z", "InstanceProfileArn": profile.profile_arn,
        "InstanceProfileId": "AIPA1",
    }  # fmt: skip


def test_faults_of_the_role_stand_in_its_documents(view, profile) -> None:
    refused = replace(
        profile, credentials=None, credentials_code="AssumeRoleUnauthorizedAccess", credentials_message="m"
    )
    text = tree.read(replace(view, profile=refused), "/latest/meta-data/iam/security-credentials/r")
    assert json.loads(text) == {
        "Code": "AssumeRoleUnauthorizedAccess", "LastUpdated": "2026-01-01T12:00:00Z", "Message": "m",
    }  # fmt: skip
    gone = replace(profile, role_name=None, credentials=None, code="InstanceProfileNotFound", message="m")
    shown = replace(view, profile=gone)
    assert json.loads(tree.read(shown, "/latest/meta-data/iam/info"))["Code"] == "InstanceProfileNotFound"
    assert tree.read(shown, "/latest/meta-data/iam/security-credentials/") is None


def test_signatures_are_folded_as_base64_is(view) -> None:
    assert tree.read(view, "/latest/dynamic/instance-identity/signature") == "s" * 76 + "\n" + "s" * 24
    assert tree.read(view, "/latest/dynamic/instance-identity/document") == view.document
