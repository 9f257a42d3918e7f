"""Calls as they are kept: many in one section, a few sections in one block. Pure.

A row of its own for each call would cost more than the call. So the calls of one account and region are written as a section,
those of half a second, in one go: what is done to many things in a row costs a fourth of what it does in between other work.

    [[identity, user name, access key id], ...]  callers   what calls have in common is told once
    [user agent, ...]
    [[at, request id, ...], ...]                 calls     in the order in which they were answered (`Kept`)

A block is one row: sections, one in a line, for a house where little is called would else have a row for each call again.
What its calls can be looked up by is told once more, as the block's words: who looks for a word opens only blocks that have it.

A call's sequence is its block's number and its place in the block, so that it names the place where it is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from longshore.aws.clock import milliseconds
from longshore.aws.principal import Principal
from longshore.services.cloudtrail import record
from longshore.services.cloudtrail.record import Caller, Kept, Row

SECTION_CALLS_MAX = 500  # A section is made and written at one go, and others wait meanwhile.
BLOCK_CALLS_MAX = 1024  # places of a block
BLOCK_BYTES_MAX = 32 * 1024  # of a block that another section is put to: it is written anew with it
# Of a block, from its first call on: old calls go by blocks, and a block is to be as old as what stands beside it.
BLOCK_MILLISECONDS_MAX = 3_600_000
BETWEEN = "\n"


class Entry(Protocol):
    """One call, as the gateway tells it."""

    @property
    def time(self) -> datetime: ...
    @property
    def request_id(self) -> str: ...
    @property
    def principal(self) -> Principal: ...
    @property
    def service(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def source_ip(self) -> str: ...
    @property
    def user_agent(self) -> str: ...
    @property
    def read_only(self) -> bool: ...
    @property
    def resource(self) -> str | None: ...
    @property
    def error_code(self) -> str | None: ...
    @property
    def error_message(self) -> str | None: ...
    @property
    def invoked_by(self) -> str | None: ...
    @property
    def request(self) -> Mapping[str, Any] | None: ...
    @property
    def response(self) -> Mapping[str, Any] | None: ...


class _Section(Struct, frozen=True, array_like=True, gc=False):
    callers: tuple[Caller, ...]
    agents: tuple[str, ...]
    calls: tuple[Kept, ...]


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Section)


class Draft:
    """A section that is being made: calls of one account and region, SECTION_CALLS_MAX of them at most."""

    __slots__ = (
        "_agents", "_callers", "_callers_told", "_calls", "_resources", "account", "first_at", "last_at", "latest", "refusals",
        "region",
    )  # fmt: skip

    def __init__(self, account: str, region: str) -> None:
        self.account = account
        self.region = region
        self.first_at = 0
        self.last_at = 0
        self.refusals: list[Entry] = []
        # The last call of each caller, service and operation.
        self.latest: dict[tuple[int, str, str], Entry] = {}
        self._calls: list[bytes] = []
        self._callers: dict[tuple[str | None, str, str | None], int] = {}
        self._callers_told: list[Caller] = []
        self._agents: dict[str, int] = {}
        self._resources: set[str] = set()

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, entry: Entry, *, with_details: bool = True) -> None:
        """ValueError and the like: something of it can't be written down, and nothing of it is kept."""
        principal = entry.principal
        key = (principal.access_key_id, principal.arn, entry.invoked_by)
        caller = self._callers.get(key)
        if caller is None:
            caller = self._call_in(key, principal, entry.invoked_by)
        agent = self._agents.get(entry.user_agent)
        if agent is None:
            _ENCODER.encode(entry.user_agent)
            agent = self._agents[entry.user_agent] = len(self._agents)
        at = milliseconds(entry.time)
        service, name, code = entry.service, entry.operation, entry.error_code
        resource, message, parameters, elements = "", None, record.NOTHING, record.NOTHING
        if with_details:
            resource, message = entry.resource or "", entry.error_message
            parameters = record.field(service, name, entry.request, is_answer=False)
            elements = record.field(service, name, None if code else entry.response, is_answer=True)
        self._calls.append(
            _ENCODER.encode(
                (
                    at, entry.request_id, caller, agent, entry.source_ip, service, name, entry.read_only, resource, code,
                    message, parameters, elements,
                )
            )
        )  # fmt: skip
        if not self.first_at or at < self.first_at:
            self.first_at = at
        if at > self.last_at:
            self.last_at = at
        if resource:
            self._resources.add(resource)
        self.latest[caller, service, name] = entry

    def _call_in(self, key: tuple[str | None, str, str | None], principal: Principal, invoked_by: str | None) -> int:
        told = Caller(
            identity=record.identity(principal, invoked_by),
            user=record.user_name(principal),
            access_key_id=principal.access_key_id or "",
        )
        _ENCODER.encode(told)  # That it can be is found out now, not when the others would suffer from it.
        self._callers_told.append(told)
        number = self._callers[key] = len(self._callers)
        return number

    def text(self) -> str:
        callers = _ENCODER.encode(self._callers_told)
        agents = _ENCODER.encode(list(self._agents))
        return b"".join((b"[", callers, b",", agents, b",[", b",".join(self._calls), b"]]")).decode()

    def words(self) -> str:
        """Each with a line end before it and one after it, so that a whole word is looked for."""
        found = {f"n:{name}" for _, _, name in self.latest}
        found |= {f"s:{record.source(service)}" for _, service, _ in self.latest}
        found |= {f"o:{record.read_only(each.read_only)}" for each in self.latest.values()}
        found |= {f"u:{each.user}" for each in self._callers_told}
        found |= {f"k:{each.access_key_id}" for each in self._callers_told}
        found |= {f"r:{resource}" for resource in self._resources}
        return BETWEEN + "".join(each.replace(BETWEEN, " ") + BETWEEN for each in sorted(found))


def goes_to(draft: Draft, *, calls: int, size: int, first_at: int) -> bool:
    """Whether it is put to the block with so many calls, the first at that time. `size`: of the block's text with it."""
    return (
        calls + len(draft) <= BLOCK_CALLS_MAX
        and size <= BLOCK_BYTES_MAX
        and draft.last_at - first_at <= BLOCK_MILLISECONDS_MAX
    )


def rows(number: int, text: str, account: str, region: str) -> Iterator[Row]:
    """The calls of the block with this number, the newest first."""
    sections = [_DECODER.decode(section) for section in text.split(BETWEEN)]
    place = sum(len(section.calls) for section in sections)
    for section in reversed(sections):
        for kept in reversed(section.calls):
            place -= 1
            yield Row(
                sequence=sequence(number, place),
                account=account,
                region=region,
                kept=kept,
                caller=section.callers[kept.caller],
                user_agent=section.agents[kept.agent],
            )


def sequence(number: int, place: int) -> int:
    return number * BLOCK_CALLS_MAX + place


def number(of_sequence: int) -> int:
    """Of the block."""
    return of_sequence // BLOCK_CALLS_MAX
