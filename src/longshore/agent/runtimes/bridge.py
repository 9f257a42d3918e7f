"""The network mode `bridge`: a network of each container's own behind a bridge of the instance, and a way out through the
instance's address. All of it is in the instance's network namespace and goes with it.

    instance: eth0 --- longshore0 172.17.0.1/16 --- v-<hash> | container: eth0 172.17.0.x/16, default via 172.17.0.1

No port leads in. What the instance itself offers (the credentials endpoint on 169.254.170.2) is reached through the
bridge; the metadata service is one hop further away than for the instance, which is what its hop limit counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import shutil
import socket
import subprocess
from pathlib import Path

from msgspec import Struct

from longshore.agent.runtimes.base import ContainerError
from longshore.host import firewall, namespaces

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BRIDGE = "longshore0"
_NETWORK = ipaddress.IPv4Network("172.17.0.0/16")
_GATEWAY = _NETWORK[1]
_NAMED = Path("/run/netns")  # where the program `ip` looks for names


class Place(Struct, frozen=True):
    """A container's network. `path`: what stands for its namespace."""

    path: str
    address: str


class Bridge:
    """Blocks for some milliseconds at each call; one call at a time."""

    def __init__(self, folder: Path) -> None:
        """`folder`: where addresses are written down, one file a container, as long as the containers live."""
        self._folder = folder
        self._is_up = False

    def add(self, container_id: str) -> Place:
        """A network for a container, made anew. ContainerError, OSError: it can't be had."""
        self.remove(container_id)
        self._set_up()
        address = self._take_address(container_id)
        name, link = _name(container_id), _link(container_id)
        network = namespaces.new_network()
        try:
            namespaces.name_network(network, str(_NAMED / name))
        finally:
            os.close(network)
        _ip(
            [],
            f"link add {link} type veth peer name eth0 netns {name}",
            f"link set {link} master {_BRIDGE} up",
        )
        _ip(
            ["-n", name],
            "link set lo up",
            f"addr add {address}/{_NETWORK.prefixlen} dev eth0",
            "link set eth0 up",
            f"route add default via {_GATEWAY}",
        )
        return Place(path=str(_NAMED / name), address=address)

    def remove(self, container_id: str) -> None:
        """What is left of a container's network, if anything is."""
        if self.has(container_id):
            # It would go with the namespace, but some time after it.
            with contextlib.suppress(OSError):
                _ip([], f"link del {_link(container_id)}")
            namespaces.remove_network(str(_NAMED / _name(container_id)))
            (self._folder / container_id).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """The containers that have a network here."""
        return [file.name for file in self._folder.iterdir()] if self._folder.is_dir() else []

    def has(self, container_id: str) -> bool:
        return (self._folder / container_id).is_symlink()

    def _set_up(self) -> None:
        """The bridge and the way out. What is there already, from an earlier agent, stays."""
        if self._is_up:
            return
        if shutil.which("ip", path=_PATH) is None:
            raise _unavailable("the program `ip` (Debian: iproute2)")
        self._folder.mkdir(exist_ok=True, mode=0o700)
        if _BRIDGE not in {name for _, name in socket.if_nameindex()}:
            _ip([], f"link add {_BRIDGE} type bridge")
        _ip([], f"addr replace {_GATEWAY}/{_NETWORK.prefixlen} dev {_BRIDGE}", f"link set {_BRIDGE} up")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        way_out = _default_link(Path("/proc/net/route").read_text())
        if way_out is not None:
            if not firewall.is_there():
                raise _unavailable("nft or iptables (Debian: nftables)")
            # Also what the instance itself sends gets the address of the link by which it leaves, which it has anyway.
            firewall.masquerade(_BRIDGE, out=way_out)
        self._is_up = True

    def _take_address(self, container_id: str) -> str:
        """The lowest free one. Written down by a link, which exists whole or not at all, before anything has it."""
        taken = set()
        for file in self._folder.iterdir():
            with contextlib.suppress(OSError):
                taken.add(os.readlink(file))
        free = (str(address) for address in _NETWORK.hosts() if address != _GATEWAY)
        address = next((each for each in free if each not in taken), None)
        if address is None:
            raise _unavailable("a free address")
        (self._folder / container_id).symlink_to(address)
        return address


def _unavailable(what: str) -> ContainerError:
    return ContainerError(
        f"CannotCreateContainerError: Error response from daemon: network mode bridge needs {what} on the instance"
    )


def _default_link(routes: str) -> str | None:
    """The link of the default route. Pure: the text of /proc/net/route."""
    lines = (line.split() for line in routes.splitlines()[1:])
    return next((fields[0] for fields in lines if fields[1] == "00000000" and fields[7] == "00000000"), None)


def _name(container_id: str) -> str:
    return f"longshore-{_digest(container_id)}"


def _link(container_id: str) -> str:
    return f"v-{_digest(container_id)}"  # A link's name has at most 15 letters.


def _digest(container_id: str) -> str:
    return hashlib.sha256(container_id.encode()).hexdigest()[:12]


def _ip(options: list[str], *lines: str) -> None:
    done = subprocess.run(
        ["ip", *options, "-batch", "-"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        env={"PATH": _PATH},
    )
    if done.returncode != 0:
        said = next((line for line in done.stderr.splitlines() if line.strip()), f"exit status {done.returncode}")
        raise OSError(f"the container's network can't be made: {said}")
