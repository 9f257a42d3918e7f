"""Who the instance is and whose credentials it has: what the metadata service says, read by its second version."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from longshore.agent.transport import Credentials, Transport, TransportError
from longshore.aws.clock import Clock
from longshore.aws.errors import AwsError

_TOKEN_SECONDS = 21600
# The metadata service offers the next session five minutes before this one's end.
_EARLY = timedelta(minutes=1)
# What a service says when it knows the session no longer: asked anew at the metadata service, it may know the next.
SESSION_IS_OVER = frozenset(
    {"ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId"}
)


class NoCredentials(Exception):
    """The instance has no role's session. In the words of the original agent, which are those that users look for."""

    def __init__(self, because: str = "") -> None:
        super().__init__("NoCredentialProviders: no valid providers in chain. Deprecated.")
        self.because = because  # what the metadata service said, for the console


class MetadataRefused(Exception):
    """The metadata service answered that there is nothing, or that this caller may not read it."""

    def __init__(self, status: int, path: str) -> None:
        super().__init__(f"EC2 instance metadata: {path}: HTTP {status}")
        self.status = status


class Metadata:
    """The metadata service, under one token as long as it holds."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._token: str | None = None

    async def get(self, path: str) -> str:
        """`path` begins behind `/latest/`. MetadataRefused, TransportError."""
        for is_last in (False, True):
            if self._token is None:
                self._token = await self._new_token()
            status, text = await self._transport.metadata(
                "GET", f"/latest/{path}", {"x-aws-ec2-metadata-token": self._token}
            )
            if status == 200:
                return text
            if status != 401 or is_last:
                break
            self._token = None  # It has ended, or the service lost its key.
        raise MetadataRefused(status, path)

    async def find(self, path: str) -> str:
        """Empty: it is not there."""
        try:
            return await self.get(path)
        except MetadataRefused:
            return ""

    async def _new_token(self) -> str:
        path = "/latest/api/token"
        headers = {"x-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
        status, text = await self._transport.metadata("PUT", path, headers)
        if status != 200:
            raise MetadataRefused(status, path)
        return text


class Instance(Struct, frozen=True, kw_only=True):
    """The instance as its metadata tell it. `document` and `signature` are sent on as they are."""

    instance_id: str
    document: str
    signature: str
    vpc_id: str = ""
    subnet_id: str = ""
    zone: str = ""

    @property
    def attributes(self) -> dict[str, str]:
        return {"ecs.vpc-id": self.vpc_id, "ecs.subnet-id": self.subnet_id}


async def read_instance(metadata: Metadata) -> Instance:
    """MetadataRefused, TransportError."""
    instance_id = await metadata.get("meta-data/instance-id")  # The first alone: it fetches the token for all.
    document, signature, mac, zone = await asyncio.gather(
        metadata.get("dynamic/instance-identity/document"),
        metadata.get("dynamic/instance-identity/signature"),
        metadata.get("meta-data/mac"),
        metadata.find("meta-data/placement/availability-zone"),
    )
    interface = f"meta-data/network/interfaces/macs/{mac}"
    vpc_id, subnet_id = await asyncio.gather(
        metadata.find(f"{interface}/vpc-id"), metadata.find(f"{interface}/subnet-id")
    )
    return Instance(
        instance_id=instance_id, document=document, signature=signature, vpc_id=vpc_id, subnet_id=subnet_id, zone=zone
    )


class _Document(Struct, frozen=True, rename="pascal"):
    code: str = ""
    message: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    token: str = ""
    expiration: str = ""


class InstanceRole:
    """The session of the instance's role, asked for again shortly before it ends or when it was refused."""

    def __init__(self, metadata: Metadata, clock: Clock) -> None:
        self._metadata = metadata
        self._clock = clock
        self._held: Credentials | None = None
        self._asking = asyncio.Lock()

    async def credentials(self) -> Credentials:
        """NoCredentials, TransportError."""
        async with self._asking:
            if self._held is None or self._clock.now() >= self._held.expires_at - _EARLY:
                self._held = await self._ask()
            return self._held

    def forget(self, refused: Credentials) -> None:
        """These were refused. Others that came meanwhile stay."""
        if self._held is refused:
            self._held = None

    async def _ask(self) -> Credentials:
        try:
            roles = (await self._metadata.get("meta-data/iam/security-credentials/")).split()
            if not roles:
                raise NoCredentials("the instance profile has no role")
            text = await self._metadata.get(f"meta-data/iam/security-credentials/{roles[0]}")
        except MetadataRefused as refused:
            if refused.status == 404:
                raise NoCredentials("the instance has no instance profile, or the profile has no role") from refused
            raise NoCredentials(str(refused)) from refused
        try:
            found = msgspec.json.decode(text, type=_Document)
            if found.code != "Success":
                raise NoCredentials(f"{found.code}: {found.message}")
            return Credentials(
                access_key_id=found.access_key_id,
                secret_access_key=found.secret_access_key,
                session_token=found.token or None,
                expires_at=_moment(found.expiration),
            )
        except (msgspec.MsgspecError, ValueError) as error:
            raise NoCredentials(f"the credentials document can't be read: {error}") from error


class Api:
    """AWS calls of the agent: as the instance's role, or as a role of a task."""

    def __init__(self, transport: Transport, role: InstanceRole) -> None:
        self._transport = transport
        self._role = role

    async def call(
        self,
        service: str,
        operation: str,
        params: dict[str, Any],
        credentials: Callable[[], Coroutine[Any, Any, Credentials]] | None = None,
    ) -> dict[str, Any]:
        """`credentials` gives those of a task's role. AwsError, NoCredentials, TransportError."""
        if credentials is not None:
            return await self._transport.aws(service, operation, params, await credentials())
        held = await self._role.credentials()
        try:
            return await self._transport.aws(service, operation, params, held)
        except AwsError as error:
            if error.code not in SESSION_IS_OVER and not error.code.startswith("AccessDenied"):
                raise
            # Refused, a role may have been mended or made anew: the next call goes with the newest session there is.
            self._role.forget(held)
            if error.code not in SESSION_IS_OVER:
                raise
            return await self._transport.aws(service, operation, params, await self._role.credentials())


def is_transient(error: Exception) -> bool:
    """Whether the same call may succeed if it is only made again: no answer, or one that tells of the server's own trouble."""
    if isinstance(error, AwsError):
        return (error.status or 400) >= 500 or error.code in ("ThrottlingException", "TooManyRequestsException")
    return isinstance(error, TransportError)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone: {text}")
    return moment
