"""What an instance is made of, as far as no kernel is needed to tell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from longshore.supervisor import guest, init
from longshore.supervisor.fabric import link_name
from longshore.supervisor.guest import python_paths
from machines_of_host import order


def test_links_have_names_that_the_kernel_takes() -> None:
    name = link_name("i-0123456789abcdef0")
    assert name == "ls56789abcdef0" and len(name) <= 15


def test_python_is_shown_wherever_it_lives_and_nothing_twice() -> None:
    paths = [Path(each) for each in python_paths()]
    usr = Path("/usr")
    for needed in (Path(sys.executable), Path(sys.executable).resolve(), Path(guest.__file__), Path(pytest.__file__)):
        assert any(needed.is_relative_to(each) for each in [*paths, usr]), needed
    for each in paths:
        assert each != Path("/") and not each.is_relative_to(usr)
        assert not any(each != other and each.is_relative_to(other) for other in paths)


def test_resolvers_on_the_hosts_loopback_are_not_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub, true = tmp_path / "stub", tmp_path / "true"
    stub.write_text("# by a daemon\nnameserver 127.0.0.53\nsearch example.org\noptions edns0\n")
    true.write_text("nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.org\n")
    monkeypatch.setattr(guest, "_RESOLVERS", (str(stub), str(true)))
    assert guest.resolvers() == "nameserver 192.0.2.53\nsearch example.org\n"
    monkeypatch.setattr(guest, "_RESOLVERS", (str(stub), str(tmp_path / "none")))
    assert "nameserver" not in guest.resolvers()


def test_what_the_order_says_wins_in_the_agents_environment(tmp_path: Path) -> None:
    house = guest.look_around(images=tmp_path, share=(), agent=None)
    made = guest.birth(
        order(environment={"LONGSHORE_PRIVILEGED": "1", "HOME": "/var"}),
        house, root=tmp_path / "root", disk=None, root_id=0, entrances=[], cgroups=[], host_address=None,
    )  # fmt: skip
    environment = made["plan"]["agent_environment"]
    assert environment["LONGSHORE_PRIVILEGED"] == "1" and environment["HOME"] == "/var"
    assert "LONGSHORE_ENDPOINT" not in made["plan"]["boot_environment"]
    assert made["plan"]["agent"] == [sys.executable, "-m", "longshore", "agent"]
    assert "host.longshore.internal" not in next(text for path, text, _ in made["files"] if path == "/etc/hosts")


@pytest.mark.parametrize(
    ("words", "said", "status"),
    [
        ("start ecs", "start\n", 0),
        ("--no-block restart ecs.service", "restart\n", 0),
        ("enable --now ecs", "start\n", 0),
        ("enable ecs", "", 0),
        ("disable --now ecs", "stop\n", 0),
        ("reload ecs", "restart\n", 0),
        ("daemon-reload", "", 0),
        ("restart docker", "", 0),
        ("start nginx", "", 5),
        ("start docker ecs", "start\n", 0),
        ("is-active ecs", "", 3),
        ("poweroff", "poweroff\n", 0),
    ],
)
def test_words_of_systemctl_reach_the_first_process(tmp_path: Path, words: str, said: str, status: int) -> None:
    control = tmp_path / "control"
    script = (
        guest._shims()["systemctl"].replace(init.CONTROL, str(control)).replace(init.STATE, str(tmp_path / "state"))
    )
    done = subprocess.run(["/bin/sh", "-c", script, "systemctl", *words.split()], capture_output=True)
    assert done.returncode == status, done.stderr
    assert (control.read_text() if control.exists() else "") == said


def test_a_name_that_is_a_link_to_systemctl_means_what_it_says(tmp_path: Path) -> None:
    control = tmp_path / "control"
    (tmp_path / "systemctl").write_text(guest._shims()["systemctl"].replace(init.CONTROL, str(control)))
    (tmp_path / "systemctl").chmod(0o755)
    (tmp_path / "poweroff").symlink_to("systemctl")
    subprocess.run([tmp_path / "poweroff"], check=True)
    assert control.read_text() == "poweroff\n"


def test_sudo_passes_its_options_over(tmp_path: Path) -> None:
    def run(words: str) -> str:
        script = guest._shims()["sudo"]
        return subprocess.run(["/bin/sh", "-c", script, "sudo", *words.split()], capture_output=True, text=True).stdout

    assert run("echo hello") == "hello\n"
    assert run("-E -u root echo -n hello") == "hello"
