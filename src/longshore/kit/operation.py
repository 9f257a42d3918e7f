"""An AWS operation is a function `(call, request) -> response`; these decorators say which one, and how it is run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from msgspec import Struct

if TYPE_CHECKING:
    from longshore.kit.call import Call
    from longshore.kit.stream import StreamSession

Request = Mapping[str, Any]
Response = dict[str, Any]
Handler = Callable[["Call", Request], Response]
StreamHandler = Callable[["StreamSession"], Awaitable[None]]

_READS = ("describe_", "list_", "get_", "simulate_", "lookup_", "discover_", "batch_get_", "filter_")
_F = TypeVar("_F", bound=Callable[..., Any])


class Operation(Struct, frozen=True):
    """`writes` False: it runs on a snapshot, beside the writer; a write inside it is an error."""

    python_name: str
    handler: Handler
    writes: bool


class Stream(Struct, frozen=True):
    """A websocket of the agent. `path` is where it is reached, `action` what its handshake must be allowed."""

    path: str
    action: str
    handler: StreamHandler


class Extension(Struct, frozen=True):
    """What AWS has no operation for: signed and authorized like all else. `path` may hold `{member}` parts."""

    method: str
    path: str
    action: str
    handler: Handler
    writes: bool


@overload
def operation(handler: _F) -> _F: ...
@overload
def operation(*, writes: bool) -> Callable[[_F], _F]: ...
def operation(handler: _F | None = None, *, writes: bool | None = None) -> _F | Callable[[_F], _F]:
    """Marks a handler as the AWS operation of the same name.

    `writes` None: told by the name (`describe_`, `list_`, `get_` ... only read).
    """

    def mark(function: _F) -> _F:
        name = function.__name__
        decided = not name.startswith(_READS) if writes is None else writes
        function.__longshore__ = Operation(name, function, decided)  # type: ignore[attr-defined]
        return function

    return mark(handler) if handler is not None else mark


def stream(*, path: str, action: str) -> Callable[[_F], _F]:
    def mark(function: _F) -> _F:
        function.__longshore__ = Stream(path, action, function)  # type: ignore[attr-defined]
        return function

    return mark


def extension(method: str, path: str, *, action: str, writes: bool = False) -> Callable[[_F], _F]:
    def mark(function: _F) -> _F:
        function.__longshore__ = Extension(method, path, action, function, writes)  # type: ignore[attr-defined]
        return function

    return mark


def collect(modules: Iterable[ModuleType]) -> list[Operation | Stream | Extension]:
    """All that the modules' functions are marked as, in the order of the modules' own pages."""
    found: list[Operation | Stream | Extension] = []
    for module in modules:
        for value in vars(module).values():
            mark = getattr(value, "__longshore__", None)
            if isinstance(mark, (Operation, Stream, Extension)) and value.__module__ == module.__name__:
                found.append(mark)
    return found
