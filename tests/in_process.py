"""A house in the test's own process, on virtual time, reached by unmodified botocore clients.

A client's request is taken at botocore's `before-send`, signed and ready for the wire, and handed to the gateway; the
answer goes back as botocore's own response. Between requests the loops stand still until `settle`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import botocore.auth
import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from longshore.aws.ids import Ids
from longshore.aws.wire.http import HttpRequest
from longshore.kit.sealing import IdentityDocuments, Sealer, new_identity_document_key
from longshore.server.assemble import Assembly
from longshore.server.keys import RootKeys
from longshore.settings import Settings
from longshore.store.engine import Store, open_store
from virtual_time import START, VirtualClock, VirtualLoop

ROOT = RootKeys("AKIAROOTROOTROOTROOT", "a-secret-of-the-root-user-for-tests-only")
ACCOUNT = "123456789012"
REGION = "us-east-1"
ENDPOINT = "http://127.0.0.1:4570"
_WALL_CLOCK = botocore.auth.get_current_datetime
IDENTITY_KEY = new_identity_document_key()  # Making one takes longer than most tests.


class SeededEntropy:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def random_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


class _Raw:
    """The body of an answer, as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Any:
        yield self._body

    def read(self, *_: Any) -> bytes:
        body, self._body = self._body, b""
        return body


@functools.cache
def _session() -> Any:
    """One for all clients: it keeps the models that it has read, which takes longer than most tests."""
    return botocore.session.get_session()


class InProcessHouse:
    """One house and its loop."""

    def __init__(self, seed: int = 0, store: Store | None = None, start: datetime = START, **settings: Any) -> None:
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop, start)
        self.settings = Settings(account=ACCOUNT, region=REGION, vcpus=64, memory_mib=262_144, **settings)
        self.store = store or open_store(None)
        self.assembly = Assembly(
            settings=self.settings,
            store=self.store,
            clock=self.clock,
            ids=Ids(SeededEntropy(seed)),
            sealer=Sealer(bytes(32)),
            identity_documents=IdentityDocuments(IDENTITY_KEY),
            root_keys=ROOT,
        )
        # botocore signs at the wall clock's time; here it signs at the house's.
        botocore.auth.get_current_datetime = self._signing_time
        self.loop.run_until_complete(self.assembly.start())

    @property
    def house(self) -> Any:
        return self.assembly.house

    def client(
        self,
        service: str,
        access_key_id: str = ROOT.access_key_id,
        secret_access_key: str = ROOT.secret_access_key,
        token: str | None = None,
        region: str = REGION,
    ) -> Any:
        """An unmodified botocore client; its requests are signed, at the house's own time."""
        client = _session().create_client(
            service,
            region_name=region,
            endpoint_url=ENDPOINT,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            aws_session_token=token,
            config=Config(retries={"max_attempts": 0}, parameter_validation=True),
        )
        client.meta.events.register("before-send.*.*", self._send)
        return client

    def _signing_time(self, remove_tzinfo: bool = True) -> datetime:
        now = self.clock.now()
        return now.replace(tzinfo=None) if remove_tzinfo else now

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        parts = urlsplit(request.url)
        body = request.body or b""
        headers = {
            name.lower(): value.decode() if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
        }
        headers.setdefault("host", parts.netloc)
        sent = HttpRequest(
            method=request.method,
            path=parts.path,
            query_string=parts.query,
            headers=headers,
            body=body.encode() if isinstance(body, str) else bytes(body),
            source_ip="127.0.0.1",
        )
        answer = self.loop.run_until_complete(self.assembly.gateway.handle(sent, ENDPOINT))
        return AWSResponse(request.url, answer.status, dict(answer.headers), _Raw(answer.body))

    def settle(self, until: Callable[[], Any], seconds: float = 120.0) -> Any:
        """Lets the loops turn until the condition holds, for so many virtual seconds at most. What it then gives.

        The condition may use clients, which run the loop themselves: it is asked between two runs of it.
        """
        end = self.loop.time() + seconds
        while True:
            held = until()
            if held:
                return held
            if self.loop.time() > end:
                raise AssertionError(f"it did not come about within {seconds} s")
            self.loop.run_until_complete(asyncio.sleep(0.05))

    def pass_time(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def close(self) -> None:
        botocore.auth.get_current_datetime = _WALL_CLOCK
        self.loop.run_until_complete(self.assembly.stop())
        with contextlib.suppress(Exception):
            self.store.close()
        pending = asyncio.all_tasks(self.loop)
        for task in pending:
            task.cancel()
        if pending:
            self.loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self.loop.close()
