"""The network that instances live in: a namespace of its own, off the host's stack.

    instance  eth0 172.31.0.4/32                        fabric                                  host
              default via 169.254.1.1 ---- veth ----  169.254.1.1                             lsh-<name>
                                                      172.31.0.4/32 by this link               169.254.96.1
                                                      169.254.169.254  metadata                    |
                                                      169.254.169.253  the API   ---- veth ---- masquerade -> out
                                                                     `host0` 169.254.96.2

Each instance is a route to one address by one link. The fabric's reverse-path filter takes from a link only what has
that link's address as its source, so an address is as good as a name. Packets from instances look in a table of their own
which knows the way out and no other instance, so that instances don't reach each other though the fabric forwards.

Private ranges and 169.254.169.254 may be in use on the host, which may itself be a cloud instance. Hence what leaves the
fabric has been given the address of `host0`, and what leaves the host, the host's.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from longshore.host import firewall, links
from longshore.host.links import Links, Rule, inside
from longshore.host.namespaces import name_network, new_network, remove_network
from longshore.host.supervised import API, METADATA

log = structlog.get_logger("longshore.supervisor.fabric")

# Not /run/netns: what `ip netns` mounts there may cover, or double, what we have mounted.
NAMED = Path("/run/longshore")
GATEWAY = "169.254.1.1"
CREDENTIALS = "169.254.170.2"  # where an agent answers containers, inside the instance
_UPLINK = "host0"
_OUT = 100  # the table for packets from instances
_MTU = 1500
# Link-local addresses that no cloud and no protocol uses: /30 networks, the host's end first.
_RANGES = [f"169.254.{third}." for third in range(96, 112)]


class _Kept(Struct, frozen=True, kw_only=True):
    """fabric.json: what must be known to take the way out away again."""

    boot_id: str
    host_address: str | None = None


class Fabric:
    """All of it blocks, and enters namespaces: it is used on one thread of its own."""

    def __init__(self, state: Path, boot_id: str) -> None:
        digest = hashlib.sha256(os.fsencode(state.resolve())).hexdigest()[:8]
        self.name = f"longshore-{digest}"
        self.host_address: str | None = None
        self.way_out_fault: str | None = None
        self._place = NAMED / self.name
        self._host_link = f"{_HOST_PREFIX}{digest}"
        self._table = f"longshore_{digest}"
        self._state = state
        self._file = state / "fabric.json"
        self._boot_id = boot_id
        self._number = int(digest, 16)
        self._network = -1  # a descriptor
        self._links: Links
        self._mtu = _MTU

    def open(self, *, has_way_out: bool) -> bool:
        """Makes the fabric, or takes over the one that is there. Whether it was there."""
        _sweep()
        kept = self._read()
        was_there = kept is not None and self._place.exists()
        if not was_there:
            self._remove_name()
            self._network = new_network()
            NAMED.mkdir(exist_ok=True)
            _owner(self._place).write_text(str(self._state))
            name_network(self._network, str(self._place))
        else:
            self._network = os.open(self._place, os.O_RDONLY | os.O_CLOEXEC)
        with Links() as host:
            outside = host.default_interfaces()
        self._mtu = min((mtu for _, mtu in outside), default=_MTU)
        with inside(self._network):
            self._links = Links()
            self._settle()
        if kept is not None:
            self.host_address = kept.host_address
        self._write()
        if has_way_out:
            self._open_way_out()
        else:
            self._close_way_out()
        return was_there

    def close(self) -> None:
        """Descriptors alone: the fabric stays."""
        self._links.close()
        os.close(self._network)

    def remove(self) -> None:
        """All of it, the way out as well. Instances must have left."""
        self._close_way_out()
        self.close()
        self._remove_name()
        self._file.unlink(missing_ok=True)

    def listen(self) -> tuple[socket.socket, socket.socket]:
        """Sockets at METADATA and API. OSError: somebody has them already."""
        with inside(self._network):
            metadata, api = _listening(METADATA), _listening(API)
        # Answers of the metadata service go as far as the route to the instance says, those of the API anywhere.
        api.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 64)
        return metadata, api

    def join(self, network: int, instance_id: str, private_ip: str, *, mac: str | None, hop_limit: int) -> None:
        """Gives a new network namespace, by its descriptor, the address and a link to the fabric."""
        with inside(network):
            links.without_ipv6()
        with inside(self._network):
            self._links.remove(link_name(instance_id))
            index = self._links.make_pair(
                link_name(instance_id), peer="eth0", peer_network=network, mtu=self._mtu, peer_address=mac
            )
            self._links.add_address(index, GATEWAY)
            self._links.add_route(f"{private_ip}/32", index=index, hop_limit=hop_limit)
            self._links.add_route(f"{private_ip}/32", table=_OUT)
        with inside(network), Links() as there:
            loopback, eth0 = there.index("lo"), there.index("eth0")
            assert loopback is not None and eth0 is not None
            there.up(loopback)
            there.add_address(loopback, CREDENTIALS)
            there.add_address(eth0, private_ip)
            there.up(eth0)
            there.add_route("default", index=eth0, gateway=GATEWAY)

    def part(self, instance_id: str, private_ip: str) -> None:
        """Removes its link now: left to itself the kernel takes its time. The route goes with it."""
        self._links.remove(link_name(instance_id))
        self._links.remove_route(f"{private_ip}/32", table=_OUT)

    def joined(self) -> set[str]:
        """The names of the links that instances have, or have left behind."""
        return {name for name in self._links.names() if name.startswith(_PREFIX)}

    def remove_link(self, name: str) -> None:
        self._links.remove(name)

    def keep_way_out(self) -> None:
        """The host may leave by another link than when the fabric was made."""
        if self.host_address is not None and self.way_out_fault is None:
            try:
                self._make_host_forward()
            except (OSError, links.LinkError) as error:
                log.warning("the way out may be closed", error=str(error))

    def _settle(self) -> None:
        """The fabric's own rules, in its namespace. May be repeated."""
        links.without_ipv6()
        for name, value in (
            ("ip_forward", "1"),
            ("conf/all/rp_filter", "1"),
            ("conf/default/rp_filter", "1"),
            ("conf/all/accept_redirects", "0"),
            ("conf/all/send_redirects", "0"),
            ("conf/default/send_redirects", "0"),
            ("icmp_ratelimit", "0"),  # What can't be reached is told at once, each time.
        ):
            links.set_setting(name, value)
        loopback = self._links.index("lo")
        assert loopback is not None
        self._links.up(loopback)
        for address in (METADATA[0], API[0]):
            self._links.add_address(loopback, address)
        # Before any link is there, so that there is no moment without them.
        self._links.set_rules(
            [
                Rule(priority=100, table=links.MAIN, interface="lo"),
                Rule(priority=101, table=links.MAIN, interface=_UPLINK),
                Rule(priority=200, table=_OUT),
            ]
        )
        if not self._links.has_default_route(_OUT):
            self._links.add_route("default", table=_OUT)

    def _open_way_out(self) -> None:
        try:
            with Links() as host:
                if host.index(self._host_link) is None or self.host_address is None:
                    self._link_to_host(host)
            host_end, fabric_end = _ends(self.host_address)
            with inside(self._network):
                index = self._links.index(_UPLINK)
                assert index is not None
                self._links.add_address(index, fabric_end, 30)
                self._links.up(index)
                for table in (links.MAIN, _OUT):
                    self._links.add_route("default", index=index, gateway=host_end, table=table)
                firewall.masquerade(self._table, out=_UPLINK)
            firewall.masquerade(self._table, source=fabric_end)
            firewall.pass_through(self._table, self._host_link)
            self._make_host_forward()
        except (firewall.NoFirewall, OSError, links.LinkError) as error:
            # Jobs that need nothing from outside run all the same.
            self.way_out_fault = str(error)
            log.warning("no way out for instances", error=str(error))

    def _link_to_host(self, host: Links) -> None:
        host.remove(self._host_link)
        self.host_address = self._free_address(host)
        self._write()
        index = host.make_pair(self._host_link, peer=_UPLINK, peer_network=self._network, mtu=self._mtu)
        host.add_address(index, self.host_address, 30)

    def _free_address(self, host: Links) -> str:
        taken = host.addresses()
        networks = [f"{prefix}{last}" for prefix in _RANGES for last in range(1, 256, 4)]
        start = self._number % len(networks)
        return next(each for each in networks[start:] + networks[:start] if each not in taken)

    def _make_host_forward(self) -> None:
        """Our link and the ones that lead out; the host as a whole is not made a router."""
        links.set_setting(f"conf/{self._host_link}/forwarding", "1")
        with Links() as host, _shared() as ours:
            for name, _ in host.default_interfaces():
                if links.setting(f"conf/{name}/forwarding") == "0":
                    # Written down first: what is changed is changed back, whenever we end.
                    ours.write_text(ours.read_text() + f"{name}\n" if ours.exists() else f"{name}\n")
                    links.set_setting(f"conf/{name}/forwarding", "1")

    def _close_way_out(self) -> None:
        if self.host_address is not None:
            _, fabric_end = _ends(self.host_address)
            with contextlib.suppress(firewall.NoFirewall):
                firewall.stop_passing_through(self._table, self._host_link)
                firewall.remove(self._table, source=fabric_end)
        _remove_host_link(self._host_link)
        if self.host_address is not None:
            self.host_address = None
            self._links.add_route("default", table=_OUT)
        self._write()

    def _remove_name(self) -> None:
        if self._place.exists():
            remove_network(str(self._place))
        _owner(self._place).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # Another one's name is still there, or there was none.
            NAMED.rmdir()

    def _read(self) -> _Kept | None:
        """None: there is no fabric yet, or it went with an earlier life of the host."""
        try:
            kept = msgspec.json.decode(self._file.read_bytes(), type=_Kept)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return kept if kept.boot_id == self._boot_id else None

    def _write(self) -> None:
        kept = _Kept(boot_id=self._boot_id, host_address=self.host_address)
        draft = self._file.with_suffix(".draft")
        # The state folder may have been deleted: then all that is told of goes too.
        with contextlib.suppress(FileNotFoundError):
            draft.write_bytes(msgspec.json.encode(kept))
            draft.rename(self._file)


