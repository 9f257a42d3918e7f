"""An agent's batch that comes twice, whole or in part, is kept once; other tokens mean nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.services.logs.repeats import WRITERS_MAX, Stretch, moved, stretch

GROUP, STREAM = "/aws/batch/job", "sleep/default/1"
NOW = 1767225600000
WRITER, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def logs(house):
    client = house.client("logs")
    client.create_log_group(logGroupName=GROUP)
    client.create_log_stream(logGroupName=GROUP, logStreamName=STREAM)
    return client


def token(start: int, *lines: str, writer: str = WRITER) -> str:
    sizes = [len(line) + 1 for line in lines]
    return f"longshore/1/{writer}/{start}/{start + sum(sizes)}/{','.join(map(str, sizes))}"


def put(logs, sent_as: str, *lines: str, at: int = NOW):
    events = [{"timestamp": at, "message": line} for line in lines]
    return logs.put_log_events(logGroupName=GROUP, logStreamName=STREAM, logEvents=events, sequenceToken=sent_as)


def kept(logs) -> list[str]:
    answer = logs.get_log_events(logGroupName=GROUP, logStreamName=STREAM, startFromHead=True)
    return [event["message"] for event in answer["events"]]


def test_a_batch_that_comes_twice_is_kept_once(logs) -> None:
    first = put(logs, token(0, "one", "two"), "one", "two")
    again = put(logs, token(0, "one", "two"), "one", "two")
    assert kept(logs) == ["one", "two"]
    assert again["nextSequenceToken"] == first["nextSequenceToken"]
    put(logs, token(8, "three"), "three")
    # It was given up by its sender, and arrives behind the one that came after it.
    put(logs, token(0, "one", "two"), "one", "two")
    assert kept(logs) == ["one", "two", "three"]


def test_of_a_batch_that_is_there_in_part_the_rest_is_kept(logs) -> None:
    put(logs, token(0, "one", "two"), "one", "two")
    # Another agent read the same output, and cut it otherwise.
    put(logs, token(4, "two", "three", "four"), "two", "three", "four")
    assert kept(logs) == ["one", "two", "three", "four"]
    put(logs, token(0, "one"), "one")
    put(logs, token(0, "one", "two", "three", "four", "five"), "one", "two", "three", "four", "five")
    assert kept(logs) == ["one", "two", "three", "four", "five"]


def test_each_writer_of_a_stream_has_a_place_of_its_own(logs) -> None:
    put(logs, token(0, "one"), "one")
    put(logs, token(0, "uno", writer=OTHER), "uno")
    put(logs, token(0, "one"), "one")
    assert kept(logs) == ["one", "uno"]


def test_what_was_cut_out_for_its_age_does_not_come_back(logs) -> None:
    put(logs, token(0, "one"), "one", at=NOW - 15 * 24 * 3600 * 1000)
    put(logs, token(0, "one"), "one")
    assert kept(logs) == []


def test_a_stream_that_was_made_anew_knows_nothing_of_before(logs) -> None:
    put(logs, token(0, "one"), "one")
    logs.delete_log_stream(logGroupName=GROUP, logStreamName=STREAM)
    logs.create_log_stream(logGroupName=GROUP, logStreamName=STREAM)
    put(logs, token(0, "one"), "one")
    put(logs, token(4, "two"), "two")
    assert kept(logs) == ["one", "two"]


@pytest.mark.parametrize(
    "foreign",
    [
        "49039859593098456789012345678901234567890123456789012345",
        "longshore",
        "longshore/1/x/0/4/4",
        f"longshore/1/{WRITER}/4/4/0",
        f"longshore/1/{WRITER}/5/4/1",
        f"longshore/1/{WRITER}/0/4/",
        f"longshore/1/{WRITER}/0/{'9' * 19}/1",
        f"longshore/2/{WRITER}/0/4/4",
        f" {token(0, 'one')}",
    ],
)
def test_any_other_token_means_nothing(logs, foreign: str) -> None:
    for _ in range(2):
        put(logs, foreign, "one")
    assert kept(logs) == ["one", "one"]


def test_sizes_that_are_not_those_of_the_events_mean_nothing() -> None:
    for sizes in ("2,2,1", "2,2,2,2", "6", ",,,", "2,,4"):
        assert Stretch(WRITER, 0, 6, sizes).there(3, 3) == 0


def test_of_many_writers_those_that_wrote_last_are_remembered() -> None:
    positions: dict[str, int] = {}
    for number in range(WRITERS_MAX + 5):
        positions = moved(positions, Stretch(f"{number:032x}", 0, 10, "10"))
        positions = moved(positions, Stretch(WRITER, number, number + 1, "1"))
    assert len(positions) == WRITERS_MAX
    assert positions[WRITER] == WRITERS_MAX + 5
    assert f"{0:032x}" not in positions


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(0, 2**32))
def test_however_batches_are_cut_lost_doubled_and_late_each_line_is_kept_once_and_in_order(
    sizes: list[int], seed: int
) -> None:
    """Senders that know less and less of what arrived; each goes on till its last batch was taken."""
    chance = random.Random(seed)
    ends = [sum(sizes[: count + 1]) for count in range(len(sizes))]
    there: list[int] = []
    positions: dict[str, int] = {}
    flying: list[tuple[str, int, int]] = []  # batches that may still arrive

    def arrive(batch: tuple[str, int, int]) -> None:
        nonlocal positions
        sent_as, first, last = batch
        found = stretch(sent_as)
        assert found is not None
        skip = found.there(positions.get(WRITER, 0), last - first)
        there.extend(range(first + skip, last))
        positions = moved(positions, found)

    acknowledged = 0
    while acknowledged < len(sizes):
        first = acknowledged  # A new agent: it goes on from what it wrote down.
        lives_for = chance.randint(0, 4)
        while first < len(sizes):
            last = chance.randint(first + 1, len(sizes))
            start = ends[first - 1] if first else 0
            text = ",".join(map(str, sizes[first:last]))
            batch = (f"longshore/1/{WRITER}/{start}/{ends[last - 1]}/{text}", first, last)
            flying.append(batch)
            for late in chance.sample(flying, chance.randint(0, len(flying))):
                if late is not batch:
                    arrive(late)
            if lives_for == 0:
                break  # It dies, and does not know whether this one arrived.
            arrive(batch)
            lives_for -= 1
            first = acknowledged = last if chance.random() < 0.7 else acknowledged
            if first != last:
                break  # It dies before it has written down that it arrived.
    assert there == list(range(len(sizes)))
