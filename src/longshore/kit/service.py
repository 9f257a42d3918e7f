"""The door of a room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from longshore.kit.access import Access
from longshore.kit.operation import Extension, Operation, Stream, collect

if TYPE_CHECKING:
    from longshore.kit.call import Call
    from longshore.kit.event import Event
    from longshore.kit.loop import Loop

Subscription = Callable[["Call", "Event"], None]


class Service:
    """A room: its operations, what they ask, its loops and the events that it hears.

    `name` is the name of the botocore model and the prefix of its actions.
    `subscriptions`: detail type -> reaction, run in a transaction of its own with the room's service principal.
    `loops` are made once per house.
    """

    def __init__(
        self,
        name: str,
        *,
        operations: Sequence[ModuleType],
        access: Mapping[str, Access],
        loops: Sequence[Callable[[], Loop]] = (),
        subscriptions: Mapping[str, Subscription] | None = None,
    ) -> None:
        self.name = name
        marks = collect(operations)
        # python name without underscores, lower case -> operation: `listmfadevices` meets `ListMFADevices` of the model.
        self.operations = {mark.python_name.replace("_", ""): mark for mark in marks if isinstance(mark, Operation)}
        self.streams = [mark for mark in marks if isinstance(mark, Stream)]
        self.extensions = [mark for mark in marks if isinstance(mark, Extension)]
        self.access = dict(access)  # operation name of the model ("SubmitJob") -> what is asked
        self.loops = list(loops)
        self.subscriptions = dict(subscriptions or {})

    def operation(self, name: str) -> Operation | None:
        """The operation of the model's name, `CreateJobQueue`; None: Longshore does not offer it."""
        return self.operations.get(name.lower())
