"""Reports: each line says one thing; programs get all of it."""

from __future__ import annotations

import json

from msgspec.structs import replace

from doctor_accounts import ANN, findings, healthy, trust, with_role
from longshore.cli.doctor import show
from longshore.cli.doctor.account import Account, Unread
from longshore.cli.doctor.show import Report

UNREAD = (Unread("iam:GetRole", "job", "not allowed"),)


def report(account: Account) -> Report:
    return Report(account=account, findings=tuple(findings(account)))


def test_a_healthy_account() -> None:
    told = show.for_people(report(healthy())).splitlines()
    assert told == [
        f"account 123456789012, us-east-1, as {ANN}",
        "",
        "ok    caller ann  (hands over the roles)",
        "ok    service role service  (compute environment ce)",
        "ok    instance profile ecsInstanceRole  (compute environment ce)",
        "ok    instance role ecsInstanceRole  (compute environment ce)",
        "ok    execution role execution  (job definition jd:1)",
        "ok    job role job  (job definition jd:1)",
        "",
        "healthy",
    ]


def test_what_is_wrong_has_its_command_below() -> None:
    told = show.for_people(report(with_role(healthy(), "job", trust=trust("ec2.amazonaws.com")))).splitlines()
    assert "WRONG job role job  (job definition jd:1)" in told
    at = told.index("wrong:")
    assert told[at + 1] == (
        "1. the trust policy of the role job does not let ecs-tasks.amazonaws.com take it; it names ec2.amazonaws.com;"
        " ecs-tasks.amazonaws.com is needed (job definition jd:1)"
    )
    assert told[at + 2].startswith("   aws iam update-assume-role-policy --role-name job ")
    assert told[-1] == "1 wrong, 1 of which a command mends; `longshore doctor --fix` asks and does it"


def test_exit_codes() -> None:
    sick = with_role(healthy(), "job", trust=trust("ec2.amazonaws.com"))
    cases = [(healthy(), 0), (sick, 1), (replace(healthy(), unread=UNREAD), 2), (replace(sick, unread=UNREAD), 1)]
    assert [report(account).exit_code for account, _ in cases] == [code for _, code in cases]
    disabled = replace(healthy(), queues=(replace(healthy().queues[0], state="DISABLED"),))
    assert report(disabled).exit_code == 0


def test_what_could_not_be_looked_at_and_what_was_done_is_told() -> None:
    made = Report(account=replace(healthy(), unread=UNREAD), findings=(), no_simulator="no such operation",
                  done=("aws a",), failed=(("aws b", "refused"),))  # fmt: skip
    told = show.for_people(made)
    for line in ("done: aws a", "not done: aws b: refused", "- iam:GetRole of job: not allowed",
                 "IAM's policy simulator was of no help (no such operation); the policies themselves were read.",
                 "nothing is wrong as far as could be looked"):  # fmt: skip
        assert line in told.splitlines()


def test_a_program_gets_all_of_it() -> None:
    sick = with_role(healthy(), "ecsInstanceRole", policies=())
    shown = show.for_programs(Report(account=replace(sick, unread=UNREAD), findings=tuple(findings(sick))))
    assert json.loads(json.dumps(shown)) == shown
    assert (shown["account"], shown["caller"], shown["healthy"]) == ("123456789012", ANN, False)
    (found,) = shown["findings"]
    assert (found["code"], found["level"], found["of"], found["name"]) == (
        "actions-refused", "wrong", "instance role", "ecsInstanceRole",
    )  # fmt: skip
    assert found["actions"][0] == "ecs:RegisterContainerInstance"
    assert found["principal"] == "arn:aws:iam::123456789012:role/ecsInstanceRole"
    assert found["mend"].startswith("aws iam attach-role-policy ")
    assert shown["unread"] == [{"operation": "iam:GetRole", "of": "job", "because": "not allowed"}]


def test_many_places_are_not_all_listed() -> None:
    definitions = tuple(replace(healthy().definitions[0], name=f"jd:{at}") for at in range(1, 9))
    told = show.for_people(report(replace(healthy(), definitions=definitions)))
    assert "ok    job role job  (job definition jd:1, job definition jd:2 and 6 more)" in told
