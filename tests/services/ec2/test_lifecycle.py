"""The life of an instance: each row once, every event in every state, and a long walk."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from longshore.services.ec2 import lifecycle
from longshore.services.ec2.lifecycle import (
    LaunchFailed,
    MachineGone,
    MachineRunning,
    StateChanged,
    TerminateMachine,
    TerminationAsked,
)
from longshore.services.ec2.records import Instance, MetadataOptions, State

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVENTS = [MachineRunning(), TerminationAsked(), MachineGone(), LaunchFailed("Server.X", "Server.X: why")]
STATES: list[State] = list(get_args(State))
ORDER = {"pending": 0, "running": 1, "shutting-down": 2, "terminated": 3}


def instance(state: State = "pending") -> Instance:
    return Instance(
        instance_id="i-1", account="123456789012", region="us-east-1", zone="us-east-1a", reservation_id="r-1",
        launch_index=0, image_id="ami-1", instance_type="m5.large", state=state, private_ip="172.31.0.4",
        mac="02:42:ac:1f:00:04", network_interface_id="eni-1", attachment_id="eni-attach-1", subnet_id="subnet-1",
        vpc_id="vpc-1", security_group_ids=(), launched_at_ms=0, metadata_options=MetadataOptions(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "event", "after", "effects"),
    [
        ("pending", MachineRunning(), "running", [StateChanged]),
        ("pending", TerminationAsked(), "shutting-down", [StateChanged, TerminateMachine]),
        ("pending", MachineGone(), "terminated", [StateChanged]),
        ("pending", LaunchFailed("c", "m"), "terminated", [StateChanged]),
        ("running", MachineRunning(), "running", []),
        ("running", TerminationAsked(), "shutting-down", [StateChanged, TerminateMachine]),
        ("running", MachineGone(), "terminated", [StateChanged]),
        ("running", LaunchFailed("c", "m"), "terminated", [StateChanged]),
        ("shutting-down", MachineRunning(), "shutting-down", []),
        ("shutting-down", TerminationAsked(), "shutting-down", []),
        ("shutting-down", MachineGone(), "terminated", [StateChanged]),
        ("shutting-down", LaunchFailed("c", "m"), "terminated", [StateChanged]),
        ("terminated", MachineRunning(), "terminated", []),
        ("terminated", TerminationAsked(), "terminated", []),
        ("terminated", MachineGone(), "terminated", []),
        ("terminated", LaunchFailed("c", "m"), "terminated", []),
    ],
)
def test_each_row_of_the_table(state, event, after, effects) -> None:
    made, caused = lifecycle.step(instance(state), event, NOW)
    assert made.state == after
    assert [type(effect) for effect in caused] == effects


def test_every_event_can_befall_in_every_state() -> None:
    assert set(lifecycle.TRANSITIONS) == {(state, type(event)) for state in STATES for event in EVENTS}


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_states_only_go_forward_and_an_end_is_told_once(seed) -> None:
    chance = random.Random(seed)
    current, ends = instance(), 0
    for second in range(50):
        event = chance.choice(EVENTS)
        after, effects = lifecycle.step(current, event, NOW + timedelta(seconds=second))
        assert ORDER[after.state] >= ORDER[current.state]
        assert (after.ended_at_ms is not None) == (after.state == "terminated")
        told = [effect.state for effect in effects if isinstance(effect, StateChanged)]
        assert told == ([after.state] if after.state != current.state else [])
        if current.state == "shutting-down" and after.state == "terminated":
            assert after.reason_code == "Client.UserInitiatedShutdown"  # Why it was asked is not overwritten.
        ends += told.count("terminated")
        current = after
    assert ends <= 1
