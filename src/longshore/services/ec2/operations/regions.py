"""Regions and availability zones."""

from __future__ import annotations

from longshore.aws.errors import AwsError
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.ec2 import rules
from longshore.services.ec2.selection import Values, select
from longshore.services.ec2.zones import REGIONS, Zone, long_name, zones

_OPT_IN = "opt-in-not-required"


@operation
def describe_regions(call: Call, request: Request) -> Response:
    rules.check_dry_run(request)
    names = request.get("RegionNames") or list(REGIONS)
    for name in names:
        if name not in REGIONS:
            raise AwsError("InvalidParameterValue", f"Invalid region name(s) provided: [{name}]")
    found = select(names, request.get("Filters"), _REGION_FILTERS)
    return {"Regions": [{"RegionName": name, "Endpoint": _endpoint(name), "OptInStatus": _OPT_IN} for name in found]}


@operation
def describe_availability_zones(call: Call, request: Request) -> Response:
    """Source of the shape: recordings of the real AWS (wire facts, EC2)."""
    rules.check_dry_run(request)
    found = zones(call.region)
    for member, read in (("ZoneNames", _name), ("ZoneIds", _zone_id)):
        wanted = request.get(member) or []
        known = {read(zone) for zone in found}
        for each in wanted:
            if each not in known:
                raise AwsError("InvalidParameterValue", f"Invalid availability zone: [{each}]")
        if wanted:
            found = [zone for zone in found if read(zone) in wanted]
    return {"AvailabilityZones": [_shown(zone) for zone in select(found, request.get("Filters"), _ZONE_FILTERS)]}


def _name(zone: Zone) -> str:
    return zone.name


def _zone_id(zone: Zone) -> str:
    return zone.zone_id


def _endpoint(region: str) -> str:
    return f"ec2.{region}.amazonaws.com"


def _shown(zone: Zone) -> Response:
    return {
        "OptInStatus": _OPT_IN,
        "Messages": [],
        "RegionName": zone.region,
        "ZoneName": zone.name,
        "ZoneId": zone.zone_id,
        "GroupName": f"{zone.region}-zg-1",
        "GroupLongName": f"{long_name(zone.region)} 1",
        "NetworkBorderGroup": zone.region,
        "ZoneType": "availability-zone",
        "State": "available",
    }


_REGION_FILTERS: Values[str] = {
    "region-name": lambda name: [name],
    "endpoint": lambda name: [_endpoint(name)],
    "opt-in-status": lambda name: [_OPT_IN],
}
_ZONE_FILTERS: Values[Zone] = {
    "group-name": lambda zone: [f"{zone.region}-zg-1"],
    "opt-in-status": lambda zone: [_OPT_IN],
    "region-name": lambda zone: [zone.region],
    "state": lambda zone: ["available"],
    "zone-id": lambda zone: [zone.zone_id],
    "zone-name": lambda zone: [zone.name],
    "zone-type": lambda zone: ["availability-zone"],
    "message": lambda zone: [],
}
