"""Address translation, in a table of our own: nothing that others have set is read or changed.

nftables where its program is there; else iptables, in rules that carry our name.
"""

from __future__ import annotations

import shutil
import subprocess

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NoFirewall(Exception):
    """Neither program is there, or what it said when it failed."""


def is_there() -> bool:
    return _program("nft") is not None or _program("iptables") is not None


def masquerade(name: str, *, out: str | None = None, source: str | None = None) -> None:
    """What leaves by the link `out`, or comes from the address `source`, gets the leaving link's address.

    In the calling thread's network namespace, under `name`. It may be repeated.
    """
    nft = _program("nft")
    if nft is not None:
        which = f'oifname "{out}"' if out else f"ip saddr {source}"
        _run([nft, "-f", "-"], f"""
            table ip {name}
            delete table ip {name}
            table ip {name} {{
                chain postrouting {{
                    type nat hook postrouting priority 100; policy accept;
                    {which} masquerade
                }}
            }}
            """)  # fmt: skip
        return
    remove(name, out=out, source=source)
    _iptables("nat", "-A", "POSTROUTING", _rule(name, out, source, "MASQUERADE"))


def pass_through(name: str, link: str) -> None:
    """Lets what comes in by `link`, and the answers to it, through a FORWARD chain that drops by default, as the one
    that Docker leaves behind. Where nothing is dropped, nothing is done."""
    iptables = _program("iptables")
    if iptables is None or "-P FORWARD DROP" not in _run([iptables, "-w", "-S", "FORWARD"]):
        return
    stop_passing_through(name, link)
    for rule in _passing(name, link):
        _iptables("filter", "-I", "FORWARD", rule)


def stop_passing_through(name: str, link: str) -> None:
    if _program("iptables") is not None:
        for rule in _passing(name, link):
            _delete("filter", "FORWARD", rule)


def remove(name: str, *, out: str | None = None, source: str | None = None) -> None:
    """Takes away what `masquerade` made, also if it made nothing."""
    nft = _program("nft")
    if nft is not None:
        _run([nft, "-f", "-"], f"table ip {name}\ndelete table ip {name}\n")
    elif _program("iptables") is not None:
        _delete("nat", "POSTROUTING", _rule(name, out, source, "MASQUERADE"))


def _rule(name: str, out: str | None, source: str | None, target: str) -> list[str]:
    which = ["-o", out] if out else ["-s", f"{source}/32"]
    return [*which, "-m", "comment", "--comment", name, "-j", target]


def _passing(name: str, link: str) -> list[list[str]]:
    comment = ["-m", "comment", "--comment", name, "-j", "ACCEPT"]
    return [["-i", link, *comment], ["-o", link, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", *comment]]


def _iptables(table: str, verb: str, chain: str, rule: list[str]) -> None:
    iptables = _program("iptables")
    assert iptables is not None
    _run([iptables, "-w", "-t", table, verb, chain, *rule])


def _delete(table: str, chain: str, rule: list[str]) -> None:
    iptables = _program("iptables")
    assert iptables is not None
    if subprocess.run([iptables, "-w", "-t", table, "-C", chain, *rule], capture_output=True).returncode == 0:
        _iptables(table, "-D", chain, rule)


def _program(name: str) -> str | None:
    return shutil.which(name, path=_PATH)


def _run(command: list[str], given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    if done.returncode != 0:
        raise NoFirewall(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout
