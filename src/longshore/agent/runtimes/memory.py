"""Containers that are none: their ends are written in their environment. For simulation, for people's unit tests, for load.

What a container does is said by these variables of its environment:

* `LONGSHORE_EXIT_CODE`: 0 to 255, by default 0. Several with commas between them are those of a job's attempts (its
  AWS_BATCH_JOB_ATTEMPT), the last for all further ones: `1,1,0` succeeds at the third.
* `LONGSHORE_RUN_SECONDS`: how long it runs, by default 0: it has ended as soon as it has begun.
* `LONGSHORE_LOG`: what it writes at its start; `\\n` parts lines.
* `LONGSHORE_REASON`: the reason of its end, `OutOfMemoryError: Container killed due to memory usage` for one.
* `LONGSHORE_PULL_ERROR`, `LONGSHORE_CREATE_ERROR`, `LONGSHORE_START_ERROR`: the text with which that step fails.
* `LONGSHORE_PULL_SECONDS`: how long the image takes to come.
* `LONGSHORE_STOP`: what it does at SIGTERM: an exit code, by default 143; `ignore`: it goes on till SIGKILL ends it with 137.

An image whose name ends with `:missing` can't be pulled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256

from longshore.agent.runtimes.base import Chunk, ContainerError, ContainerSpec, Exit, Image

_KILLED = 137
_TERMINATED = 143


class _Script:
    """What the environment says. ContainerError: it says what can't be understood."""

    def __init__(self, spec: ContainerSpec) -> None:
        said = spec.environment
        codes = said.get("LONGSHORE_EXIT_CODE", "0").split(",")
        attempt = int(_number(said, "AWS_BATCH_JOB_ATTEMPT", 1))
        self.exit_code = _exit_code("LONGSHORE_EXIT_CODE", codes[min(max(attempt, 1), len(codes)) - 1])
        self.run_seconds = _number(said, "LONGSHORE_RUN_SECONDS", 0)
        self.reason = said.get("LONGSHORE_REASON")
        text = said.get("LONGSHORE_LOG", "").replace("\\n", "\n")
        self.output = (text if text.endswith("\n") or not text else f"{text}\n").encode()
        stop = said.get("LONGSHORE_STOP", str(_TERMINATED))
        self.stop_code = None if stop == "ignore" else _exit_code("LONGSHORE_STOP", stop)


class _Container:
    def __init__(self, spec: ContainerSpec, script: _Script) -> None:
        self.spec = spec
        self.script = script
        self.is_started = False
        self.written = b""
        self.exit: Exit | None = None
        self.has_ended = asyncio.Event()
        self.timer: asyncio.TimerHandle | None = None

    def end(self, exit_code: int | None, reason: str | None = None) -> None:
        if self.exit is None:
            self.exit = Exit(exit_code=exit_code, reason=reason)
            self.has_ended.set()
            if self.timer is not None:
                self.timer.cancel()


class MemoryRuntime:
    """One for an instance. It outlives the agent, as containers do."""

    def __init__(self) -> None:
        self._containers: dict[str, _Container] = {}

    async def pull(self, image: str) -> Image:
        if image.endswith(":missing"):
            raise ContainerError(
                f"CannotPullContainerError: Error response from daemon: manifest for {image} not found: manifest unknown"
            )
        return Image(reference=image, digest=f"sha256:{sha256(image.encode()).hexdigest()}")

    async def create(self, spec: ContainerSpec) -> str:
        said = spec.environment
        if spec.container_id not in self._containers:
            pull_seconds = _number(said, "LONGSHORE_PULL_SECONDS", 0)
            if pull_seconds:
                await asyncio.sleep(pull_seconds)
            _fail(said, "LONGSHORE_PULL_ERROR", "CannotPullContainerError")
            _fail(said, "LONGSHORE_CREATE_ERROR", "CannotCreateContainerError")
            self._containers[spec.container_id] = _Container(spec, _Script(spec))
        return sha256(spec.container_id.encode()).hexdigest()

    async def start(self, container_id: str) -> None:
        container = self._containers.get(container_id)
        if container is None:
            raise ContainerError(f"CannotStartContainerError: No such container: {container_id}")
        if container.is_started:
            return
        script = container.script
        _fail(container.spec.environment, "LONGSHORE_START_ERROR", "CannotStartContainerError")
        container.is_started = True
        if container.spec.is_logged:
            container.written = script.output
        if script.run_seconds > 0:
            container.timer = asyncio.get_running_loop().call_later(
                script.run_seconds, container.end, script.exit_code, script.reason
            )
        else:
            container.end(script.exit_code, script.reason)

    async def stop(self, container_id: str, grace_seconds: float) -> None:
        container = self._containers.get(container_id)
        if container is None or not container.is_started or container.exit is not None:
            return
        if container.script.stop_code is not None and grace_seconds > 0:
            container.end(container.script.stop_code)
            return
        if grace_seconds > 0:
            try:
                async with asyncio.timeout(grace_seconds):
                    await container.has_ended.wait()
            except TimeoutError:
                pass
        container.end(_KILLED)

    async def wait(self, container_id: str) -> Exit:
        container = self._containers.get(container_id)
        if container is None or not container.is_started:
            return Exit(exit_code=None)
        await container.has_ended.wait()
        assert container.exit is not None
        return container.exit

    async def remove(self, container_id: str) -> None:
        container = self._containers.pop(container_id, None)
        if container is not None and container.timer is not None:
            container.timer.cancel()

    async def logs(self, container_id: str, after: int) -> AsyncIterator[Chunk]:
        container = self._containers.get(container_id)
        if container is None:
            return
        if len(container.written) > after:
            yield Chunk(data=container.written[after:], end=len(container.written))
        await container.has_ended.wait()

    async def inspect(self) -> list[str]:
        return sorted(self._containers)

    def power_off(self) -> None:
        """The instance is gone, and with it all that ran on it."""
        for container in self._containers.values():
            container.end(None)
        self._containers.clear()


def _fail(said: dict[str, str], variable: str, kind: str) -> None:
    text = said.get(variable)
    if text:
        raise ContainerError(text if text.split(":")[0].endswith("Error") else f"{kind}: {text}")


def _number(said: dict[str, str], variable: str, otherwise: float) -> float:
    text = said.get(variable)
    if not text:
        return otherwise
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise ContainerError(
            f"CannotCreateContainerError: `{variable}` is not a number of seconds or a count: `{text}`"
        )
    return value


def _exit_code(variable: str, text: str) -> int:
    if not text.strip().isdigit() or int(text) > 255:
        raise ContainerError(f"CannotCreateContainerError: `{variable}` is not an exit code from 0 to 255: `{text}`")
    return int(text)
