"""A remembered decision is the decision that would be made anew."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longshore.aws.principal import Principal
from longshore.policy.document import compile_document
from longshore.policy.evaluate import Policies, Question, decide, evaluate

ANN = Principal(kind="user", account="123456789012", arn="arn:aws:iam::123456789012:user/ann", user_id="AIDA1")
ACTIONS = ["iam:GetRole", "iam:GetUser", "batch:SubmitJob"]
RESOURCES = ["*", "arn:aws:iam::123456789012:role/ann", "arn:aws:iam::123456789012:role/bob"]
# A policy's value, and the request's: equal, by a variable, by a wildcard, several, none.
KEYS = ["aws:username", "aws:sourceip", "aws:principaltag/team"]
VALUES = ["ann", "bob", "10.0.0.1", "${aws:username}", "${aws:principaltag/team, 'ann'}", "a*"]

conditions = st.dictionaries(
    st.sampled_from(["StringEquals", "StringLike", "StringNotEquals", "ForAllValues:StringEquals"]),
    st.dictionaries(st.sampled_from(KEYS), st.lists(st.sampled_from(VALUES), min_size=1, max_size=2), max_size=2),
    max_size=2,
)
statements = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Allow", "Deny"]),
        "Action": st.sampled_from([*ACTIONS, "iam:*", "*"]),
        "Resource": st.sampled_from([*RESOURCES, "arn:aws:iam::123456789012:role/${aws:username}"]),
    },
    optional={"Condition": conditions},
)
documents = st.lists(statements, min_size=1, max_size=3).map(
    lambda found: compile_document({"Version": "2012-10-17", "Statement": found})
)
policies = st.builds(
    lambda identity, boundary, session: Policies(tuple(identity), boundary, tuple(session)),
    st.lists(documents, max_size=2),
    st.none() | documents,
    st.lists(documents, max_size=1),
)
contexts = st.dictionaries(
    st.sampled_from(KEYS), st.sampled_from(["ann", "bob", "10.0.0.1"]) | st.lists(st.sampled_from(["ann", "bob"]))
)
questions = st.builds(
    lambda action, resource, context: Question(ANN, action, resource, context),
    st.sampled_from(ACTIONS),
    st.sampled_from(RESOURCES),
    contexts,
)


# A busy machine must not make a failure of what takes long to choose.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies, st.lists(questions, max_size=12))
def test_whatever_was_asked_before_the_answer_is_the_one_that_the_policies_give(
    held: Policies, asked: list[Question]
) -> None:
    for question in asked + asked:
        assert decide(question, held) == evaluate(question, held)


def test_only_the_condition_keys_that_the_policies_speak_of_are_asked_for() -> None:
    class Spy(dict[str, str]):
        def get(self, name: str, default: object = None, /) -> str | None:  # type: ignore[override]
            names.append(name)
            return super().get(name)

    names: list[str] = []
    statement = {
        "Effect": "Allow",
        "Action": "iam:Get*",
        "Resource": "arn:aws:iam::*:role/${aws:username}",
        "Condition": {"StringEquals": {"aws:SourceIp": "${aws:PrincipalTag/home}"}},
    }
    held = Policies((compile_document({"Version": "2012-10-17", "Statement": statement}),))
    for _ in range(2):
        names.clear()
        decide(Question(ANN, "iam:GetRole", RESOURCES[1], Spy()), held)
    assert sorted(names) == ["aws:principaltag/home", "aws:sourceip", "aws:username"]
    names.clear()
    decide(Question(ANN, "batch:SubmitJob", "*", Spy()), held)
    assert names == []


def test_a_principal_that_asks_about_ever_new_things_does_not_fill_the_memory() -> None:
    held = Policies((compile_document({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}),))
    for number in range(1000):
        assert decide(Question(ANN, "iam:GetRole", f"arn:aws:iam::123456789012:role/{number}", {}), held).allowed
    assert len(held.decisions) <= 128
