"""The OCI configuration and the seccomp filter: pure."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from longshore.agent.runtimes import oci
from longshore.agent.runtimes.base import ContainerError, ContainerSpec, Device, Tmpfs, Ulimit
from longshore.agent.runtimes.crun import pids_for
from longshore.agent.runtimes.oci import Bind, DeviceNode, Facts, Identity, identify
from longshore.agent.runtimes.seccomp import seccomp_filter
from longshore.host.image_names import UnpackedImage

IMAGE = UnpackedImage(digest="sha256:1")
FACTS = Facts(machine="x86_64", hostname="ip-10-0-0-1", capabilities=tuple(oci.CAPABILITIES), nofile_max=1 << 20)
PASSWD = "root:x:0:0:root:/root:/bin/sh\nworker:x:1000:1001::/home/worker:\n77:x:5:6::/seven:\nbroken\n"
GROUP = "root:x:0:\nworkers:x:1001:worker\nstaff:x:50:worker,other\nnonsense\n"


def spec(**more: Any) -> ContainerSpec:
    names = {"container_id": "t-c", "task_id": "t", "name": "c", "image": "x", "command": ("true",)}
    return ContainerSpec(**{**names, **more})


def configuration(image: UnpackedImage = IMAGE, facts: Facts = FACTS, binds: tuple[Bind, ...] = (), **more: Any) -> Any:
    return oci.configuration(spec(**more), image, facts, rootfs="/rootfs", binds=binds)


def refusal(**more: Any) -> str:
    with pytest.raises(ContainerError) as error:
        configuration(**more)
    text = str(error.value)
    before = "CannotCreateContainerError: Error response from daemon: "
    assert text.startswith(before)
    return text.removeprefix(before)


@pytest.mark.parametrize(
    ("entry_point", "command", "expected"),
    [
        (None, None, ["entry", "default"]),
        (None, ("given",), ["entry", "given"]),
        (None, (), ["entry"]),
        (("own",), None, ["own"]),
        (("own",), ("given",), ["own", "given"]),
        ((), ("given",), ["given"]),
    ],
)
def test_an_entry_point_of_its_own_leaves_nothing_of_the_images_command(
    entry_point: tuple[str, ...] | None, command: tuple[str, ...] | None, expected: list[str]
) -> None:
    image = UnpackedImage(digest="d", entry_point=("entry",), command=("default",))
    assert configuration(image, entry_point=entry_point, command=command)["process"]["args"] == expected


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", Identity(uid=0, gid=0, home="/root")),
        ("root", Identity(uid=0, gid=0, home="/root")),
        ("worker", Identity(uid=1000, gid=1001, groups=(50,), home="/home/worker")),
        ("1000", Identity(uid=1000, gid=1001, groups=(50,), home="/home/worker")),
        ("worker:staff", Identity(uid=1000, gid=50, home="/home/worker")),
        ("worker:7", Identity(uid=1000, gid=7, home="/home/worker")),
        ("4242", Identity(uid=4242, gid=0)),
        ("4242:4243", Identity(uid=4242, gid=4243)),
        ("77", Identity(uid=5, gid=6, home="/seven")),
    ],
)
def test_users_are_those_of_the_image(user: str, expected: Identity) -> None:
    assert identify(user, PASSWD, GROUP) == expected


def test_who_is_not_there_is_nobody() -> None:
    assert refusal(user="who") == "unable to find user who: no matching entries in passwd file"
    assert refusal(user="0:who") == "unable to find group who: no matching entries in group file"
    assert refusal(user="4294967295") == "user id 4294967295 is not between 0 and 2147483647"
    assert refusal(user="-1") == "unable to find user -1: no matching entries in passwd file"


def test_the_environment_is_the_images_then_the_containers() -> None:
    image = UnpackedImage(digest="d", environment=("PATH=/opt", "A=image", "B=x=y"), passwd=PASSWD)
    process = configuration(image, environment={"A": "own", "EMPTY": ""})["process"]
    assert process["env"] == ["PATH=/opt", "HOSTNAME=ip-10-0-0-1", "A=own", "B=x=y", "EMPTY=", "HOME=/root"]
    assert "HOME=/elsewhere" in configuration(environment={"HOME": "/elsewhere"})["process"]["env"]


def test_dockers_default_capabilities_are_the_default() -> None:
    sets = configuration()["process"]["capabilities"]
    assert set(sets) == {"bounding", "effective", "permitted"}  # Neither inheritable nor ambient.
    assert set(sets["effective"]) == oci.DEFAULT_CAPABILITIES
    assert configuration(user="1000")["process"]["capabilities"]["effective"] == []


@pytest.mark.parametrize(
    ("added", "dropped", "gained", "lost"),
    [
        (("SYS_PTRACE",), ("MKNOD",), {"CAP_SYS_PTRACE"}, {"CAP_MKNOD"}),
        (("cap_sys_ptrace",), (), {"CAP_SYS_PTRACE"}, set()),
        (("KILL",), ("ALL",), set(), oci.DEFAULT_CAPABILITIES - {"CAP_KILL"}),
        (("ALL",), ("SYS_ADMIN",), set(oci.CAPABILITIES) - oci.DEFAULT_CAPABILITIES - {"CAP_SYS_ADMIN"}, set()),
    ],
)
def test_capabilities_are_added_and_dropped(
    added: tuple[str, ...], dropped: tuple[str, ...], gained: set[str], lost: set[str]
) -> None:
    held = set(
        configuration(capabilities_added=added, capabilities_dropped=dropped)["process"]["capabilities"]["bounding"]
    )
    assert held == (oci.DEFAULT_CAPABILITIES | gained) - lost


def test_what_the_instance_lacks_is_not_given() -> None:
    few = Facts(machine="x86_64", hostname="h", capabilities=("CAP_CHOWN", "CAP_SYS_ADMIN"), nofile_max=500)
    process = configuration(facts=few)["process"]
    assert process["capabilities"]["bounding"] == ["CAP_CHOWN"]
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 500, "hard": 500}]
    with pytest.raises(ContainerError, match="the instance itself lacks the capability CAP_SYS_TIME"):
        configuration(facts=few, capabilities_added=("SYS_TIME",))


def test_limits_are_the_ecs_images_unless_asked_for() -> None:
    assert configuration()["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096}]
    asked = (Ulimit(name="nofile", soft=5, hard=10), Ulimit(name="memlock", soft=-1, hard=-1))
    assert configuration(ulimits=asked)["process"]["rlimits"] == [
        {"type": "RLIMIT_MEMLOCK", "soft": 2**64 - 1, "hard": 2**64 - 1},
        {"type": "RLIMIT_NOFILE", "soft": 5, "hard": 10},
    ]
    assert "5 > 4" in refusal(ulimits=(Ulimit(name="nofile", soft=5, hard=4),))


def test_the_deeper_mount_comes_later_and_what_is_asked_for_takes_the_place_of_a_default() -> None:
    made = configuration(
        binds=(Bind(source="/s", destination="/a/b"), Bind(source="/t", destination="/dev/shm", is_read_only=True)),
        tmpfs=(Tmpfs(destination="/a", size_mib=2, options=("exec", "defaults")),),
    )
    mounts = {mount["destination"]: mount for mount in made["mounts"]}
    places = list(mounts)
    assert places.index("/a") < places.index("/a/b")
    assert mounts["/a"]["options"] == ["nosuid", "nodev", "noexec", "exec", "size=2048k"]
    assert mounts["/dev/shm"]["options"] == ["rbind", "rprivate", "nodev", "ro"]
    assert len(places) == len(made["mounts"])
    assert {"ro"} <= set(mounts["/sys"]["options"]) & set(mounts["/sys/fs/cgroup"]["options"])


@pytest.mark.parametrize("option", ["bind", "rbind", "remount", "size=1g", "nonsense", ""])
def test_a_tmpfs_is_nothing_but_that(option: str) -> None:
    asked = (Tmpfs(destination="/a", size_mib=2, options=(option,)),)
    assert refusal(tmpfs=asked) == f'invalid tmpfs option "{option}"'


def test_labels_are_no_orders_to_the_runtime() -> None:
    """crun takes another seccomp filter from an annotation, for one."""
    labels = {"run.oci.seccomp_bpf_data": "AAAA", "run.oci.hooks.stdout": "/etc/passwd"}
    assert "run.oci" not in str(configuration(labels=labels))


@pytest.mark.parametrize("destination", ["/", "//", "/.", "/a/..", "relative", ""])
def test_a_mount_has_a_place_of_its_own(destination: str) -> None:
    assert "invalid mount path" in refusal(binds=(Bind(source="/s", destination=destination),))


def test_nothing_of_the_machine_is_shared_but_the_network_of_the_instance() -> None:
    made = configuration()
    assert {each["type"] for each in made["linux"]["namespaces"]} == {"pid", "ipc", "uts", "mount", "cgroup"}
    assert all("path" not in each for each in made["linux"]["namespaces"])
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(made["linux"]["maskedPaths"])
    assert "/proc/sys" in made["linux"]["readonlyPaths"]
    assert made["process"]["noNewPrivileges"] is True
    assert "network" in {each["type"] for each in configuration(network_mode="none")["linux"]["namespaces"]}


def test_a_bridged_container_has_the_network_made_for_it_and_a_name_of_its_own() -> None:
    made = oci.configuration(spec(network_mode="bridge"), IMAGE, FACTS, rootfs="/", binds=(), network="/run/netns/x")
    assert {"type": "network", "path": "/run/netns/x"} in made["linux"]["namespaces"]
    assert len(made["hostname"]) == 12
    assert made["hostname"] != FACTS.hostname


def test_privileged_is_everything_the_instance_has_and_no_filter() -> None:
    made = configuration(is_privileged=True)
    assert made["process"]["capabilities"]["effective"] == oci.CAPABILITIES
    assert not {"seccomp", "maskedPaths", "readonlyPaths"} & set(made["linux"])


def test_an_init_stands_before_the_command_or_is_refused() -> None:
    with_init = Facts(machine="x86_64", hostname="h", capabilities=(), nofile_max=1, init="/bin/busybox")
    made = configuration(facts=with_init, has_init=True, command=("a", "b"))
    assert made["process"]["args"][:3] == [oci.INIT, "sh", "-c"]
    assert made["process"]["args"][-2:] == ["a", "b"]
    assert {"/bin/busybox"} <= {mount["source"] for mount in made["mounts"]}
    assert "needs a static busybox" in refusal(has_init=True)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/dev/null", True),
        ("/dev/nvidia0", True),
        ("/dev/dri/renderD128", True),
        ("/dev/fuse", True),
        ("/dev/mem", False),
        ("/dev/sda", False),
        ("/dev/kmsg", False),
        ("/dev/dri/../sda", False),
        ("/dev/nvidia/../../etc", False),
        ("/dev/dri/", False),
        ("dev/null", False),
    ],
)
def test_only_devices_without_a_way_to_others_are_given(path: str, expected: bool) -> None:
    assert oci.is_safe_device(path) is expected


def test_a_device_may_be_opened_as_asked_and_nothing_else() -> None:
    node = DeviceNode(path="/dev/fuse", kind="c", major=10, minor=229)
    asked = spec(devices=(Device(source="/dev/fuse", destination="/dev/f", permissions="r"),))
    rules = oci.device_rules(asked, [node])
    assert "c 10:229 r" in rules
    assert "c 1:3 rwm" in rules
    assert not any(rule.startswith(("a ", "b ")) and not rule.endswith(" m") for rule in rules)
    facts = Facts(machine="x86_64", hostname="h", capabilities=(), nofile_max=1, devices=(node,))
    made = oci.configuration(asked, IMAGE, facts, rootfs="/", binds=())
    assert made["linux"]["devices"][0]["path"] == "/dev/f"


def refused_calls(*capabilities: str) -> set[str]:
    rules = seccomp_filter(capabilities, "x86_64")["syscalls"]
    return {name for rule in rules if "args" not in rule for name in rule["names"]}


def test_dangerous_calls_are_refused_and_given_with_their_capability() -> None:
    assert {"mount", "bpf", "init_module", "kexec_load", "reboot", "setns", "keyctl", "clone3"} <= refused_calls()
    assert not {"execve", "clone", "fork", "socket", "ptrace", "openat"} & refused_calls()
    admin = refused_calls("CAP_SYS_ADMIN")
    assert not {"mount", "bpf", "setns", "clone3", "perf_event_open"} & admin
    assert {"init_module", "reboot", "keyctl"} <= admin
    assert "reboot" not in refused_calls("CAP_SYS_BOOT")


def test_clone_is_refused_for_each_kind_of_namespace() -> None:
    rules = [rule for rule in seccomp_filter((), "aarch64")["syscalls"] if rule["names"] == ["clone"]]
    flags = 0
    for rule in rules:
        (argument,) = rule["args"]
        assert argument["value"] == argument["valueTwo"]
        flags |= argument["value"]
    assert flags == 0x7E020000


def test_a_resolver_of_its_own_replaces_what_it_names() -> None:
    own = "nameserver 10.0.0.2\nsearch instance.internal\noptions ndots:2\n"
    assert oci.resolver_file(spec(), own) == own
    changed = oci.resolver_file(spec(dns_servers=("1.2.3.4",)), own)
    assert changed == "search instance.internal\noptions ndots:2\nnameserver 1.2.3.4\n"
    changed = oci.resolver_file(spec(dns_search=("a", "b")), own)
    assert changed == "nameserver 10.0.0.2\noptions ndots:2\nsearch a b\n"


def test_hosts_are_the_instances_in_its_network_and_own_ones_without() -> None:
    asked = spec(extra_hosts=(("db", "10.0.0.9"),))
    assert oci.hosts_file(asked, "h", "127.0.0.1 localhost\n10.0.0.1 ip-10-0-0-1\n") == (
        "127.0.0.1 localhost\n10.0.0.1 ip-10-0-0-1\n10.0.0.9\tdb\n"
    )
    assert "ip-10-0-0-1" not in oci.hosts_file(spec(network_mode="none"), "h", "10.0.0.1 ip-10-0-0-1\n")


@pytest.mark.parametrize(
    ("sysctls", "mode", "is_given"),
    [
        ({"kernel.shmmax": "1"}, "host", True),
        ({"fs.mqueue.msg_max": "1"}, "host", True),
        ({"net.core.somaxconn": "1"}, "host", False),
        ({"net.core.somaxconn": "1"}, "none", True),
        ({"vm.swappiness": "1"}, "none", False),
    ],
)
def test_settings_of_the_kernel_are_the_containers_own_only(sysctls: dict[str, str], mode: str, is_given: bool) -> None:
    if is_given:
        assert configuration(sysctls=sysctls, network_mode=mode)["linux"]["sysctl"] == sysctls
    else:
        assert "is not allowed" in refusal(sysctls=sysctls, network_mode=mode)


def test_a_working_directory_is_absolute() -> None:
    assert configuration(UnpackedImage(digest="d", working_directory="/srv/"))["process"]["cwd"] == "/srv"
    assert configuration(working_directory="//a/../b")["process"]["cwd"] == "/b"
    assert "needs to be an absolute path" in refusal(working_directory="a")


def test_in_a_shared_network_nobody_listens_in_on_the_neighbour() -> None:
    def sockets(**more: Any) -> list[list[tuple[int, int]]]:
        rules = configuration(**more)["linux"]["seccomp"]["syscalls"]
        return [
            [(each["index"], each["value"]) for each in rule["args"]] for rule in rules if rule["names"] == ["socket"]
        ]

    packet, raw = [(0, 17)], [(0, 2), (1, 15), (2, 1)]
    assert packet in sockets(network_mode="host") and raw in sockets(network_mode="host")
    assert packet not in sockets(network_mode="none") and raw not in sockets(network_mode="none")
    # Who may set up the network may listen as well.
    assert packet not in sockets(network_mode="host", capabilities_added=("NET_ADMIN",))


def test_where_nothing_is_privileged_no_capability_is_so_by_another_name() -> None:
    for harmless in ((), ("SYS_PTRACE",), ("net_raw", "CAP_IPC_LOCK")):
        oci.refuse_what_reaches_past(spec(capabilities_added=harmless))
    oci.refuse_what_reaches_past(spec(capabilities_added=("NET_ADMIN",), network_mode="bridge"))
    for name in ("ALL", "SYS_ADMIN", "CAP_DAC_READ_SEARCH", "NET_ADMIN", "SYS_MODULE", "BPF", "SYS_RAWIO"):
        with pytest.raises(ContainerError, match="is not allowed on this instance, as privileged containers are not"):
            oci.refuse_what_reaches_past(spec(capabilities_added=(name,), network_mode="host"))
    with pytest.raises(ContainerError, match="privileged containers are not allowed on this instance"):
        oci.refuse_what_reaches_past(spec(is_privileged=True))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/etc",
        "/etc/ecs",
        "/var",
        "/var/lib",
        "/var/lib/ecs/data/x",
        "/run",
        "/proc",
        "/proc/1",
        "/dev",
        "/data/agent",
    ],
)
def test_where_nothing_is_privileged_no_job_has_a_folder_that_the_instance_runs_on(path: str) -> None:
    with pytest.raises(ContainerError, match=f"the host path {path} is not given to jobs"):
        oci.refuse_the_agents_own(path, is_read_only=False, own=("/data/agent",))


def test_what_is_harmless_when_read_may_be_read_and_the_rest_is_the_jobs() -> None:
    for path in ("/etc", "/etc/ssl", "/root"):
        oci.refuse_the_agents_own(path, is_read_only=True, own=())
    for path in ("/", "/var/lib/ecs", "/proc", "/run/longshore"):
        with pytest.raises(ContainerError):
            oci.refuse_the_agents_own(path, is_read_only=True, own=())
    for path in ("/mnt", "/tmp", "/srv/data", "/home/ec2-user", "/dev/shm", "/etcetera", "/data/agents"):
        oci.refuse_the_agents_own(path, is_read_only=False, own=("/data/agent",))


def test_a_privileged_container_has_no_sys_to_write_to_where_its_root_is_not_the_hosts() -> None:
    def access(is_root_of_the_host: bool) -> str:
        facts = replace(FACTS, is_root_of_the_host=is_root_of_the_host)
        made = configuration(facts=facts, is_privileged=True)
        return next(str(each["options"][-1]) for each in made["mounts"] if each["destination"] == "/sys")

    assert (access(True), access(False)) == ("rw", "ro")


def test_how_many_processes_a_container_may_have_follows_from_its_memory() -> None:
    assert [pids_for(memory, 8192) for memory in (None, 4, 512, 2048, 100_000)] == [8192, 512, 2048, 8192, 8192]
    assert pids_for(512, 100) == 100