_PREFIX = "ls"
_HOST_PREFIX = "lsh-"


@contextlib.contextmanager
def _shared() -> Iterator[Path]:
    """The names of the host's links that were made to forward, for whichever supervisor is the last to need it.

    A file of lines, if there are any. One supervisor at a time.
    """
    NAMED.mkdir(exist_ok=True)
    folder = os.open(NAMED, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield NAMED / "forwarding"
    finally:
        os.close(folder)


def _owner(place: Path) -> Path:
    """The file that names the state folder of the fabric at `place`."""
    return place.with_name(f"{place.name}.state")


def _sweep() -> None:
    """Fabrics whose state folder was deleted under a supervisor that was killed: no start of theirs will come."""
    for owner in NAMED.glob("*.state"):
        if Path(owner.read_text()).exists():
            continue
        name = owner.name.removesuffix(".state")
        digest = name.rpartition("-")[2]
        log.warning("remains of a fabric", fabric=name)
        with contextlib.suppress(firewall.NoFirewall):
            firewall.remove(f"longshore_{digest}")
        _remove_host_link(f"{_HOST_PREFIX}{digest}")
        remove_network(str(NAMED / name))
        owner.unlink(missing_ok=True)


def _remove_host_link(name: str) -> None:
    """With the last of them the host's links stop forwarding, if it was us who made them."""
    with Links() as host, _shared() as ours:
        host.remove(name)
        others = [each for each in host.names() if each.startswith(_HOST_PREFIX)]
        if not others and ours.exists():
            _stop_forwarding(ours.read_text().split())
            ours.unlink()


def _stop_forwarding(names: list[str]) -> None:
    # Somebody has made the host a router meanwhile: then the links are theirs as well.
    if links.setting("conf/all/forwarding") == "0":
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                links.set_setting(f"conf/{name}/forwarding", "0")


def link_name(instance_id: str) -> str:
    """Links have names of at most 15 letters."""
    return _PREFIX + instance_id.removeprefix("i-")[-12:]


def _ends(host_address: str | None) -> tuple[str, str]:
    assert host_address is not None
    prefix, _, last = host_address.rpartition(".")
    return host_address, f"{prefix}.{int(last) + 1}"


def _listening(address: tuple[str, int]) -> socket.socket:
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
        door.listen(1024)
    except OSError:
        door.close()
        raise
    return door
