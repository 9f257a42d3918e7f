"""The life of an instance. Pure: an instance and an event in, an instance and effects out.

              MachineRunning            TerminationAsked              MachineGone
    pending -----------------> running -----------------> shutting-down ---------> terminated
       |                          |                                                   ^
       +--------------------------+------------- MachineGone, LaunchFailed -----------+

Source: EC2 user guide, "Instance lifecycle" and "Instance terminates immediately" (the reasons).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from longshore.aws.clock import milliseconds
from longshore.services.ec2.records import Instance, State


class MachineRunning(Struct, frozen=True):
    """The machine has booted."""


class TerminationAsked(Struct, frozen=True):
    """Somebody wants it ended. `code` and `message` are those of StateReason."""

    code: str = "Client.UserInitiatedShutdown"
    message: str = "Client.UserInitiatedShutdown: User initiated shutdown"
    initiator: str = "User initiated"  # what StateTransitionReason begins with


class MachineGone(Struct, frozen=True):
    """The machine has ended: as asked, or of itself."""

    code: str = "Server.InternalError"
    message: str = "Server.InternalError: the machine under the instance is gone"


class LaunchFailed(Struct, frozen=True):
    """No machine could be made."""

    code: str
    message: str


Event = MachineRunning | TerminationAsked | MachineGone | LaunchFailed


class StateChanged(Struct, frozen=True):
    """An effect: tell that the instance is in a new state."""

    state: State
    reason: str | None = None


class TerminateMachine(Struct, frozen=True):
    """An effect: have the machine ended."""


Effect = StateChanged | TerminateMachine
Step = tuple[Instance, list[Effect]]


def step(instance: Instance, event: Event, now: datetime) -> Step:
    """The instance after the event, and what is now to be done. What changes nothing has no effects."""
    return TRANSITIONS[instance.state, type(event)](instance, event, now)


def _run(instance: Instance, event: Any, now: datetime) -> Step:
    running = replace(instance, state="running", reason_code=None, reason_message=None, running_at_ms=milliseconds(now))
    return running, [StateChanged("running")]


def _shut_down(instance: Instance, event: TerminationAsked, now: datetime) -> Step:
    ending = replace(
        instance,
        state="shutting-down",
        reason_code=event.code,
        reason_message=event.message,
        transition_reason=f"{event.initiator} ({now:%Y-%m-%d %H:%M:%S} GMT)",
    )
    return ending, [StateChanged("shutting-down", event.message), TerminateMachine()]


def _end_as_asked(instance: Instance, event: Any, now: datetime) -> Step:
    ended = replace(instance, state="terminated", ended_at_ms=milliseconds(now))
    return ended, [StateChanged("terminated", instance.reason_message)]


def _end_of_itself(instance: Instance, event: MachineGone | LaunchFailed, now: datetime) -> Step:
    ended = replace(
        instance,
        state="terminated",
        reason_code=event.code,
        reason_message=event.message,
        transition_reason=event.code,
        ended_at_ms=milliseconds(now),
    )
    return ended, [StateChanged("terminated", event.message)]


def _stay(instance: Instance, event: Any, now: datetime) -> Step:
    return instance, []


TRANSITIONS: dict[tuple[State, type[Event]], Callable[[Instance, Any, datetime], Step]] = {
    ("pending", MachineRunning): _run,
    ("pending", TerminationAsked): _shut_down,
    ("pending", MachineGone): _end_of_itself,
    ("pending", LaunchFailed): _end_of_itself,
    ("running", MachineRunning): _stay,  # a report that came twice
    ("running", TerminationAsked): _shut_down,
    ("running", MachineGone): _end_of_itself,
    ("running", LaunchFailed): _end_of_itself,
    ("shutting-down", MachineRunning): _stay,  # it ended while it booted
    ("shutting-down", TerminationAsked): _stay,
    ("shutting-down", MachineGone): _end_as_asked,
    ("shutting-down", LaunchFailed): _end_as_asked,
    ("terminated", MachineRunning): _stay,
    ("terminated", TerminationAsked): _stay,
    ("terminated", MachineGone): _stay,
    ("terminated", LaunchFailed): _stay,
}
