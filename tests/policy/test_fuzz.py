"""Fuzzed documents: refused in AWS's words or understood, never a broken house, never an allow that the slow reading denies."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from people import EC2_TRUST
from policy.rubbish import Rubbish, accepted_as, must_hold
from refusals import unchecked

# A busy machine must not make a failure of what takes long to choose.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def rubbish(seed: int) -> str:
    chance = random.Random(seed)
    return Rubbish(chance.randrange).text()


def test_documents_that_are_half_rubbish_are_refused_or_understood() -> None:
    taken = sum(must_hold(rubbish(seed)) for seed in range(4000))
    assert 400 < taken < 3600  # Both ends were met often.


def test_documents_that_the_fuzzer_found_before() -> None:
    found = json.loads((Path(__file__).parent / "found_documents.json").read_text())
    assert 20 < sum(must_hold(text) for text in found) < len(found)


@pytest.mark.long
def test_a_great_many_documents_that_are_half_rubbish() -> None:
    for seed in range(4000, 200_000):
        must_hold(rubbish(seed))


@PATIENT
@given(st.data())
def test_documents_that_hypothesis_chooses(data: st.DataObject) -> None:
    must_hold(Rubbish(lambda below: data.draw(st.integers(0, below - 1))).text())


_NAMES = ["Version", "Statement", "Effect", "Action", "Resource", "Condition"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["Version", "Statement", "Effect", "Action", "Resource", "Condition"]) | st.text(), inner
        )
    ),
)


@PATIENT
@given(st.text() | _JSON.map(json.dumps))
def test_texts_that_are_anything_are_refused(text: str) -> None:
    assert not accepted_as(text) or must_hold(text)


@pytest.fixture(scope="module")
def iam() -> Iterator[Any]:
    from in_process import InProcessHouse

    house = InProcessHouse()
    iam = house.client("iam")
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=EC2_TRUST)
    iam.create_user(UserName="ann")
    yield unchecked(iam)
    house.close()


def calls(iam: Any, text: str, number: int) -> list[Callable[[], Any]]:
    return [
        lambda: iam.create_policy(PolicyName=f"p{number}", PolicyDocument=text),
        lambda: iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=text),
        lambda: iam.update_assume_role_policy(RoleName="r", PolicyDocument=text),
        lambda: iam.simulate_custom_policy(PolicyInputList=[text], ActionNames=["iam:GetRole"]),
        lambda: iam.simulate_custom_policy(
            PolicyInputList=[EC2_TRUST.replace("Principal", "X")], ActionNames=["a:B"], ResourcePolicy=text
        ),
        lambda: iam.simulate_principal_policy(
            PolicySourceArn="arn:aws:iam::123456789012:role/r", ActionNames=["iam:GetRole", "sts:AssumeRole"],
            CallerArn="arn:aws:iam::123456789012:user/ann", ResourcePolicy=text,
        ),
        lambda: iam.get_context_keys_for_custom_policy(PolicyInputList=[text]),
        lambda: iam.get_role(RoleName="r"),
    ]  # fmt: skip


def test_whatever_document_is_sent_the_answer_is_one_of_aws_s(iam: Any) -> None:
    chance = random.Random(7)
    met: set[str] = set()
    for number in range(250):
        text = Rubbish(chance.randrange).text()
        try:
            text.encode()
        except UnicodeEncodeError:
            continue  # No client could send it.
        for call in calls(iam, text, number):
            try:
                call()
                met.add("answered")
            except ClientError as error:
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] < 500, (text, error)
                met.add(error.response["Error"]["Code"])
    assert {"answered", "MalformedPolicyDocument", "InvalidInput"} <= met
