"""Log events: written, read by tokens, filtered."""

from __future__ import annotations

import random

import pytest

from refusals import refused, unchecked

GROUP, STREAM = "/aws/batch/job", "sleep/default/1"
NOW = 1767225600000
HOUR, DAY = 3600 * 1000, 24 * 3600 * 1000


@pytest.fixture
def logs(house):
    client = house.client("logs")
    client.create_log_group(logGroupName=GROUP)
    client.create_log_stream(logGroupName=GROUP, logStreamName=STREAM)
    return client


def put(logs, *events, stream=STREAM, **more):
    sent = [{"timestamp": NOW + at, "message": text} for at, text in events]
    return logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=sent, **more)


def get(logs, **more):
    return logs.get_log_events(logGroupName=GROUP, logStreamName=STREAM, **more)


def texts(answer):
    return [event["message"] for event in answer["events"]]


def test_what_is_written_is_read(house, logs) -> None:
    answer = put(logs, (0, "one"), (0, "two"), (5, "dreiß ☃"), sequenceToken="ignored")
    assert answer["nextSequenceToken"] and "rejectedLogEventsInfo" not in answer
    assert get(logs)["events"] == [
        {"timestamp": NOW, "message": "one", "ingestionTime": NOW},
        {"timestamp": NOW, "message": "two", "ingestionTime": NOW},
        {"timestamp": NOW + 5, "message": "dreiß ☃", "ingestionTime": NOW},
    ]


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([(5, "a"), (4, "b")], "Log events in a single PutLogEvents request must be in chronological order."),
        (
            [(-DAY - 1, "a"), (0, "b")],
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ),
        ([(0, "x" * 1_048_551)], "Upload too large: 1048577 bytes exceeds limit of 1048576"),
        ([(0, "☃" * 349_600)], "Upload too large: 1048826 bytes exceeds limit of 1048576"),
    ],
)
def test_batches_that_cannot_be_are_refused_whole(logs, events, message) -> None:
    with refused("InvalidParameterException", message, status=400):
        put(logs, *events)
    assert get(logs)["events"] == []


def test_sizes_at_the_limit_pass(logs) -> None:
    put(logs, (0, "x" * (1_048_576 - 26)))
    put(logs, *[(index, "m") for index in range(10_000)])
    with refused("InvalidParameterException", status=400):
        unchecked(logs)
        put(logs, *[(index, "m") for index in range(10_001)])


