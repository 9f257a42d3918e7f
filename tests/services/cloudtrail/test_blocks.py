"""Calls are kept many to a row: whatever is put together with whatever, each is found as it was, in its order, by its id."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from in_process import ACCOUNT, REGION
from longshore.aws.principal import Principal, root
from longshore.gateway.ports import TrailEntry
from longshore.services.cloudtrail import record, section, store
from longshore.services.cloudtrail.section import Draft
from longshore.store.engine import SqliteStore, open_store

START = datetime(2026, 1, 1, tzinfo=UTC)
ROLE = f"arn:aws:iam::{ACCOUNT}:role/team/ops"


def entry(number: int, *, seconds: float = 0.0, principal: Principal | None = None, **more: object) -> TrailEntry:
    told: dict[str, Any] = {
        "time": START + timedelta(seconds=seconds), "request_id": f"request-{number}",
        "principal": principal or root(ACCOUNT, "AKIAROOT"), "service": "iam", "operation": "GetRole", "region": REGION,
        "source_ip": "127.0.0.1", "user_agent": "agent", "read_only": True, "resource": ROLE,
        "request": {"RoleName": f"role-{number}"},
    }  # fmt: skip
    return TrailEntry(**(told | more))


class Trail:
    def __init__(self) -> None:
        self.store: SqliteStore = open_store(None)

    def write(self, *entries: TrailEntry, region: str = REGION) -> None:
        draft = Draft(ACCOUNT, region)
        for each in entries:
            draft.add(each)
        self.store.write_now(lambda transaction: store.add(transaction, draft))

    def found(self, attribute: str | None = None, value: str = "", **more: int) -> list[record.Row]:
        window = {"start": 0, "end": 1 << 62, "before": 1 << 62, "limit": 10_000} | more
        return self.store.read(
            lambda transaction: store.look_up(transaction, attribute, value, account=ACCOUNT, region=REGION, **window)
        )

    def requests(self, attribute: str | None = None, value: str = "", **more: int) -> list[int]:
        return [int(row.kept.request_id.rpartition("-")[2]) for row in self.found(attribute, value, **more)]

    def blocks(self) -> list[int]:
        """How many calls each has."""
        return [calls for (calls,) in self.store._writer.execute("SELECT calls FROM cloudtrail_blocks ORDER BY number")]

    def trim(self, **bounds: int) -> int:
        return self.store.write_now(lambda transaction: store.trim(transaction, **bounds))


@pytest.fixture
def trail():
    made = Trail()
    yield made
    made.store.close()


def test_calls_that_come_one_by_one_share_a_block(trail) -> None:
    for number in range(40):
        trail.write(entry(number))
    assert trail.blocks() == [40]
    assert trail.requests() == list(reversed(range(40)))
    assert len({row.sequence for row in trail.found()}) == 40


def test_a_block_has_an_end(trail) -> None:
    """In calls, in bytes and in time."""
    long = {"request": {"RoleName": "x" * 3000}}
    for number in range(24):
        trail.write(entry(number, **long))
    assert len(trail.blocks()) > 1
    assert all(
        size <= section.BLOCK_BYTES_MAX
        for (size,) in trail.store._writer.execute("SELECT bytes FROM cloudtrail_blocks")
    )
    trail.write(*(entry(number) for number in range(24, 524)))
    before = trail.blocks()
    assert before[-1] == 500
    trail.write(entry(524))
    assert trail.blocks() == [*before, 1]  # 500 of them are larger than what is written anew for one.
    trail.write(entry(525, seconds=3599))
    assert trail.blocks() == [*before, 2]
    trail.write(entry(526, seconds=3601))
    assert trail.blocks() == [*before, 2, 1]
    assert trail.requests() == list(reversed(range(527)))


def test_pages_go_through_all_blocks(trail) -> None:
    for block in range(12):
        trail.write(*(entry(block * 100 + number, seconds=block * 4000) for number in range(100)))
    assert len(trail.blocks()) == 12
    seen: list[int] = []
    before = 1 << 62
    while page := trail.found(before=before, limit=70):
        seen += [int(row.kept.request_id.rpartition("-")[2]) for row in page]
        before = page[-1].sequence
    assert seen == list(reversed(range(1200)))


def test_a_rare_call_is_found_among_many_without_opening_the_others(trail, monkeypatch) -> None:
    for block in range(30):
        rare = {"operation": "DeleteRole", "read_only": False} if block == 3 else {}
        trail.write(*(entry(block * 10 + number, seconds=block * 4000, **rare) for number in range(10)))
    opened = []
    rows = section.rows
    monkeypatch.setattr(section, "rows", lambda number, *more: (opened.append(number), rows(number, *more))[1])
    assert trail.requests("EventName", "DeleteRole") == list(reversed(range(30, 40)))
    assert trail.requests("ReadOnly", "false") == list(reversed(range(30, 40)))
    (one,) = trail.found("EventId", record.event_id(trail.found("EventName", "DeleteRole")[4]))
    assert one.kept.request_id == "request-35"
    assert set(opened) == {4}
    assert trail.requests("EventName", "Delete") == trail.requests("EventName", "Role\n") == []
    assert trail.requests("ResourceType", "AWS::IAM::User") == [] and set(opened) == {4}


def test_the_time_asked_for_is_that_of_calls_and_not_of_blocks(trail) -> None:
    for number in range(10):
        trail.write(entry(number, seconds=number * 60))
    assert trail.blocks() == [10]
    at = int(START.timestamp() * 1000)
    assert trail.requests(start=at + 180_000, end=at + 300_000) == [5, 4, 3]
    assert trail.requests(start=at + 180_001, end=at + 299_999) == [4]


def test_the_oldest_go_by_number_and_by_age(trail) -> None:
    for block in range(10):
        trail.write(*(entry(block * 100 + number, seconds=block * 4000) for number in range(100)))
    assert trail.trim(kept=650, oldest=0) == 300
    assert trail.requests()[-1] == 300 and len(trail.requests()) == 700
    at = int(START.timestamp() * 1000)
    assert trail.trim(kept=1000, oldest=at + 5 * 4_000_000) == 200
    assert trail.requests()[-1] == 500
    assert trail.trim(kept=1000, oldest=at + 5 * 4_000_000) == 0
    trail.write(entry(1000, seconds=40_000))
    assert trail.requests()[0] == 1000


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["anna", "bert", "c d"]), st.sampled_from(["GetRole", "CreateRole", "Ünïcode"]),
                st.sampled_from([ROLE, "", "*", f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/i-0123", "a\nb"]),
                st.text(max_size=6),
            ),
            min_size=1, max_size=5,
        ),
        max_size=6,
    )
)  # fmt: skip
def test_whatever_is_asked_for_is_found_as_in_a_plain_list(portions: list[list[tuple[str, str, str, str]]]) -> None:
    trail = Trail()
    try:
        plain: list[TrailEntry] = []
        for portion in portions:
            made = []
            for name, operation, resource, text in portion:
                who = Principal(
                    kind="user", account=ACCOUNT, arn=f"arn:aws:iam::{ACCOUNT}:user/{name}", user_id=f"AIDA{name}",
                    access_key_id=f"AKIA{name}", user_name=name,
                )  # fmt: skip
                more = {"operation": operation, "resource": resource, "error_message": text, "error_code": "Sorry"}
                made.append(entry(len(plain) + len(made), principal=who, user_agent=text, **more))
            trail.write(*made)
            plain += made
        plain.reverse()
        assert [row.kept.request_id for row in trail.found()] == [each.request_id for each in plain]
        for row, each in zip(trail.found(), plain, strict=True):
            kept = record.record(row)
            assert json.dumps(kept)
            assert kept["userAgent"] == kept["errorMessage"] == each.user_agent
            assert kept["userIdentity"]["userName"] == each.principal.user_name
            assert [one.sequence for one in trail.found("EventId", record.event_id(row))] == [row.sequence]
        for attribute, value, has in (
            ("EventName", "Ünïcode", lambda each: each.operation == "Ünïcode"),
            ("Username", "c d", lambda each: each.principal.user_name == "c d"),
            ("AccessKeyId", "AKIAanna", lambda each: each.principal.user_name == "anna"),
            ("ResourceName", "ops", lambda each: each.resource == ROLE),
            ("ResourceName", "*", lambda each: each.resource == "*"),
            ("ResourceType", "AWS::EC2::Instance", lambda each: "instance/" in (each.resource or "")),
            ("EventSource", "iam.amazonaws.com", lambda each: True),
        ):
            found = [row.kept.request_id for row in trail.found(attribute, value)]
            assert found == [each.request_id for each in plain if has(each)], (attribute, value)
    finally:
        trail.store.close()


def test_a_call_that_can_not_be_written_leaves_the_draft_as_it_was() -> None:
    draft = Draft(ACCOUNT, REGION)
    draft.add(entry(1))
    text = draft.text()
    with pytest.raises(UnicodeEncodeError):
        draft.add(entry(2, error_code="x", error_message="\ud800"))
    assert draft.text() == text and len(draft) == 1
