"""What a host lacks is told, with the way to get it."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from longshore.supervisor.check import Host, check, file_system_of, kernel_version, missing

_V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
_WHOLE = Host(
    system="linux",
    is_root=False,
    has=lambda name: name != "dnf",
    file_systems="nodev\tproc\nnodev\toverlay\n\text4\n",
    mounts=_V2,
    controllers="cpuset cpu io memory pids",
    state_kind="ext4",
    has_resolver=True,
    has_loops=True,
    users_max=1000,
    kernel=(6, 1),
)


def told(host: Host, **more: bool) -> list[str]:
    return [each.what.split(":")[0] for each in missing(host, **{"has_way_out": True, **more})]


def without(*names: str) -> Host:
    return replace(_WHOLE, has=lambda name: name not in names)


def test_a_host_that_has_all_lacks_nothing() -> None:
    assert missing(_WHOLE, has_way_out=True) == []
    assert missing(replace(without("sudo"), is_root=True), has_way_out=True) == []


def test_what_is_missing_is_told_with_the_way_to_get_it() -> None:
    (found,) = missing(without("crun"), has_way_out=True)
    assert (found.what, found.how) == ("crun, which runs containers", "`apt-get install -y crun` as root")
    (found,) = missing(without("crun", "apt-get"), has_way_out=True)
    assert found.how == "`dnf install -y crun` as root"
    assert told(without("sudo")) == ["root"]
    assert told(replace(_WHOLE, file_systems="nodev\tproc\n")) == ["the overlay file system"]
    assert told(replace(_WHOLE, controllers="cpu pids"))[0] == "control groups"
    assert missing(replace(_WHOLE, controllers="cpu pids"), has_way_out=True)[0].what.endswith("memory")
    assert told(replace(_WHOLE, mounts=""))[0] == "control groups"
    assert "on an overlay itself" in missing(replace(_WHOLE, state_kind="overlay"), has_way_out=True)[0].what
    assert told(replace(_WHOLE, system="darwin")) == ["Linux"]


def test_what_machines_work_without_is_told_as_such() -> None:
    lacking = replace(without("nft", "iptables", "skopeo", "umoci"), has_resolver=False)
    found = missing(lacking, has_way_out=True)
    assert [each.is_needed for each in found] == [False] * 4
    assert told(lacking, has_way_out=False) == ["skopeo", "umoci"]
    assert told(without("nft")) == []


def test_what_keeps_an_instance_to_itself_is_told_where_it_is_missing() -> None:
    lacking = replace(without("mkfs.ext4"), users_max=0)
    found = missing(lacking, has_way_out=True)
    assert [(each.is_needed, each.how) for each in found] == [
        (False, "`sysctl user.max_user_namespaces=10000`"), (False, "`apt-get install -y e2fsprogs` as root"),
    ]  # fmt: skip
    assert missing(replace(_WHOLE, kernel=(5, 15)), has_way_out=True)[0].how == "Linux 5.19 or later"
    assert missing(replace(_WHOLE, has_loops=False), has_way_out=True)[0].how == "`modprobe loop` as root"
    assert [kernel_version(each) for each in ("6.1.0-13-amd64", "5.15", "6.18.44-fc-v669", "7")] == [
        (6, 1), (5, 15), (6, 18), (7, 0),
    ]  # fmt: skip


def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount() -> None:
    mountinfo = (
        "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "21 20 0:5 / /var rw - tmpfs tmpfs rw\n"
        "22 21 0:6 / /var/lib/with\\040space rw shared:1 - overlay overlay rw\n"
    )
    assert file_system_of(Path("/home/anna/state"), mountinfo) == "ext4"
    assert file_system_of(Path("/variable"), mountinfo) == "ext4"
    assert file_system_of(Path("/var/lib/longshore"), mountinfo) == "tmpfs"
    assert file_system_of(Path("/var/lib/with space/longshore"), mountinfo) == "overlay"


def test_this_host_is_looked_at_without_changing_it(tmp_path: Path) -> None:
    assert all(each.what and each.how for each in check(tmp_path / "not there"))
    assert not (tmp_path / "not there").exists()
