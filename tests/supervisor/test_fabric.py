"""The network of instances, tried from inside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from longshore.host import links
from longshore.host.links import Links, set_setting
from longshore.host.namespaces import new_network
from longshore.host.supervised import API, METADATA, Refused, Standing
from machines_of_host import inside, needs_root, on_a_host_of_its_own, order, python_inside, supervised

pytestmark = needs_root


@contextlib.contextmanager
def answering(door: socket.socket) -> Iterator[None]:
    """Tells everyone who connects by which address they came."""
    door.setblocking(True)
    door.settimeout(None)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                guest, (address, _) = door.accept()
                guest.sendall(address.encode())
                guest.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        door.shutdown(socket.SHUT_RDWR)
        thread.join()
        door.close()


def asking(address: str, port: int, *, source: str = "", limit: float = 1.0) -> str:
    """A program: what the one at the address says, or why nothing."""
    return f"""
import socket
end = socket.socket()
end.settimeout({limit})
try:
    if {source!r}:
        end.bind(({source!r}, 0))
    end.connect(({address!r}, {port}))
    print(end.recv(100).decode())
except OSError as error:
    print(type(error).__name__, error.strerror)
"""


def test_an_instance_is_known_by_its_link(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            first, second = await here.connection.launch(order(1)), await here.connection.launch(order(2))
            metadata, api = await here.connection.listeners()
            with answering(metadata), answering(api):
                for standing in (first, second):
                    for address in (METADATA, API):
                        assert python_inside(standing, asking(*address)).strip() == standing.private_ip
                # With another's address, or one that nobody has, no answer comes.
                for taken in (second.private_ip, "172.31.9.9", "8.8.8.8"):
                    inside(first, f"ip address add {taken}/32 dev eth0")
                    assert "TimeoutError" in python_inside(first, asking(*METADATA, source=taken))
                assert python_inside(second, asking(*METADATA)).strip() == second.private_ip
                with pytest.raises(Refused, match="Address already in use"):
                    await here.connection.listeners()
            # A server that starts anew gets them anew.
            for each in await here.connection.listeners():
                each.close()

    asyncio.run(run())


def test_instances_do_not_reach_each_other_nor_the_hosts_loopback(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state", has_way_out=True) as here:
            first, second = await here.connection.launch(order(1)), await here.connection.launch(order(2))
            listening = "import socket; door = socket.create_server(('', 8080)); door.accept()"
            inside(second, f'(python3 -c "{listening}" &) < /dev/null > /dev/null 2>&1; sleep 0.2')
            assert "OSError" in (said := python_inside(first, asking(second.private_ip, 8080))), said
            # Nor round the route that forbids it, by way of the fabric's own addresses.
            for gateway in ("169.254.1.1", METADATA[0]):
                inside(first, f"ip route replace {second.private_ip}/32 via {gateway} dev eth0 onlink")
                assert "Error" in python_inside(first, asking(second.private_ip, 8080))
            with socket.create_server(("127.0.0.1", 0)) as door:
                port = door.getsockname()[1]
                about = await here.connection.about()
                assert about.host_address is not None
                for address in ("127.0.0.1", about.host_address):
                    assert "ConnectionRefusedError" in python_inside(first, asking(address, port))

    asyncio.run(run())


def test_the_way_out_leads_to_the_host_and_past_it(tmp_path: Path) -> None:
    """A neighbour of the host's, in a namespace of its own, sees the host and not the instance."""

    async def run() -> None:
        async with supervised(tmp_path / "state", has_way_out=True) as here:
            standing = await here.connection.launch(order())
            about = await here.connection.about()
            assert about.way_out_fault is None
            with socket.create_server(("0.0.0.0", 0)) as door:
                port = door.getsockname()[1]
                with answering(door.dup()):
                    name = "host.longshore.internal"
                    said = python_inside(standing, asking(name, port)).strip()
                    assert said.startswith(
                        "169.254."
                    )  # The fabric's end: the instance's address means nothing outside.
            assert python_inside(standing, asking(address, 9000)).strip() == "198.51.100.1"

    with _neighbour() as address:
        asyncio.run(run())


