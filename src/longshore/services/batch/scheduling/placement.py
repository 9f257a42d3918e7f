"""Which of the instances takes a job. Pure.

AWS does not say how Batch packs. Here a job goes where least is left over, by memory, then CPU: filling the fullest leaves
whole instances to be given back.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from msgspec import Struct

from longshore.services.batch.scheduling.snapshot import Head

NOTHING = Head(0, 0, 0)


class Room(Struct, order=True):
    """What an instance has left during one decision. Their order is the order in which they are filled."""

    memory_left: int
    cpu_left: int
    number: int  # of the instance, or above all of them: one that this decision launches


class Rooms:
    """Instances with room, the fullest first; those that could not even hold the `least` are left out."""

    def __init__(self, least: Head = NOTHING) -> None:
        self._least = least
        self._rooms: list[Room] = []

    def add(self, room: Room) -> None:
        if room.cpu_left >= self._least.cpu and room.memory_left >= self._least.memory_mib:
            insort(self._rooms, room)

    def take(self, head: Head) -> int | None:
        """The number of the instance that now holds the job. None: it fits nowhere."""
        if head.gpus:
            return None
        for at in range(bisect_left(self._rooms, Room(head.memory_mib, 0, 0)), len(self._rooms)):
            if self._rooms[at].cpu_left >= head.cpu:
                room = self._rooms.pop(at)
                room.memory_left -= head.memory_mib
                room.cpu_left -= head.cpu
                self.add(room)
                return room.number
        return None


def least_of(heads: list[Head]) -> Head:
    """The least CPU and the least memory that any of them asks."""
    if not heads:
        return NOTHING
    return Head(0, min(head.cpu for head in heads), min(head.memory_mib for head in heads))
