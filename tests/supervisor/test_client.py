"""How a supervisor comes to be when we are not root."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from longshore.host.supervised import open_connection
from longshore.supervisor import client
from machines_of_host import AGENT, Supervised, needs_root, until

_SUDO = """#!/bin/sh
echo "$@" > {folder}/asked
if [ "$1" = -n ]; then shift; fi
exec "$@"
"""


@needs_root
def test_a_user_starts_it_through_sudo_and_may_ask_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "sudo").write_text(_SUDO.format(folder=tmp_path))
    (programs / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    here = Supervised(tmp_path / "state")
    here.state.mkdir()
    os.chown(here.state, 65534, 65534)

    async def run() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "geteuid", lambda: 65534)
            patch.setattr(os, "getuid", lambda: 65534)
            path = await client.start(here.state, has_way_out=False, agent=AGENT)
        assert path.stat().st_uid == 65534
        # What the user's own commands put images into.
        assert (here.state / "images").stat().st_uid == 65534
        assert "--uid 65534" in (tmp_path / "asked").read_text()
        connection = open_connection(path)
        await connection.shutdown()
        await connection.closed.wait()
        await until(lambda: not any(each.startswith("process") for each in here.remains()))
        assert here.remains() == []

    asyncio.run(run())


def test_a_user_without_sudo_is_told_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(client.CannotStart, match="local machines need root, and there is no sudo"):
        asyncio.run(client.start(tmp_path))


@needs_root
def test_what_the_supervisor_says_when_it_cannot_start_is_told(tmp_path: Path) -> None:
    with pytest.raises(client.CannotStart, match="no state folder"):
        asyncio.run(client.start(tmp_path / "none"))
