from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from batch_room import Room
from in_process import InProcessHouse
from longshore.aws.wire import codec
from longshore.services.batch.service import SERVICE


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    monkeypatch.setattr(SERVICE, "loops", [])
    monkeypatch.setattr(SERVICE, "subscriptions", {})
    monkeypatch.setattr(codec, "serialize", functools.partial(codec.serialize, strict=True))
    house = InProcessHouse()
    yield Room(house)
    house.close()


@pytest.fixture
def ready(room: Room) -> Room:
    """With a queue `q` on a compute environment `ce`, and a job definition `jd`."""
    room.profile()
    room.queue()
    room.define()
    return room
