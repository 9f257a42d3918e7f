"""The network that is only recorded: VPCs, subnets, security groups, and the default ones of each account and region.

The ids of a default network follow from account and region. So it can be shown before anything was written, and reads
stay reads; the first write that needs it writes it down.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable

from longshore.kit.call import Call
from longshore.services.ec2 import store
from longshore.services.ec2.records import SecurityGroup, Subnet, Vpc
from longshore.services.ec2.zones import zones

# VPC user guide, "Default VPCs": 172.31.0.0/16, with a /20 in each zone.
DEFAULT_CIDR = "172.31.0.0/16"
_SUBNET_PREFIX = 20
_RESERVED = 4  # VPC user guide: the first four addresses of a subnet and its last are not for instances.


class Default:
    """The default network of one account and region."""

    def __init__(self, account: str, region: str) -> None:
        def identifier(prefix: str, what: str) -> str:
            return f"{prefix}-" + hashlib.sha256(f"{account}/{region}/{what}".encode()).hexdigest()[:17]

        self.vpc = Vpc(
            vpc_id=identifier("vpc", "vpc"),
            cidr=DEFAULT_CIDR,
            association_id=identifier("vpc-cidr-assoc", "association"),
            is_default=True,
        )
        ranges = ipaddress.ip_network(DEFAULT_CIDR).subnets(new_prefix=_SUBNET_PREFIX)
        self.subnets = [
            Subnet(
                subnet_id=identifier("subnet", zone.name),
                vpc_id=self.vpc.vpc_id,
                cidr=str(cidr),
                zone=zone.name,
                is_default=True,
            )
            for zone, cidr in zip(zones(region), ranges)
        ]
        self.security_group = SecurityGroup(
            group_id=identifier("sg", "group"),
            group_name="default",
            description="default VPC security group",
            vpc_id=self.vpc.vpc_id,
        )


def ensure_default(call: Call) -> Default:
    """Writes the default network of the call's account and region down, if that was not done before. Only in a write."""
    default = Default(call.account, call.region)
    transaction, account, region = call.transaction, call.account, call.region
    if not store.is_settled(transaction, account, region):
        store.settle(transaction, account, region)
        store.add_resource(transaction, account, region, default.vpc.vpc_id, default.vpc)
        for subnet in default.subnets:
            store.add_resource(transaction, account, region, subnet.subnet_id, subnet)
        store.add_resource(transaction, account, region, default.security_group.group_id, default.security_group)
    return default


def vpcs(call: Call) -> list[Vpc]:

    return _listed(call, Vpc, lambda default: [default.vpc])


def subnets(call: Call) -> list[Subnet]:
    return _listed(call, Subnet, lambda default: default.subnets)


def security_groups(call: Call) -> list[SecurityGroup]:
    return _listed(call, SecurityGroup, lambda default: [default.security_group])


def _listed(call: Call, kind: type[store.R], implied: Callable[[Default], list[store.R]]) -> list[store.R]:
    if not store.is_settled(call.transaction, call.account, call.region):
        return implied(Default(call.account, call.region))
    return store.list_resources(call.transaction, call.account, call.region, kind)


def free_address(cidr: str, taken: set[str], start: int) -> str | None:
    """An address of the range that no living instance has, searched from the `start`-th on. None: all are taken.

    Not the lowest: an address that was just given free should not at once mean another instance.
    """
    network = ipaddress.ip_network(cidr)
    usable = network.num_addresses - _RESERVED - 1
    for step in range(usable):
        address = str(network[_RESERVED + (start + step) % usable])
        if address not in taken:
            return address
    return None


def free_addresses(cidr: str, taken: set[str]) -> int:
    """How many addresses of the range are left: AvailableIpAddressCount."""
    network = ipaddress.ip_network(cidr)
    used = sum(1 for address in taken if ipaddress.ip_address(address) in network)
    return network.num_addresses - _RESERVED - 1 - used


def holds(cidr: str, address: str) -> bool:
    """Whether the range has that address for instances."""
    network = ipaddress.ip_network(cidr)
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    # Only addresses of one family have an order; `in` says no to the other.
    return found in network and int(network[_RESERVED]) <= int(found) < int(network[-1])
