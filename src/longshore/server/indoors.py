"""Agents inside the server's own process, for instances of the kind `memory`: the production agent over a transport
without sockets, with containers whose ends are scripted.

Every request is signed and goes through the gateway's whole chain, as from outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import msgspec

from longshore.agent.config import AgentConfig
from longshore.agent.main import run
from longshore.agent.runtimes.memory import MemoryRuntime
from longshore.agent.session import FINAL, AgentEnded
from longshore.agent.shelf import MemoryShelf
from longshore.agent.transport import TARGETS, Credentials, Stream, StreamRefused, TransportError, error_of, on_the_wire
from longshore.aws.sigv4 import sign
from longshore.aws.wire.http import HttpRequest
from longshore.gateway.app import Gateway
from longshore.kit.house import House
from longshore.services.ec2.machines.base import LaunchOrder
from longshore.services.ec2.metadata import MetadataService

_CLOSE_SECONDS = 5.0


class AgentCrashed(Exception):
    """Its process was killed, by `Indoors.crash`."""


class _Place:
    """What of an instance outlives its agent."""

    def __init__(self, runtime: MemoryRuntime) -> None:
        self.shelf = MemoryShelf()
        self.runtime = runtime
        self.agent: asyncio.Task[None] | None = None
        self.was_crashed = False


class Indoors:
    """An AgentFactory. `transport_of` may put something between an agent and the house: lost answers, say. `runtime_of`
    makes the runtime of an instance."""

    def __init__(
        self,
        house: House,
        gateway: Gateway,
        metadata: MetadataService,
        *,
        transport_of: Callable[[HouseTransport], Any] = lambda transport: transport,
        runtime_of: Callable[[], MemoryRuntime] = MemoryRuntime,
        metrics_seconds: float = 20.0,
    ) -> None:
        self._house = house
        self._gateway = gateway
        self._metadata = metadata
        self._transport_of = transport_of
        self._runtime_of = runtime_of
        self._metrics_seconds = metrics_seconds
        self._places: dict[str, _Place] = {}

    async def __call__(self, order: LaunchOrder, ecs_config: dict[str, str], say: Callable[[str], None]) -> None:
        """One life of the agent of an instance: AgentEnded, AgentCrashed. Cancelled: the machine is gone."""
        place = self._places.get(order.instance_id)
        if place is None:
            place = self._places[order.instance_id] = _Place(self._runtime_of())
        try:
            await self._live(place, order, ecs_config, say)
        except asyncio.CancelledError:
            self._places.pop(order.instance_id, None)
            place.runtime.power_off()
            raise

    async def _live(
        self, place: _Place, order: LaunchOrder, ecs_config: dict[str, str], say: Callable[[str], None]
    ) -> None:
        house = self._house
        transport = self._transport_of(HouseTransport(house, self._gateway, self._metadata, order))
        config = self._config(order, ecs_config)
        place.was_crashed = False
        place.agent = asyncio.get_running_loop().create_task(
            run(config, transport, place.runtime, place.shelf, house.clock, house.ids, say)
        )
        try:
            await place.agent
        except asyncio.CancelledError:
            if place.was_crashed:
                raise AgentCrashed("killed") from None
            place.agent.cancel()
            await asyncio.gather(place.agent, return_exceptions=True)
            raise
        except AgentEnded as ended:
            if ended.status != FINAL:
                raise
            say(str(ended))
            await asyncio.Event().wait()  # A new start would find the same.

    def _config(self, order: LaunchOrder, ecs_config: dict[str, str]) -> AgentConfig:
        given = {
            **ecs_config,
            "LONGSHORE_ENDPOINT": self._house.endpoint,
            "AWS_REGION": order.region,
            "LONGSHORE_INSTANCE_VCPUS": str(order.vcpus),
            "LONGSHORE_INSTANCE_MEMORY_MIB": str(order.memory_mib),
            "LONGSHORE_CREDENTIALS_BIND": "",  # Nothing runs that could ask.
            "LONGSHORE_PRIVILEGED": "1",
        }
        config = AgentConfig.from_environment(given)
        return msgspec.structs.replace(config, metrics_seconds=self._metrics_seconds)

    def instances(self) -> list[str]:
        """Those with an agent, in the order in which it came."""
        return list(self._places)

    def crash(self, instance_id: str) -> None:
        """Kills the agent where it stands. Containers go on, and the machine starts it again."""
        place = self._places.get(instance_id)
        if place is not None and place.agent is not None and not place.agent.done():
            place.was_crashed = True
            place.agent.cancel()


class HouseTransport:
    """The way from an agent to its house, within one process."""

    def __init__(self, house: House, gateway: Gateway, metadata: MetadataService, order: LaunchOrder) -> None:
        self._house = house
        self._gateway = gateway
        self._metadata = metadata
        self.order = order  # of the instance whose agent it carries

    async def aws(
        self, service: str, operation: str, params: dict[str, Any], credentials: Credentials
    ) -> dict[str, Any]:
        body = msgspec.json.encode(on_the_wire(params))
        headers = {
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": f"{TARGETS[service]}.{operation}",
            "user-agent": "Longshore agent",
        }
        url = f"{self._house.endpoint}/"
        signed = self._signed("POST", url, headers, body, service, credentials)
        request = HttpRequest(method="POST", path="/", headers=signed, body=body, source_ip=self.order.private_ip)
        answer = await self._gateway.handle(request, self._house.endpoint)
        if answer.status < 300:
            return msgspec.json.decode(answer.body or b"{}", type=dict[str, Any])
        raise error_of(answer.status, answer.body)

    async def metadata(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        return await self._metadata.request(self.order.instance_id, method, path, headers)

    async def open_stream(self, url: str, service: str, credentials: Credentials, query: Mapping[str, str]) -> Stream:
        pairs = "&".join(f"{quote(key)}={quote(value, safe='')}" for key, value in sorted(query.items()))
        signed = self._signed("GET", f"{url}?{pairs}", {}, b"", service, credentials)
        parts = urlsplit(url)
        scope = {
            "type": "websocket",
            "scheme": "ws",
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "query_string": pairs.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in signed.items()],
            "client": (self.order.private_ip, 0),
        }
        stream = _InnerStream(self._gateway, scope)
        await stream.open()
        return stream

    def _signed(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, service: str, credentials: Credentials
    ) -> dict[str, str]:
        return sign(
            method,
            url,
            headers,
            body,
            service,
            self.order.region,
            credentials.access_key_id,
            credentials.secret_access_key,
            credentials.session_token,
            self._house.now(),
        )


class _InnerStream:
    """The client's side of an ASGI websocket, whose other side is the gateway in a task of its own."""

    def __init__(self, gateway: Gateway, scope: dict[str, Any]) -> None:
        self._to_house: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._to_agent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._to_house.put_nowait({"type": "websocket.connect"})
        self._is_over = False
        self._served = asyncio.get_running_loop().create_task(self._serve(gateway, scope))

    async def _serve(self, gateway: Gateway, scope: dict[str, Any]) -> None:
        async def send(message: Any) -> None:
            self._to_agent.put_nowait(dict(message))

        try:
            await gateway(scope, self._to_house.get, send)
        finally:
            self._to_agent.put_nowait({"type": "websocket.close"})

    async def open(self) -> None:
        """StreamRefused, TransportError."""
        try:
            first = await self._to_agent.get()
            if first["type"] == "websocket.http.response.start":
                body = (await self._to_agent.get()).get("body", b"")
                error = error_of(first["status"], body)
                raise StreamRefused(error.code, error.message)
            if first["type"] != "websocket.accept":
                raise TransportError("the house closed the stream before it was open")
        except BaseException:
            await self.close()
            raise

    async def send(self, text: str) -> None:
        if self._is_over:
            raise TransportError("the stream is closed")
        self._to_house.put_nowait({"type": "websocket.receive", "text": text})

    async def receive(self) -> str | None:
        if self._is_over:
            return None
        message = await self._to_agent.get()
        if message["type"] == "websocket.send":
            text: str = message["text"]
            return text
        self._is_over = True
        return None

    async def close(self) -> None:
        """Returns when the house has taken notice."""
        self._is_over = True
        self._to_house.put_nowait({"type": "websocket.disconnect", "code": 1006})
        done, _ = await asyncio.wait((self._served,), timeout=_CLOSE_SECONDS)
        if not done:
            self._served.cancel()
        await asyncio.gather(self._served, return_exceptions=True)
