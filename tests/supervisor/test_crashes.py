"""The supervisor dies, at any moment, and the next one finds what is there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import warnings
from pathlib import Path

import pytest

from longshore.host.lines import connect
from longshore.host.supervised import Died, Gone, open_connection
from longshore.supervisor.client import CannotStart, socket_path, start
from machines_of_host import Supervised, inside, needs_root, order, supervised, until

pytestmark = needs_root


def test_instances_live_on_without_their_supervisor_and_the_next_one_has_them(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state", has_way_out=True) as here:
            made = order()
            await here.connection.launch(made)
            before = await here.standing_when(made.instance_id, lambda it: it.agent == "running")
            await here.kill()
            # Nobody is there, and still an agent that ends is started again.
            inside(before, f"kill -9 {before.agent_pid}")
            await here.start()
            after = await here.standing_when(made.instance_id, lambda it: it.agent_starts == 2)
            assert after.pid == before.pid and after.is_booted
            await here.console_when(made.instance_id, "ended with signal 9")
            # Its end is seen as well as that of one's own.
            os.kill(after.pid, signal.SIGKILL)
            await until(lambda: any(isinstance(news, Died) for news in here.news))
            assert await here.connection.list() == ()

    asyncio.run(run())


def test_what_died_meanwhile_is_cleared_away(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            dead, alive = order(1), order(2)
            standing = await here.connection.launch(dead)
            await here.connection.launch(alive)
            await here.kill()
            os.kill(standing.pid, signal.SIGKILL)
            await here.start()
            assert [each.instance_id for each in await here.connection.list()] == [alive.instance_id]
            assert not [each for each in here.remains() if dead.instance_id in each]
            await here.connection.launch(dead)

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_of_launches_and_ends_it_loses_and_leaves_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)

    async def run() -> None:
        async with supervised(tmp_path / "state", has_way_out=seed % 2 == 0) as here:
            kept = order(1)
            await here.connection.launch(kept)
            doing = [asyncio.ensure_future(here.connection.launch(order(number))) for number in (2, 3, 4)]
            if chance.random() < 0.5:
                await doing[0]
                doing.append(asyncio.ensure_future(here.connection.terminate(order(2).instance_id)))
            await asyncio.sleep(chance.random() * 0.25)
            await here.kill()
            done = await asyncio.gather(*doing, return_exceptions=True)
            assert all(isinstance(each, Gone) for each in done if isinstance(each, BaseException))
            await here.start()
            there = {each.instance_id for each in await here.connection.list()}
            assert kept.instance_id in there
            folders = {path.name for path in (here.state / "instances").iterdir()}
            assert folders == there
            # What was asked for may be asked for again, whatever became of it.
            for number in (2, 3, 4):
                standing = await here.connection.launch(order(number))
                assert inside(standing, "hostname").startswith("ip-")

    asyncio.run(run())


def test_what_is_left_when_the_state_folder_is_deleted_goes_with_the_next_start_of_any(tmp_path: Path) -> None:
    async def run() -> None:
        lost = Supervised(tmp_path / "lost", has_way_out=True)
        lost.state.mkdir()
        await lost.start()
        await lost.kill()
        shutil.rmtree(lost.state)
        async with supervised(tmp_path / "state") as here:
            lost.state.mkdir()
            assert lost.remains() == []
            assert await here.connection.list() == ()

    asyncio.run(run())


def test_a_supervisor_whose_state_folder_is_deleted_ends_with_all_that_it_made(tmp_path: Path) -> None:
    async def run() -> None:
        lost = Supervised(tmp_path / "lost", has_way_out=True)
        lost.state.mkdir()
        connection = await lost.start()
        standing = await connection.launch(order())
        shutil.rmtree(lost.state)
        await connection.closed.wait()
        connection.close()
        await until(lambda: not Path(f"/proc/{standing.pid}").exists())
        lost.state.mkdir()
        await until(lambda: lost.remains() == [])

    asyncio.run(run())


def test_a_supervisor_with_other_options_takes_the_instances_over(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()

    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            first = await here.connection.launch(order(1))
            before = await here.connection.about()
            here.share, here.has_way_out = (str(shared),), True
            await here.start()
            after = await here.connection.about()
            assert after.pid != before.pid and after.options.share == here.share and after.host_address is not None
            assert (await here.standing(first.instance_id)).pid == first.pid
            assert inside(await here.connection.launch(order(2)), f"ls -d {shared}").strip() == str(shared)
            # The same options: the same supervisor.
            await here.start()
            assert (await here.connection.about()).pid == after.pid

    asyncio.run(run())


def test_a_signal_ends_the_supervisor_and_not_its_instances(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            standing = await here.connection.launch(order())
            os.kill((await here.connection.about()).pid, signal.SIGTERM)
            await here.connection.closed.wait()
            assert inside(standing, "hostname").startswith("ip-")
            await here.start()
            assert (await here.standing(standing.instance_id)).pid == standing.pid

    asyncio.run(run())


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()

    async def fault(**options: object) -> str:
        with pytest.raises(CannotStart) as raised:
            await start(state, **options)
        return str(raised.value)

    async def run() -> None:
        assert await fault(share=("/nowhere",)) == "`/nowhere` can't be shared: an absolute path that exists is needed"
        assert await fault(share=("here",)) == "`here` can't be shared: an absolute path that exists is needed"
        assert f"the state folder `{state}` is in it" in await fault(share=(str(tmp_path),))

    asyncio.run(run())
    assert Supervised(state).remains() == []


def test_only_its_user_and_root_are_heard(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            path = socket_path(here.state)
            assert path.stat().st_mode & 0o777 == 0o600
            # Also where the socket's mode, and the way to it, have been opened to all.
            modes = {each: each.stat().st_mode for each in (path, *path.parents)}
            for each, mode in modes.items():
                each.chmod(mode | 0o007)
            try:
                assert await asyncio.get_running_loop().run_in_executor(None, _as_nobody, path) == "closed"
            finally:
                for each, mode in modes.items():
                    each.chmod(mode)
            assert (await here.connection.about()).fabric

    asyncio.run(run())


def test_what_is_no_question_is_not_answered(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            loop = asyncio.get_running_loop()
            for said in (b"hello\n", b'{"number": 1, "verb": "become_root"}\n', b"x" * (2 * 1024 * 1024)):
                end = connect(socket_path(here.state))
                end.setblocking(False)
                with end, contextlib.suppress(ConnectionError):
                    await loop.sock_sendall(end, said)
                    assert await loop.sock_recv(end, 100) == b""
            other = open_connection(socket_path(here.state))
            assert await other.list() == ()
            other.close()

    asyncio.run(run())


def _as_nobody(path: Path) -> str:
    """What a user without rights gets there."""
    heard, say = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # The child calls nothing that other threads may hold.
        pid = os.fork()
    if pid == 0:
        answer = b"nothing"
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            end = socket.socket(socket.AF_UNIX)
            end.settimeout(5)
            end.connect(str(path))
            end.sendall(b'{"number": 1, "verb": "list"}\n')
            answer = end.recv(100) or b"closed"
        except ConnectionError:
            answer = b"closed"
        except OSError as error:
            answer = str(error).encode()
        finally:
            os.write(say, answer)
            os._exit(0)
    os.close(say)
    with os.fdopen(heard) as file:
        said = file.read()
    os.waitpid(pid, 0)
    return said
