"""What an operator can set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, field

# IAM user guide, "IAM and AWS STS quotas", under the names by which IAM's answers call them. `iam_quotas` may say otherwise.
IAM_QUOTAS: Mapping[str, int] = {
    "AccessKeysPerUser": 2,
    "ACLSizePerRole": 2048,  # characters of a trust policy, white space left out, as in all sizes here
    "GroupsPerAccount": 300,
    "GroupsPerUser": 10,
    "InlineSizePerGroup": 5120,  # of all inline policies together
    "InlineSizePerRole": 10_240,
    "InlineSizePerUser": 2048,
    "InstanceProfilesPerAccount": 1000,
    "PoliciesPerAccount": 1500,
    "PoliciesPerGroup": 10,
    "PoliciesPerRole": 20,
    "PoliciesPerUser": 10,
    "PolicySize": 6144,
    "PolicyVersionsInUse": 10_000,  # managed policies that are attached to anybody, AWS's own among them
    "RolesPerAccount": 1000,
    "TagsPerResource": 50,
    "UsersPerAccount": 5000,
    "VersionsPerPolicy": 5,
}


def default_state_dir() -> Path:
    """`$XDG_DATA_HOME/longshore`, by default `~/.local/share/longshore`."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "longshore"


class Settings(Struct, frozen=True, kw_only=True):
    """`state` None: everything is kept in memory and forgotten at the end (tests, simulation)."""

    host: str = "127.0.0.1"
    port: int = 4570
    state: Path | None = None
    account: str = "123456789012"
    region: str = "us-east-1"
    machines: str = "memory"  # the kind of machine that EC2-shaped instances run on: memory, local
    vcpus: int | None = None  # what the machine offers in all; None: the host's, less a reserve
    memory_mib: int | None = None
    disk_gib: int | None = None  # what their disks may take; None: what the state's disk has free, less a reserve
    share: tuple[str, ...] = ()  # host paths that jobs may mount
    for_tests: bool = False
    privileged: bool = False  # whether `privileged: true` of a job is honoured
    idle_seconds: int = 300  # how long an instance without work stays
    join_seconds: int = 1800  # how long none of an environment's instances may fail to join before it is INVALID
    trail_days: int = 90  # how long calls stay on record, as CloudTrail's event history
    trail_records: int = 200_000  # and how many at most
    heartbeat_seconds: int = 30  # ACS heartbeats to an agent
    iam_quotas: Mapping[str, int] = {}  # where they differ from AWS's, `IAM_QUOTAS`
    root_access_key_id: str = ""
    root_secret_access_key: str = field(default="")
