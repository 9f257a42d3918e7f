"""Looks, and mends if it may: one thing after the other, with a new look after each, for one may hide another."""

from __future__ import annotations

import time
from collections.abc import Callable, Container

from msgspec.structs import replace

from longshore.cli.doctor import asked, checks, judge, mend
from longshore.cli.doctor.account import Account, Answer, Asked
from longshore.cli.doctor.checks import Finding
from longshore.cli.doctor.read import FAILURES, Reader, Wanted, said
from longshore.cli.doctor.show import Report

Agrees = Callable[[str, str], bool]  # what is wrong, the command that mends it -> whether to carry it out

_MENDS_MAX = 50
# IAM user guide, "Changes that I make are not always immediately visible": at AWS they take some seconds.
_SETTLES_SECONDS = (1, 2, 4, 8)


def look(reader: Reader, wanted: Wanted) -> Report:
    """CannotLook."""
    account = reader.account(wanted)
    answers, because = answered(reader, account)
    return Report(account=account, findings=tuple(checks.check(account, answers)), no_simulator=because)


def answered(reader: Reader, account: Account) -> tuple[dict[Asked, Answer], str | None]:
    """The simulator's answers, and doctor's own where it gives none."""
    questions = asked.everything(account)
    simulated, because = reader.simulate(questions)
    answers: dict[Asked, Answer] = {}
    for each in questions:
        own, said = judge.answer(account, each), simulated.get(each)
        if said is None:
            if own is not None:
                answers[each] = own
        elif own is not None and (own.allowed, own.is_explicit) == (said.allowed, said.is_explicit):
            answers[each] = own  # It knows which keys are known, and which policy it was.
        else:
            answers[each] = said
    return answers, because


def examine(reader: Reader, wanted: Wanted, agrees: Agrees, wait: Callable[[float], object] = time.sleep) -> Report:
    """CannotLook. What is agreed to is carried out, until nothing is left that a command could mend."""
    done: list[str] = []
    failed: list[tuple[str, str]] = []
    seen: set[str] = set()
    report = look(reader, wanted)
    while len(seen) < _MENDS_MAX:
        finding = next((each for each in report.findings if _mendable(each, seen)), None)
        if finding is not None and done and finding.code == "environment-invalid":
            # It may come back by itself, now that its role is mended.
            report = _look_until_gone(reader, wanted, report, {mend.line(finding.todo)}, wait)
            finding = next((each for each in report.findings if _mendable(each, seen)), None)
        if finding is None:
            break
        command = mend.line(finding.todo) or ""
        seen.add(command)
        if not agrees(finding.text, command):
            continue
        because = _carried_out(reader, finding)
        if because is None:
            done.append(command)
        else:
            failed.append((command, because))
        report = look(reader, wanted)
    report = _look_until_gone(reader, wanted, report, set(done), wait)
    return replace(report, done=tuple(done), failed=tuple(failed))


def _look_until_gone(
    reader: Reader, wanted: Wanted, report: Report, commands: Container[str | None], wait: Callable[[float], object]
) -> Report:
    """The report in which nothing has one of the commands for its mend; after some seconds, the one there is."""
    for seconds in _SETTLES_SECONDS:
        if not any(each.todo and mend.line(each.todo) in commands for each in report.findings):
            break
        wait(seconds)
        report = look(reader, wanted)
    return report


def _mendable(finding: Finding, seen: set[str]) -> bool:
    command = mend.line(finding.todo)
    return finding.level == "wrong" and command is not None and command not in seen


def _carried_out(reader: Reader, finding: Finding) -> str | None:
    """Why it could not be; None: it was."""
    for each in finding.todo:
        try:
            reader.carry_out(each)
        except FAILURES as error:
            return said(error)
    return None