def test_events_too_old_or_too_new_are_left_out_and_told(logs) -> None:
    old = put(logs, (-14 * DAY - 2, "older"), (-14 * DAY - 1, "old"), (-14 * DAY, "kept"))
    assert old["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 2}
    new = put(logs, (2 * HOUR, "edge"), (2 * HOUR + 1, "new"), (3 * HOUR, "newer"))
    assert new["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 1}
    assert texts(get(logs, startFromHead=True)) == ["kept", "edge"]
    logs.put_retention_policy(logGroupName=GROUP, retentionInDays=1)
    expired = put(logs, (-DAY - 1, "expired"), (-DAY, "fresh"))
    assert expired["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}
    assert texts(get(logs, startFromHead=True)) == ["fresh", "edge"]  # What was kept is past its time now.


def test_what_retention_has_passed_goes_from_the_disk(house, logs) -> None:
    put(logs, (-2 * DAY, "old"), (-DAY - 1, "older than a day"))
    put(logs, (-DAY + 2 * HOUR, "younger"))
    logs.put_retention_policy(logGroupName=GROUP, retentionInDays=1)
    house.pass_time(3601)
    logs.delete_retention_policy(logGroupName=GROUP)
    assert texts(get(logs, startFromHead=True)) == ["younger"]
    house.pass_time(30 * 24 * 3600)
    assert texts(get(logs, startFromHead=True)) == ["younger"]


def test_what_is_not_there_is_named(logs) -> None:
    with refused("ResourceNotFoundException", "The specified log group does not exist.", status=400):
        logs.put_log_events(logGroupName="/gone", logStreamName="s", logEvents=[{"timestamp": NOW, "message": "m"}])
    with refused("ResourceNotFoundException", "The specified log stream does not exist.", status=400):
        put(logs, (0, "m"), stream="gone")
    with refused("ResourceNotFoundException", "The specified log stream does not exist.", status=400):
        logs.get_log_events(logGroupName=GROUP, logStreamName="gone")


def test_the_newest_page_comes_first_unless_asked_from_the_head(logs) -> None:
    put(logs, *[(index, f"m{index}") for index in range(10)])
    newest = get(logs, limit=3)
    assert texts(newest) == ["m7", "m8", "m9"]
    older = get(logs, limit=3, nextToken=newest["nextBackwardToken"])
    assert texts(older) == ["m4", "m5", "m6"]
    assert texts(get(logs, limit=3, nextToken=older["nextForwardToken"])) == ["m7", "m8", "m9"]
    first = get(logs, limit=3, startFromHead=True)
    assert texts(first) == ["m0", "m1", "m2"]
    assert texts(get(logs, limit=3, startFromHead=True, nextToken=first["nextForwardToken"])) == ["m3", "m4", "m5"]


def test_at_an_end_the_token_that_was_sent_comes_back(logs) -> None:
    put(logs, *[(index, f"m{index}") for index in range(3)])
    answer = get(logs, startFromHead=True)
    end = get(logs, startFromHead=True, nextToken=answer["nextForwardToken"])
    assert end["events"] == [] and end["nextForwardToken"] == answer["nextForwardToken"]
    head = get(logs, nextToken=answer["nextBackwardToken"])
    assert head["events"] == [] and head["nextBackwardToken"] == answer["nextBackwardToken"]
    # From either end the way back leads to the events again.
    assert texts(get(logs, nextToken=end["nextBackwardToken"])) == ["m0", "m1", "m2"]
    assert texts(get(logs, startFromHead=True, nextToken=head["nextForwardToken"])) == ["m0", "m1", "m2"]


def test_who_waits_at_the_end_sees_what_comes(logs) -> None:
    for wait in ({}, {"startFromHead": True}):
        empty = get(logs, **wait)
        assert empty["events"] == [] and empty["nextForwardToken"].startswith("f/")
    put(logs, (0, "first"))
    seen = get(logs, startFromHead=True, nextToken=empty["nextForwardToken"])
    assert texts(seen) == ["first"]
    put(logs, (0, "same moment"), (1, "later"))
    assert texts(get(logs, startFromHead=True, nextToken=seen["nextForwardToken"])) == ["same moment", "later"]


def test_who_asked_before_anything_was_written_sees_it_too(logs) -> None:
    token = get(logs)["nextForwardToken"]
    put(logs, (0, "first"))
    assert texts(get(logs, startFromHead=True, nextToken=token)) == ["first"]


def test_times_bound_a_page_and_the_end_is_left_out(logs) -> None:
    put(logs, *[(index, f"m{index}") for index in range(6)])
    assert texts(get(logs, startTime=NOW + 2, endTime=NOW + 4)) == ["m2", "m3"]
    assert texts(get(logs, startTime=NOW + 2, endTime=NOW + 4, startFromHead=True, limit=1)) == ["m2"]


def test_tokens_that_are_none_are_refused(logs) -> None:
    for token in ("rubbish", "f/1", "x/" + "0" * 56, "f/" + "²" * 56):
        with refused("InvalidParameterException", "The specified nextToken is invalid.", status=400):
            get(logs, nextToken=token)
    with refused("InvalidParameterException", status=400):
        unchecked(logs)
        get(logs, limit=10_001)


def test_a_page_holds_a_mebibyte(logs) -> None:
    for index in range(3):
        put(logs, (index, str(index) * 500_000))
    first = get(logs, startFromHead=True)
    assert [text[0] for text in texts(first)] == ["0", "1"]
    second = get(logs, startFromHead=True, nextToken=first["nextForwardToken"])
    assert [text[0] for text in texts(second)] == ["2"]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_was_written_pages_forth_and_back_show_all_of_it_once(logs, seed) -> None:
    chance = random.Random(seed)
    written = []
    for batch in range(8):
        times = sorted(chance.randrange(50) for _ in range(chance.randrange(1, 9)))
        events = [(at, f"{batch}/{index}") for index, at in enumerate(times)]
        put(logs, *events)
        written += events
    order = [text for _, text in sorted(written, key=lambda event: event[0])]  # a stable sort: as they were written

    def walk(token_name, **request):
        found, token = [], None
        for _ in range(200):
            answer = get(logs, limit=chance.randrange(1, 5), **({"nextToken": token} if token else {}), **request)
            if token == answer[token_name]:
                return found
            token = answer[token_name]
            page = texts(answer)
            found = found + page if token_name == "nextForwardToken" else page + found
        raise AssertionError("no end")

    assert walk("nextForwardToken", startFromHead=True) == order
    assert walk("nextBackwardToken") == order


# Across streams.


@pytest.fixture
def streams(logs):
    for name in ("a", "ab", "b"):
        logs.create_log_stream(logGroupName=GROUP, logStreamName=name)
    put(logs, (1, "a one error"), (4, "a two"), stream="a")
    put(logs, (1, "ab one"), (3, "ab two error"), stream="ab")
    put(logs, (2, "b one"), (3, "b two error warning"), stream="b")
    return logs


def filtered(logs, **more):
    return logs.filter_log_events(logGroupName=GROUP, **more)


def test_events_of_a_group_come_in_the_order_of_time(streams) -> None:
    answer = filtered(streams)
    assert texts(answer) == ["a one error", "ab one", "b one", "ab two error", "b two error warning", "a two"]
    assert set(answer["events"][0]) == {"logStreamName", "timestamp", "message", "ingestionTime", "eventId"}
    assert len({event["eventId"] for event in answer["events"]}) == 6 and "nextToken" not in answer
    assert texts(filtered(streams, logStreamNamePrefix="a")) == ["a one error", "ab one", "ab two error", "a two"]
    assert texts(filtered(streams, logStreamNames=["b", "a"])) == [
        "a one error",
        "b one",
        "b two error warning",
        "a two",
    ]
    assert texts(filtered(streams, startTime=NOW + 2, endTime=NOW + 3)) == [
        "b one",
        "ab two error",
        "b two error warning",
    ]
    with refused("InvalidParameterException", status=400):
        filtered(streams, logStreamNames=["a"], logStreamNamePrefix="a")
    with refused("ResourceNotFoundException", status=400):
        filtered(streams, logStreamNames=["gone"])


@pytest.mark.parametrize("more", [{}, {"logStreamNames": ["a", "ab", "b"]}, {"filterPattern": "error"}])
def test_pages_across_streams_show_all_of_it_once(streams, more) -> None:
    whole = texts(filtered(streams, **more))
    found, token = [], None
    for _ in range(10):
        answer = filtered(streams, limit=1, **more, **({"nextToken": token} if token else {}))
        found += texts(answer)
        token = answer.get("nextToken")
        if token is None:
            break
    assert found == whole and len(whole) > 2
    with refused("InvalidParameterException", "The specified nextToken is invalid.", status=400):
        filtered(streams, nextToken="rubbish")


def test_patterns_choose_events(streams) -> None:
    assert texts(filtered(streams, filterPattern="error")) == ["a one error", "ab two error", "b two error warning"]
    assert texts(filtered(streams, filterPattern="error -warning")) == ["a one error", "ab two error"]
    assert texts(filtered(streams, filterPattern='"b one"')) == ["ab one", "b one"]
    with refused("InvalidParameterException", "Invalid filter pattern", status=400):
        filtered(streams, filterPattern="{ $.level = 1 }")
