from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.services.batch.job_ids import job_id, number_of

NUMBERS = st.integers(1, (1 << 48) - 1)


@given(NUMBERS, st.uuids(version=4))
def test_whatever_the_number_the_id_is_a_random_uuid_to_others_and_tells_it_to_us(
    number: int, random: uuid.UUID
) -> None:
    made = job_id(number, str(random))
    assert str(uuid.UUID(made)) == made
    assert uuid.UUID(made).version == 4 and uuid.UUID(made).variant == uuid.RFC_4122
    assert made[13:] == str(random)[13:]
    assert number_of(made) == number


def test_neighbours_do_not_look_alike() -> None:
    random = "00000000-0000-4000-8000-000000000000"
    firsts = {job_id(number, random)[:8] for number in range(1, 100_000)}
    assert len(firsts) == 99_999
    assert job_id(1, random)[:2] != job_id(2, random)[:2]


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "00000000-0000-4000-8000-00000000000", "00000000-0000-1000-8000-000000000000",
        "0000000G-0000-4000-8000-000000000000", "00000000-0000-4000-8000-000000000000:1", " " * 36,
        "00000000-0000-4000-8000-00000000000\n", "0000_000-0000-4000-8000-000000000000",
    ],
)  # fmt: skip
def test_no_job_has_an_id_of_another_form(text: str) -> None:
    assert number_of(text) is None
