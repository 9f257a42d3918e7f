"""Links, addresses and routes of network namespaces. For the supervisor alone: it needs root, and pyroute2.

All of it blocks for a millisecond or two, and is run on a thread of its own, since a thread is what enters a namespace.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from longshore.host.namespaces import CLONE_NEWNET, enter

LinkError = NetlinkError  # what the kernel refused
MAIN = 254  # the routing table of this name


class Rule(Struct, frozen=True, kw_only=True):
    """Packets that came in by `interface` (`lo`: made here; None: all) look in `table`."""

    priority: int
    table: int
    interface: str | None = None


@contextlib.contextmanager
def inside(descriptor: int) -> Iterator[None]:
    """The calling thread is in the network namespace of the descriptor meanwhile."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(descriptor, CLONE_NEWNET)
        try:
            yield
        finally:
            enter(before, CLONE_NEWNET)
    finally:
        os.close(before)


class Links:
    """The links of one namespace. Made inside it, it stays bound to it wherever the thread goes."""

    def __init__(self) -> None:
        self._netlink: Any = IPRoute()

    def close(self) -> None:
        self._netlink.close()

    def __enter__(self) -> Links:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def index(self, name: str) -> int | None:
        """None: there is no such link."""
        found = self._netlink.link_lookup(ifname=name)
        return found[0] if found else None

    def names(self) -> list[str]:
        return [link.get_attr("IFLA_IFNAME") for link in self._netlink.get_links()]

    def make_pair(
        self, name: str, *, peer: str, peer_network: int | None = None, mtu: int | None = None,
        peer_address: str | None = None,
    ) -> int:  # fmt: skip
        """Two linked ends: `name` here, up; `peer` in the namespace of the descriptor. The index of the end here.

        `peer_address` is the link-layer address of the peer.
        """
        there: dict[str, Any] = {"ifname": peer}
        here: dict[str, Any] = {}
        if peer_network is not None:
            there["net_ns_fd"] = peer_network
        if peer_address is not None:
            there["address"] = peer_address
        if mtu is not None:
            here["mtu"] = there["mtu"] = mtu
        self._netlink.link("add", ifname=name, kind="veth", peer=there, **here)
        index = self.index(name)
        assert index is not None
        self.up(index)
        return index

    def up(self, index: int) -> None:
        self._netlink.link("set", index=index, state="up")

    def remove(self, name: str) -> None:
        """The other end goes too. One that is not there is already gone."""
        index = self.index(name)
        if index is not None:
            with contextlib.suppress(NetlinkError):
                self._netlink.link("del", index=index)

    def add_address(self, index: int, address: str, prefix: int = 32) -> None:
        self._netlink.addr("replace", index=index, address=address, prefixlen=prefix)

    def addresses(self) -> set[str]:
        return {found.get_attr("IFA_ADDRESS") for found in self._netlink.get_addr(family=2)}

    def add_route(
        self, destination: str, *, index: int | None = None, gateway: str | None = None, table: int = MAIN,
        hop_limit: int | None = None,
    ) -> None:  # fmt: skip
        """`destination`: `10.0.0.1/32`, `default`. Without index and gateway: what goes there is refused."""
        said: dict[str, Any] = {"dst": _network(destination), "table": table, "family": 2}
        if index is None and gateway is None:
            said["type"] = "unreachable"
        if index is not None:
            said["oif"] = index
        if gateway is not None:
            said["gateway"] = gateway
            said["flags"] = ["onlink"]  # The gateway is on the link though no address of ours says so.
        elif index is not None:
            said["scope"] = "link"
        if hop_limit is not None:
            said["metrics"] = {"hoplimit": hop_limit}
        self._netlink.route("replace", **said)

    def remove_route(self, destination: str, *, table: int = MAIN) -> None:
        """One that is not there is already gone."""
        with contextlib.suppress(NetlinkError):
            self._netlink.route("del", dst=_network(destination), table=table, family=2, type="unreachable")

    def has_default_route(self, table: int) -> bool:
        return bool(self._default_routes(table))

    def set_rules(self, rules: list[Rule]) -> None:
        """Instead of the ones that are there; the kernel's own first one, for local addresses, stays."""
        for rule in rules:
            said: dict[str, Any] = {"priority": rule.priority, "table": rule.table}
            if rule.interface is not None:
                said["iifname"] = rule.interface
            with contextlib.suppress(NetlinkError):  # EEXIST: set before
                self._netlink.rule("add", **said)
        kept = {0, *(rule.priority for rule in rules)}
        for found in self._netlink.get_rules(family=2):
            priority = found.get_attr("FRA_PRIORITY") or 0
            if priority not in kept:
                self._netlink.rule("del", priority=priority, table=found.get_attr("FRA_TABLE"))

    def default_interfaces(self) -> list[tuple[str, int]]:
        """(name, MTU) of the links that the default routes leave by."""
        indices = {route.get_attr("RTA_OIF") for route in self._default_routes(MAIN)}
        links = self._netlink.get_links(*sorted(index for index in indices if index is not None)) if indices else []
        return [(link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_MTU")) for link in links]

    def _default_routes(self, table: int) -> list[Any]:
        routes = self._netlink.get_routes(family=2)
        return [route for route in routes if route["dst_len"] == 0 and route.get_attr("RTA_TABLE") == table]


def _network(destination: str) -> str:
    return "0.0.0.0/0" if destination == "default" else destination


def setting(name: str) -> str | None:
    """A value of /proc/sys/net/ipv4 in the calling thread's namespace; None: it has none of this name."""
    try:
        return Path("/proc/sys/net/ipv4", name).read_text().strip()
    except FileNotFoundError:
        return None


def set_setting(name: str, value: str) -> None:
    Path("/proc/sys/net/ipv4", name).write_text(value)


def without_ipv6() -> None:
    """No IPv6 on links that are made from now on in the calling thread's namespace: it would only be noise."""
    for which in ("all", "default"):
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            Path("/proc/sys/net/ipv6/conf", which, "disable_ipv6").write_text("1")
