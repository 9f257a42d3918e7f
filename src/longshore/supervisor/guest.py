"""What an instance sees from inside: its root, its names, its little programs.

The root is the instance's own folder. Of the host it has what programs need, read-only: /usr and the like, Python and
our own package wherever they live, certificates; and the operator's shared paths. Nothing of /home, /root, /etc's secrets.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from pathlib import Path

from msgspec import Struct

import longshore
from longshore.host.supervised import ENDPOINT, Order
from longshore.supervisor import init
from longshore.supervisor.birth import Bind, Birth
from longshore.supervisor.fabric import CREDENTIALS

IMAGES = "/var/lib/longshore/images"
AGENT_DATA = "/var/lib/ecs/data"
CONTAINERS = "/containers"  # the control group of containers, as the instance counts
_SHIMS = "/opt/longshore/bin"
_PATH = f"{_SHIMS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# /usr's companions: links into it on most hosts, folders on some.
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")

# What programs read and nobody hides: the loader's cache, certificates, how images are pulled, names of programs.
_ETC = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "mime.types", "protocols", "services",
    "ssl/certs", "ssl/openssl.cnf", "ca-certificates", "ca-certificates.conf", "pki/tls/certs", "pki/ca-trust/extracted",
    "crypto-policies", "containers/policy.json", "containers/registries.conf", "containers/registries.conf.d",
    "containers/registries.d", "bash.bashrc", "profile", "inputrc", "terminfo",
)  # fmt: skip

_FOLDERS = (
    ("", 0o755), ("/dev", 0o755), ("/proc", 0o555), ("/sys", 0o555), ("/run", 0o755), ("/tmp", 0o1777), ("/root", 0o700),
    ("/home", 0o755), ("/home/ec2-user", 0o755), ("/mnt", 0o755), ("/opt", 0o755), ("/srv", 0o755), ("/etc", 0o755),
    ("/etc/ecs", 0o755), ("/usr", 0o755), ("/var", 0o755), ("/var/log", 0o755), ("/var/log/ecs", 0o755),
    ("/var/cache", 0o755), ("/var/tmp", 0o1777), ("/var/lib", 0o755), (AGENT_DATA, 0o700), (IMAGES, 0o755), (_SHIMS, 0o755),
)  # fmt: skip


class House(Struct, frozen=True, kw_only=True):
    """What is the same for all instances: read once."""

    binds: tuple[tuple[str, str, bool], ...]  # source, place, read-only
    symlinks: tuple[tuple[str, str], ...]
    agent: tuple[str, ...]


def look_around(*, images: Path, share: tuple[str, ...], agent: tuple[str, ...] | None) -> House:
    """Of this host. `agent`: the command of another agent than ours."""
    binds = [("/usr", "/usr", True)]
    symlinks = [("/var/run", "../run"), ("/var/lock", "../run/lock"), ("/etc/mtab", "../proc/self/mounts")]
    for name in _SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            symlinks.append((f"/{name}", os.readlink(path).lstrip("/")))
        elif path.is_dir():
            binds.append((f"/{name}", f"/{name}", True))
    binds += [(f"/etc/{name}", f"/etc/{name}", True) for name in _ETC if Path("/etc", name).exists()]
    binds += [(path, path, True) for path in python_paths()]
    binds.append((str(images), IMAGES, True))
    binds += [(os.path.realpath(path), os.path.normpath(path), False) for path in share]
    command = agent or (sys.executable, "-m", "longshore", "agent")
    return House(binds=tuple(binds), symlinks=tuple(symlinks), agent=command)


def python_paths() -> list[str]:
    """Where Python and what it imports live outside /usr: folders, none below another."""
    # The interpreter of a virtual environment is a link, or a chain of them.
    interpreter = Path(sys.executable)
    links = [interpreter.resolve().parent]
    while interpreter.is_symlink():
        interpreter = interpreter.parent / os.readlink(interpreter)
        links.append(interpreter.parent)
    package = Path(longshore.__file__).parent
    wanted = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_exec_prefix), *links]
    # An editable installation: the folder that is on the path, of which only the package is shown.
    if not any(package.is_relative_to(each) for each in wanted):
        wanted.append(package)
    wanted += [Path(each) for each in sys.path if each and Path(each).is_dir() and each.endswith("-packages")]
    found: list[Path] = []
    for path in sorted({Path(os.path.normpath(each)) for each in wanted}):
        if path.is_relative_to("/usr") or path == Path("/") or any(path.is_relative_to(each) for each in found):
            continue
        if path.parts[1:2] and path.parts[1] in _SYSTEM:
            continue
        found.append(path)
    return [str(path) for path in found]


def birth(
    order: Order, house: House, *, root: Path, disk: Path | None, root_id: int, entrances: list[str],
    cgroups: list[tuple[str, str]], host_address: str | None,
) -> Birth:  # fmt: skip
    """How to make the instance."""
    shims = _shims()
    binds = [Bind(source=source, place=place, is_read_only=read_only) for source, place, read_only in house.binds]
    # Scripts may name them by their full path.
    binds += [
        Bind(source=f"{root}{_SHIMS}/{name}", place=f"{folder}/{name}", is_read_only=True)
        for name in shims
        for folder in ("/usr/bin", "/usr/sbin")
        # Where one is a link to another (poweroff is systemctl on many hosts), it shows what is bound there.
        if Path(folder, name).is_file() and not Path(folder, name).is_symlink()
    ]
    environment = {
        "PATH": _PATH,
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "LONGSHORE_ENDPOINT": ENDPOINT,
        "LONGSHORE_INSTANCE_VCPUS": str(order.vcpus),
        "LONGSHORE_INSTANCE_MEMORY_MIB": str(order.memory_mib),
        "LONGSHORE_IMAGES": IMAGES,
        "LONGSHORE_AGENT_DATA": AGENT_DATA,
        "LONGSHORE_CGROUP": CONTAINERS,
        "LONGSHORE_CREDENTIALS_BIND": f"{CREDENTIALS}:80",
        **order.environment,
    }
    return Birth(
        root=str(root),
        disk=str(disk) if disk else None,
        hostname=order.hostname,
        folders=list(_FOLDERS),
        files=[*_etc(order, host_address), *((f"{_SHIMS}/{name}", text, 0o755) for name, text in shims.items())],
        symlinks=list(house.symlinks),
        binds=binds,
        run_mib=max(16, order.memory_mib // 8),
        root_id=root_id,
        entrances=entrances,
        cgroups=cgroups,
        leaf="agent",
        plan=init.Plan(
            instance_id=order.instance_id,
            scripts=list(order.scripts),
            notes=list(order.notes),
            starts_agent=order.starts_agent,
            agent=list(house.agent),
            agent_environment=environment,
            boot_environment={"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", "USER": "root", "SHELL": "/bin/sh"},
        ),
    )


def _etc(order: Order, host_address: str | None) -> list[tuple[str, str, int]]:
    short = order.hostname.split(".", 1)[0]
    hosts = f"127.0.0.1 localhost\n{order.private_ip} {order.hostname} {short}\n"
    if host_address is not None:
        hosts += f"{host_address} host.longshore.internal\n"
    machine_id = hashlib.sha256(order.instance_id.encode()).hexdigest()[:32]
    texts = {
        "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
        "ec2-user:x:1000:1000:EC2 Default User:/home/ec2-user:/bin/sh\n",
        "group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\nec2-user:x:1000:\n",
        "hosts": hosts,
        "hostname": f"{short}\n",
        "resolv.conf": resolvers(),
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
        "os-release": 'NAME="Longshore instance"\nID=longshore\nPRETTY_NAME="Longshore instance"\n',
        "machine-id": f"{machine_id}\n",
        "ecs/ecs.config": "",
    }
    return [(f"/etc/{name}", text, 0o644) for name, text in texts.items()]


# systemd-resolved keeps the true servers here when /etc/resolv.conf names itself, on a loopback address.
_RESOLVERS = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")


def resolvers() -> str:
    """A resolv.conf that works from inside: the host's loopback is not the instance's."""
    for path in _RESOLVERS:
        try:
            text = Path(path).read_text()
        except OSError:
            continue
        lines = [line for line in text.splitlines() if line.split()[:1] in (["nameserver"], ["search"], ["options"])]
        lines = [line for line in lines if not line.startswith("nameserver") or _is_reachable(line.split()[-1])]
        if any(line.startswith("nameserver") for line in lines):
            return "\n".join(lines) + "\n"
    return "# The host names no resolver that can be reached from here.\n"


def _is_reachable(server: str) -> bool:
    return not server.startswith("127.") and ":" not in server


def _shims() -> dict[str, str]:
    """Name -> script. The instance has no systemd: these are its words as far as user data uses them."""
    say = f'echo "$1" > {init.CONTROL}'
    systemctl = f"""#!/bin/sh
