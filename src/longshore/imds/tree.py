"""The tree of instance metadata. Pure: a view of an instance and a path in, text out.

A listing names what is below it, one a line, with `/` behind what can be listed in its turn.

Source: EC2 user guide, "Instance metadata categories" and "Dynamic data categories".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from longshore.aws.instance import InstanceView, ProfileView

Node = str | Mapping[str, "Node"]

# The versions that are offered beside `latest`. All show the same.
VERSIONS = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
    "2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19",
    "2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01", "2020-08-24", "2020-10-27",
    "2021-01-03", "2021-03-23", "2021-07-15", "2022-07-09", "2022-09-24", "2023-05-10", "2023-11-07", "2024-04-11",
)  # fmt: skip


def read(view: InstanceView, path: str) -> str | None:
    """What a GET of `path` (`/latest/meta-data/instance-id`) shows. None: there is nothing there."""
    parts = [part for part in path.split("?", 1)[0].split("/") if part]
    if not parts:
        return "\n".join((*VERSIONS, "latest"))
    version, *rest = parts
    if version != "latest" and version not in VERSIONS:
        return None
    node: Node = _root(view)
    for part in rest:
        if isinstance(node, str) or part not in node:
            return None
        node = node[part]
    return node if isinstance(node, str) else _listing(node)


def _listing(node: Mapping[str, Node]) -> str:
    return "\n".join(name if isinstance(node[name], str) else f"{name}/" for name in sorted(node))


def _root(view: InstanceView) -> Mapping[str, Node]:
    root: dict[str, Node] = {"dynamic": _dynamic(view), "meta-data": _meta_data(view)}
    if view.user_data is not None:
        root["user-data"] = view.user_data.decode("utf-8", "replace")
    return root


def _dynamic(view: InstanceView) -> Mapping[str, Node]:
    return {"instance-identity": {"document": view.document, "signature": _folded(view.signature)}}


def _meta_data(view: InstanceView) -> Mapping[str, Node]:
    root: dict[str, Node] = {
        "ami-id": view.image_id,
        "ami-launch-index": str(view.launch_index),
        "ami-manifest-path": "(unknown)",
        "block-device-mapping": {"ami": "/dev/xvda", "root": "/dev/xvda"},
        "events": {"maintenance": {"history": "[]", "scheduled": "[]"}},
        "hostname": view.private_dns_name,
        "instance-action": "none",
        "instance-id": view.instance_id,
        "instance-life-cycle": view.lifecycle,
        "instance-type": view.instance_type,
        "local-hostname": view.private_dns_name,
        "local-ipv4": view.private_ip,
        "mac": view.mac,
        "network": {"interfaces": {"macs": {view.mac: _interface(view)}}},
        "placement": {
            "availability-zone": view.zone,
            "availability-zone-id": view.zone_id,
            "region": view.region,
        },
        "profile": "default-hvm",
        "reservation-id": view.reservation_id,
        "security-groups": "\n".join(name for _, name in view.security_groups),
        "services": {"domain": "amazonaws.com", "partition": "aws"},
        "system": "nitro",
    }
    if view.profile is not None:
        root["iam"] = _iam(view.profile)
    if view.tags_shown:
        root["tags"] = {"instance": dict(view.tags)}
    return root


def _interface(view: InstanceView) -> Mapping[str, Node]:
    return {
        "device-number": "0",
        "interface-id": view.network_interface_id,
        "local-hostname": view.private_dns_name,
        "local-ipv4s": view.private_ip,
        "mac": view.mac,
        "owner-id": view.account,
        "security-group-ids": "\n".join(group_id for group_id, _ in view.security_groups),
        "security-groups": "\n".join(name for _, name in view.security_groups),
        "subnet-id": view.subnet_id,
        "subnet-ipv4-cidr-block": view.subnet_cidr,
        "vpc-id": view.vpc_id,
        "vpc-ipv4-cidr-block": view.vpc_cidr,
        "vpc-ipv4-cidr-blocks": view.vpc_cidr,
    }


def _iam(profile: ProfileView) -> Mapping[str, Node]:
    """Source: IAM user guide, "Troubleshoot IAM and Amazon EC2": the codes, and what stands where."""
    info: dict[str, str] = {"Code": profile.code, "LastUpdated": _time(profile.updated_at)}
    if profile.message is not None:
        info["Message"] = profile.message
    info |= {"InstanceProfileArn": profile.profile_arn, "InstanceProfileId": profile.profile_id}
    branch: dict[str, Node] = {"info": _json(info)}
    if profile.role_name is not None:
        branch["security-credentials"] = {profile.role_name: _credentials(profile)}
    return branch


def _credentials(profile: ProfileView) -> str:
    credentials = profile.credentials
    if credentials is None:
        fault = {"Code": profile.credentials_code, "LastUpdated": _time(profile.updated_at)}
        if profile.credentials_message is not None:
            fault["Message"] = profile.credentials_message
        return _json(fault)
    return _json(
        {
            "Code": "Success",
            "LastUpdated": _time(credentials.updated_at),
            "Type": "AWS-HMAC",
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "Token": credentials.token,
            "Expiration": _time(credentials.expires_at),
        }
    )


def _json(members: Mapping[str, str]) -> str:
    return json.dumps(members, indent=2, separators=(",", " : "))


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _folded(text: str) -> str:
    """Lines of 76 characters, as AWS breaks base64."""
    return "\n".join(text[at : at + 76] for at in range(0, len(text), 76))
