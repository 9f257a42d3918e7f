"""Namespaces, mounts and address translation, each in a namespace of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from longshore.host import firewall, links
from longshore.host.links import Links, Rule, inside
from longshore.host.namespaces import name_network, new_network, remove_network

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
pytestmark = needs_root


def in_network(work: Callable[[], None]) -> None:
    """On a thread of its own, in a new network namespace; what it raises is raised here."""
    raised: list[BaseException] = []

    def run() -> None:
        network = new_network()
        try:
            with inside(network):
                work()
        except BaseException as error:
            raised.append(error)
        finally:
            os.close(network)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_thread_that_was_inside_is_outside_again() -> None:
    before = os.readlink("/proc/thread-self/ns/net")
    network = new_network()
    assert os.readlink("/proc/thread-self/ns/net") == before
    with pytest.raises(RuntimeError), inside(network):
        assert os.readlink("/proc/thread-self/ns/net") != before
        raise RuntimeError
    assert os.readlink("/proc/thread-self/ns/net") == before
    os.close(network)


def test_a_name_holds_a_network_until_it_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "names" / "one"
    network = new_network()
    inode = os.fstat(network).st_ino
    name_network(network, str(path))
    os.close(network)
    assert path.stat().st_ino == inode
    with pytest.raises(FileExistsError):
        name_network(new := new_network(), str(path))
    os.close(new)
    remove_network(str(path))
    remove_network(str(path))
    assert not path.exists() and str(tmp_path) not in Path("/proc/self/mounts").read_text()


def test_links_addresses_routes_and_rules() -> None:
    def work() -> None:
        other = new_network()
        with Links() as here:
            index = here.make_pair("one", peer="two", peer_network=other, mtu=1400, peer_address="02:00:00:00:00:01")
            with inside(other), Links() as there:
                two = there.index("two")
                assert two is not None
                there.up(two)
            here.add_address(index, "192.0.2.1")
            here.add_address(index, "192.0.2.1")
            here.add_route("192.0.2.2/32", index=index, hop_limit=3)
            here.add_route("default", index=index, gateway="192.0.2.9", table=77)
            here.add_route("198.51.100.0/24", table=77)
            for _ in range(2):
                here.set_rules([Rule(priority=10, table=links.MAIN, interface="one"), Rule(priority=20, table=77)])
            assert here.addresses() >= {"192.0.2.1"}
            assert here.has_default_route(77) and not here.has_default_route(78)
            assert said("ip", "route", "show", "table", "77").splitlines() == [
                "default via 192.0.2.9 dev one proto static onlink ",
                "unreachable 198.51.100.0/24 proto static ",
            ]
            assert "192.0.2.2 dev one proto static scope link hoplimit 3" in said("ip", "route")
            assert said("ip", "rule").split("\n")[1:3] == [
                "10:\tfrom all iif one lookup main",
                "20:\tfrom all lookup 77",
            ]
            here.remove_route("198.51.100.0/24", table=77)
            here.remove_route("198.51.100.0/24", table=77)
            with inside(other), Links() as there:
                assert set(there.names()) == {"lo", "two"}
                assert "02:00:00:00:00:01" in said("ip", "link", "show", "two")
            here.remove("one")
            here.remove("one")
            assert here.index("one") is None
            with inside(other), Links() as there:
                assert there.names() == ["lo"]
        os.close(other)

    in_network(work)


_BOTH = [
    pytest.param("nft", marks=pytest.mark.skipif(shutil.which("nft") is None, reason="no nft here")),
    pytest.param("iptables", marks=pytest.mark.skipif(shutil.which("iptables") is None, reason="no iptables here")),
]


@pytest.mark.parametrize("program", _BOTH)
def test_translation_is_in_rules_of_our_own(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = firewall._program
    monkeypatch.setattr(firewall, "_program", lambda name: None if name != program else found(name))

    def rules() -> str:
        if program == "nft":
            return said("nft", "list", "ruleset")
        return said("iptables", "-t", "nat", "-S") + said("iptables", "-S")

    def work() -> None:
        if program == "nft":
            said("nft", "add table ip theirs")
        else:
            said("iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "theirs", "-j", "MASQUERADE")
        before = rules()
        for _ in range(2):  # It may be repeated.
            firewall.masquerade("ours", out="out0")
        assert rules().count("out0") == 1 and rules() != before
        firewall.remove("ours", out="out0")
        firewall.masquerade("ours", source="192.0.2.7")
        assert "192.0.2.7" in rules() and "out0" not in rules()
        firewall.remove("ours", source="192.0.2.7")
        firewall.remove("ours", source="192.0.2.7")
        assert rules() == before

    in_network(work)


@pytest.mark.skipif(shutil.which("iptables") is None, reason="no iptables here")
def test_a_chain_that_drops_lets_our_link_through_and_one_that_does_not_is_left_alone() -> None:
    def work() -> None:
        before = said("iptables", "-S")
        firewall.pass_through("ours", "link0")
        assert said("iptables", "-S") == before
        said("iptables", "-P", "FORWARD", "DROP")  # As Docker does.
        before = said("iptables", "-S")
        for _ in range(2):
            firewall.pass_through("ours", "link0")
        after = [line for line in said("iptables", "-S").splitlines() if "link0" in line]
        assert len(after) == 2 and any("-i link0" in line for line in after)
        firewall.stop_passing_through("ours", "link0")
        assert said("iptables", "-S") == before

    in_network(work)


_MOUNTS = """
import os, sys
sys.path.insert(0, sys.argv[1])
from longshore.host import mounts, namespaces
namespaces.unshare(namespaces.CLONE_NEWNS)
mounts.make_private()
top = sys.argv[2]
os.chdir(top)
mounts.mount("tmpfs", "below/inner", options="size=1m")
open("below/inner/file", "w").close()
mounts.place_for("below", f"{top}/seen")
mounts.place_for("below/word", f"{top}/deep/word")
mounts.bind("below", f"{top}/seen", read_only=True, recursive=True)
mounts.bind("below/word", f"{top}/deep/word", read_only=True)
def writes(path):
    try:
        open(path, "a").close()
        return "written"
    except OSError as error:
        return error.strerror
for path in ("seen/word", "seen/inner/file", "deep/word", "below/word"):
    print(path, writes(path))
os.mkdir("root"); os.mkdir("root/mine")
mounts.bind(f"{top}/root", f"{top}/root")
namespaces.pivot_root(f"{top}/root")
print("root", os.listdir("/"), os.getcwd())
"""


def test_binds_restrict_what_is_below_them_and_an_old_root_is_gone(tmp_path: Path) -> None:
    (tmp_path / "below" / "inner").mkdir(parents=True)
    (tmp_path / "below" / "word").write_text("word")
    source = str(Path(firewall.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", _MOUNTS, source, str(tmp_path)], capture_output=True, text=True, timeout=30
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "seen/word Read-only file system",
        "seen/inner/file Read-only file system",
        "deep/word Read-only file system",
        "below/word written",
        "root ['mine'] /",
    ]
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