# The ECS agent is the one service here.
say() {{ {say}; }}
case "${{0##*/}}" in poweroff|shutdown|halt) say poweroff; exit 0 ;; esac
verb= units= now=
for word in "$@"; do
  case "$word" in
    --now) now=1 ;;
    -*) ;;
    *) if [ -z "$verb" ]; then verb=$word; else units="$units ${{word%.service}}"; fi ;;
  esac
done
case "$verb" in
  daemon-reload|daemon-reexec|reset-failed|"") exit 0 ;;
  poweroff|halt) say poweroff; exit 0 ;;
esac
for unit in $units; do
  case "$unit" in
    ecs|amazon-ecs) ;;
    docker|containerd|cloud-final|amazon-ssm-agent) continue ;;
    *) echo "Unit $unit.service could not be found." >&2; exit 5 ;;
  esac
  case "$verb" in
    start|stop|restart) say "$verb" ;;
    try-restart|reload|reload-or-restart) say restart ;;
    enable) if [ -n "$now" ]; then say start; fi ;;
    disable) if [ -n "$now" ]; then say stop; fi ;;
    is-active|status)
      state=$(cat {init.STATE} 2>/dev/null)
      if [ "$state" = running ]; then echo active; else echo inactive; exit 3; fi ;;
  esac
done
"""
    python = shlex.quote(sys.executable)
    return {
        "systemctl": systemctl,
        "service": f'#!/bin/sh\nexec {_SHIMS}/systemctl "$2" "$1"\n',
        "start": f'#!/bin/sh\nexec {_SHIMS}/systemctl start "$1"\n',
        "stop": f'#!/bin/sh\nexec {_SHIMS}/systemctl stop "$1"\n',
        # Run by hand it would end with the script that ran it: it is started as the service that it is.
        "longshore": f'#!/bin/sh\n[ "$1" = agent ] && exec {_SHIMS}/systemctl start ecs\nexec {python} -m longshore "$@"\n',
        **dict.fromkeys(("poweroff", "shutdown", "halt"), f"#!/bin/sh\necho poweroff > {init.CONTROL}\n"),
        # Everything here is root's already.
        "sudo": '#!/bin/sh\nwhile :; do case "$1" in -u|-g) shift 2 ;; -*) shift ;; *) break ;; esac; done\nexec "$@"\n',
    }
