"""Which of the instances takes a job. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from longshore.services.batch.scheduling.snapshot import Head, InstanceView


class Room(Protocol):
    """An instance with what it has left; changed as jobs are placed."""

    cpu_left: int
    memory_left: int


class Slot:
    """An instance during one decision."""

    __slots__ = ("cpu_left", "instance", "memory_left")

    def __init__(self, instance: InstanceView) -> None:
        self.instance = instance
        self.cpu_left = instance.cpu - instance.cpu_used
        self.memory_left = instance.memory_mib - instance.memory_used


def fits(head: Head, room: Room) -> bool:
    return head.cpu <= room.cpu_left and head.memory_mib <= room.memory_left and head.gpus == 0


def take(head: Head, room: Room) -> None:
    room.cpu_left -= head.cpu
    room.memory_left -= head.memory_mib


R = TypeVar("R", bound="Room")


def best(head: Head, rooms: Iterable[R]) -> R | None:
    """The room where least is left over, by memory, then CPU; the first of equals. None: it fits nowhere.

    AWS does not say how it packs; filling the fullest leaves whole instances to be given back.
    """
    chosen: R | None = None
    for room in rooms:
        if fits(head, room) and (
            chosen is None or (room.memory_left, room.cpu_left) < (chosen.memory_left, chosen.cpu_left)
        ):
            chosen = room
    return chosen
