"""Regions and their availability zones.

Source: EC2 user guide, "Regions and zones". Which letter is which zone differs between accounts at AWS; here it does not.
"""

from __future__ import annotations

from msgspec import Struct


class Zone(Struct, frozen=True):
    name: str  # us-east-1a
    zone_id: str  # use1-az6
    region: str
    number: int  # 0 for a


# region -> its long name, the prefix of its zone ids, and the number of each zone's id, in the order of the letters.
_REGIONS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "ap-northeast-1": ("Asia Pacific (Tokyo)", "apne1", (4, 1, 2)),
    "ap-northeast-2": ("Asia Pacific (Seoul)", "apne2", (1, 2, 3)),
    "ap-northeast-3": ("Asia Pacific (Osaka)", "apne3", (3, 1, 2)),
    "ap-south-1": ("Asia Pacific (Mumbai)", "aps1", (1, 3, 2)),
    "ap-southeast-1": ("Asia Pacific (Singapore)", "apse1", (1, 2, 3)),
    "ap-southeast-2": ("Asia Pacific (Sydney)", "apse2", (1, 3, 2)),
    "ca-central-1": ("Canada (Central)", "cac1", (1, 2, 4)),
    "eu-central-1": ("Europe (Frankfurt)", "euc1", (2, 3, 1)),
    "eu-north-1": ("Europe (Stockholm)", "eun1", (1, 2, 3)),
    "eu-west-1": ("Europe (Ireland)", "euw1", (1, 2, 3)),
    "eu-west-2": ("Europe (London)", "euw2", (2, 3, 1)),
    "eu-west-3": ("Europe (Paris)", "euw3", (1, 2, 3)),
    "sa-east-1": ("South America (Sao Paulo)", "sae1", (1, 2, 3)),
    "us-east-1": ("US East (N. Virginia)", "use1", (6, 1, 2, 4, 3, 5)),
    "us-east-2": ("US East (Ohio)", "use2", (1, 2, 3)),
    "us-west-1": ("US West (N. California)", "usw1", (1, 3)),
    "us-west-2": ("US West (Oregon)", "usw2", (1, 2, 3, 4)),
}

REGIONS = tuple(sorted(_REGIONS))


def long_name(region: str) -> str:
    return _REGIONS[region][0] if region in _REGIONS else region


def zones(region: str) -> list[Zone]:
    """The zones of a region, by letter. A region that AWS does not have gets three."""
    _, prefix, numbers = _REGIONS.get(region, (region, region.replace("-", ""), (1, 2, 3)))
    return [
        Zone(f"{region}{'abcdef'[index]}", f"{prefix}-az{number}", region, index)
        for index, number in enumerate(numbers)
    ]


def zone(name: str) -> Zone | None:
    return next((each for each in zones(name[:-1]) if each.name == name), None)