def test_without_a_way_out_nothing_leaves(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            standing = await here.connection.launch(order())
            about = await here.connection.about()
            assert about.host_address is None and about.way_out_fault is None
            for address in ("198.51.100.2", "192.0.2.1", "169.254.96.1"):
                assert "Error" in (said := python_inside(standing, asking(address, 80))), said

    asyncio.run(run())


@on_a_host_of_its_own
def test_what_the_host_had_set_is_as_it_was(tmp_path: Path) -> None:
    def settings() -> dict[str, str]:
        files = Path("/proc/sys/net/ipv4").glob("conf/*/forwarding")
        return {str(path): path.read_text() for path in (*files, Path("/proc/sys/net/ipv4/ip_forward"))}

    def rules() -> str:
        return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout

    async def run() -> None:
        async with supervised(tmp_path / "state", has_way_out=True) as here:
            await here.connection.launch(order())
            meanwhile.append(settings())

    meanwhile: list[dict[str, str]] = []
    before = settings(), rules()
    asyncio.run(run())
    assert (settings(), rules()) == before
    assert meanwhile[0]["/proc/sys/net/ipv4/conf/out0/forwarding"] == "1\n"
    assert meanwhile[0]["/proc/sys/net/ipv4/ip_forward"] == before[0]["/proc/sys/net/ipv4/ip_forward"]


@on_a_host_of_its_own
def test_the_first_of_two_to_end_leaves_the_other_its_way_out(tmp_path: Path) -> None:
    def forwarding() -> dict[str, str]:
        return {str(path): path.read_text() for path in Path("/proc/sys/net/ipv4/conf").glob("*/forwarding")
                if "lsh-" not in str(path)}  # fmt: skip

    async def run() -> None:
        async with supervised(tmp_path / "first", has_way_out=True):
            second = supervised(tmp_path / "second", has_way_out=True)
            there = await second.__aenter__()
            both.append(forwarding())
            assert (await there.connection.about()).host_address is not None
        both.append(forwarding())
        await second.__aexit__(None, None, None)

    before, both = forwarding(), []
    asyncio.run(run())
    assert both[0] == both[1]
    assert forwarding() == before


def test_answers_of_the_metadata_service_go_no_further_than_the_hop_limit(tmp_path: Path) -> None:
    """A container behind a bridge is one hop further than the instance."""
    bridge = """
ip netns add behind && ip link add inner type veth peer name outer netns behind
ip address add 10.9.0.1/24 dev inner && ip link set inner up
ip netns exec behind ip address add 10.9.0.2/24 dev outer && ip netns exec behind ip link set outer up
ip netns exec behind ip route add default via 10.9.0.1
echo 1 > /proc/sys/net/ipv4/ip_forward
"""

    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            near, far = await here.connection.launch(order(1)), await here.connection.launch(order(2, hop_limit=2))
            metadata, api = await here.connection.listeners()
            with answering(metadata), answering(api):
                for standing in (near, far):
                    # Without translation on the way the fabric would not take what comes from 10.9.0.2.
                    inside(standing, bridge + _TRANSLATION)
                program = asking(*METADATA)
                assert "TimeoutError" in _behind(near, program)
                assert _behind(far, program).strip() == far.private_ip
                assert _behind(near, asking(*API)).strip() == near.private_ip

    asyncio.run(run())


_TRANSLATION = """
nft -f - <<'END'
table ip t {
  chain c {
    type nat hook postrouting priority 100
    ip saddr 10.9.0.2 masquerade
  }
}
END
"""


def _behind(standing: Standing, program: str) -> str:
    return inside(
        standing, f"cat > /tmp/program <<'END'\n{program}\nEND\nip netns exec behind python3 -I -S /tmp/program"
    )


@contextlib.contextmanager
def _neighbour() -> Iterator[str]:
    """Someone on a network of the host's, who says who came, at port 9000."""
    link = f"lsn{os.getpid()}"
    network = new_network()
    try:
        with Links() as host:
            index = host.make_pair(link, peer="out", peer_network=network)
            host.add_address(index, "198.51.100.1", 24)
        set_setting(f"conf/{link}/forwarding", "1")
        with links.inside(network):
            with Links() as there:
                out = there.index("out")
                assert out is not None
                there.add_address(out, "198.51.100.2", 24)
                there.up(out)
            door = socket.create_server(("198.51.100.2", 9000))
        with answering(door):
            yield "198.51.100.2"
    finally:
        os.close(network)
        with Links() as host:
            host.remove(link)
