"""The door of a room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from msgspec import Struct

from longshore.kit.access import Access
from longshore.kit.operation import Extension, Operation, Stream, collect

if TYPE_CHECKING:
    from longshore.kit.call import Call
    from longshore.kit.event import Event
    from longshore.kit.loop import Loop

Subscription = Callable[["Call", "Event"], None]


class Rule(Struct, frozen=True):
    """A subscription to some events of a type, as a rule of EventBridge has a pattern.

    `where`: name of a fact of the event -> its values that are heard. A fact that its room does not state lets it through.
    """

    reaction: Subscription
    where: Mapping[str, frozenset[str]] = {}


class Service:
    """A room: its operations, what they ask, its loops and the events that it hears.

    `name` is the name of the botocore model and the prefix of its actions.
    `subscriptions`: detail type -> reaction, or the rule by which some of them are heard; it runs in a transaction of its
    own with the room's service principal.
    `loops` are made once per house.
    """

    def __init__(
        self,
        name: str,
        *,
        operations: Sequence[ModuleType],
        access: Mapping[str, Access],
        loops: Sequence[Callable[[], Loop]] = (),
        subscriptions: Mapping[str, Subscription | Rule] | None = None,
    ) -> None:
        self.name = name
        marks = collect(operations)
        # python name without underscores, lower case -> operation: `listmfadevices` meets `ListMFADevices` of the model.
        self.operations = {mark.python_name.replace("_", ""): mark for mark in marks if isinstance(mark, Operation)}
        self.streams = [mark for mark in marks if isinstance(mark, Stream)]
        self.extensions = [mark for mark in marks if isinstance(mark, Extension)]
        self.access = dict(access)  # operation name of the model ("SubmitJob") -> what is asked
        self.loops = list(loops)
        rules = {name: each if isinstance(each, Rule) else Rule(each) for name, each in (subscriptions or {}).items()}
        self.subscriptions = {name: rule.reaction for name, rule in rules.items()}
        self.patterns = {name: rule.where for name, rule in rules.items()}

    def operation(self, name: str) -> Operation | None:
        """The operation of the model's name, `CreateJobQueue`; None: Longshore does not offer it."""
        return self.operations.get(name.lower())
