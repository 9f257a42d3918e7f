"""A report: for people, or as JSON for programs. Pure."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from longshore.cli.doctor import asked, mend
from longshore.cli.doctor.account import Account, name_of
from longshore.cli.doctor.checks import Finding

HEALTHY, WRONG, CANNOT_LOOK = 0, 1, 2


class Report(Struct, frozen=True, kw_only=True):
    """`no_simulator`: why policies were looked at by doctor itself; None: IAM's simulator was asked."""

    account: Account
    findings: tuple[Finding, ...]
    no_simulator: str | None = None
    done: tuple[str, ...] = ()  # commands that were carried out
    failed: tuple[tuple[str, str], ...] = ()  # those that were not, and why

    @property
    def exit_code(self) -> int:
        """What is wrong is told before what could not be looked at."""
        if any(each.level == "wrong" for each in self.findings):
            return WRONG
        return CANNOT_LOOK if self.account.unread else HEALTHY


def for_people(report: Report) -> str:
    account = report.account
    lines = [f"account {account.number}, {account.region}, as {account.caller.arn}", ""]
    for command in report.done:
        lines.append(f"done: {command}")
    for command, because in report.failed:
        lines.append(f"not done: {command}: {because}")
    if report.done or report.failed:
        lines.append("")
    lines += _looked_at(report)
    titles = {"wrong": "wrong", "unsure": "not sure", "note": "beside that"}
    for level, title in titles.items():
        found = [each for each in report.findings if each.level == level]
        if not found:
            continue
        lines += ["", f"{title}:"]
        for number, finding in enumerate(found, 1):
            lines += _told(finding, f"{number}. " if level == "wrong" else "- ")
    if account.unread:
        lines += ["", "could not be looked at:"]
        lines += [f"- {each.operation} of {each.of}: {each.because}" for each in account.unread]
    if report.no_simulator is not None:
        lines += [
            "",
            f"IAM's policy simulator was of no help ({report.no_simulator}); the policies themselves were read.",
        ]
    lines += ["", _verdict(report)]
    return "\n".join(lines)


def _looked_at(report: Report) -> list[str]:
    """One line for each link of the chain, and whether it holds."""
    account = report.account
    rows: list[tuple[str, str, str]] = [(use.kind, name_of(use.role), _few(use.where)) for use in asked.uses(account)]
    profiles = [
        ("instance profile", name_of(each.instance_role or ""), each.shown)
        for each in account.environments
        if each.has_instances
    ]
    # In the order of the chain: the profile leads to the role inside.
    at = sum(kind in ("service role", "Spot fleet role") for kind, _, _ in rows)
    rows[at:at] = profiles
    if asked.passed(account):
        rows.insert(0, ("caller", name_of(account.caller.arn), "hands over the roles"))
    lines = []
    for kind, name, where in dict.fromkeys(rows):
        levels = {each.level for each in report.findings if (each.of, each.name) == (kind, name)}
        state = "WRONG" if "wrong" in levels else "?" if "unsure" in levels else "ok"
        lines.append(f"{state:<6}{kind} {name}  ({where})")
    return lines


def _few(where: tuple[str, ...]) -> str:
    return ", ".join(where) if len(where) <= 3 else f"{', '.join(where[:2])} and {len(where) - 2} more"


def _told(finding: Finding, bullet: str) -> list[str]:
    indent = " " * len(bullet)
    told = f"{bullet}{finding.text}"
    if finding.where and finding.level != "note":
        told += f" ({_few(finding.where)})"
    lines = [told]
    command = mend.line(finding.todo)
    if command is not None:
        lines.append(f"{indent}{command}")
    return lines


def _verdict(report: Report) -> str:
    wrong = [each for each in report.findings if each.level == "wrong"]
    if wrong:
        mendable = sum(bool(each.todo) for each in wrong)
        hint = "; `longshore doctor --fix` asks and does it" if mendable else ""
        return f"{len(wrong)} wrong, {mendable} of which a command mends{hint}"
    if report.account.unread:
        return "nothing is wrong as far as could be looked"
    return "healthy"


def for_programs(report: Report) -> dict[str, Any]:
    account = report.account
    return {
        "account": account.number,
        "region": account.region,
        "caller": account.caller.arn,
        "healthy": report.exit_code == HEALTHY,
        "findings": [
            {
                "code": each.code,
                "level": each.level,
                "of": each.of,
                "name": each.name,
                "text": each.text,
                "where": list(each.where),
                "principal": each.principal,
                "actions": list(each.actions),
                "resources": list(each.resources),
                "mend": mend.line(each.todo),
            }
            for each in report.findings
        ],
        "unread": [{"operation": each.operation, "of": each.of, "because": each.because} for each in account.unread],
        "simulator": {"asked": report.no_simulator is None, "because": report.no_simulator},
        "done": list(report.done),
        "failed": [{"command": command, "because": because} for command, because in report.failed],
    }
