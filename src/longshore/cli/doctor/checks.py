"""What is wrong with an account: a table of checks, each a function of what was read and of what policies answered. Pure.

In the order of the chain, so that of several findings the first is the one to mend first:

    caller -> service role -> instance profile -> role -> trust -> policy -> execution role, job role
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from longshore.cli.doctor import asked, judge, mend
from longshore.cli.doctor.account import (
    LINKED_ROLE,
    TAKEN_BY,
    Account,
    Answer,
    Asked,
    Environment,
    Role,
    is_role_arn,
    name_of,
)
from longshore.cli.doctor.asked import Use
from longshore.cli.doctor.mend import Do

Level = Literal["wrong", "unsure", "note"]
Answers = Mapping[Asked, Answer]


class Finding(Struct, frozen=True, kw_only=True):
    """`text` is one sentence or two for people; all else is for programs.

    "unsure": only the call itself can tell. "note": nothing is broken by it.
    """

    code: str
    level: Level = "wrong"
    of: str  # "instance role", "instance profile", "caller", ...
    name: str
    text: str
    where: tuple[str, ...] = ()
    principal: str | None = None  # who is refused
    actions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    todo: tuple[Do, ...] = ()


Check = Callable[[Account, Answers], Iterator[Finding]]


def check(account: Account, answers: Answers) -> list[Finding]:
    """All findings. An environment that is INVALID for a mistake that is told is not told again."""
    return [finding for each in CHECKS for finding in each(account, answers)]


# --- the caller ---


def passing(account: Account, answers: Answers) -> Iterator[Finding]:
    """Who may make an environment or a job definition, and not hand over the roles that it needs, can make none."""
    refused: dict[tuple[str, str], list[asked.PassRole]] = {}
    for one in asked.passed(account):
        makes, passes = answers.get(one.by), answers.get(one.passing)
        if makes is not None and makes.allowed and passes is not None and not passes.allowed and passes.is_sure:
            refused.setdefault((one.to, one.by.action), []).append(one)
    caller = account.caller
    for (to, action), ones in refused.items():
        roles = list(dict.fromkeys(one.role for one in ones))
        denied = [one for one in ones if answers[one.passing].is_explicit or answers[one.passing].by != "identity"]
        names = _and([f"{one.kind} {name_of(one.role)}" for one in ones])
        todo = () if denied else mend.allow_passing(caller.source or "", caller.policies, roles, to)
        yield Finding(
            code="pass-role-refused",
            of="caller",
            name=name_of(caller.arn),
            text=f"{caller.arn} is allowed {action}, but not to hand the {names} to {to}:"
            f" {_why(answers[ones[0].passing], 'iam:PassRole')}",
            principal=caller.arn,
            actions=("iam:PassRole",),
            resources=tuple(roles),
            todo=todo,
        )


# --- profiles ---


def profiles(account: Account, answers: Answers) -> Iterator[Finding]:
    seen: dict[str, list[Environment]] = {}
    for environment in account.environments:
        if environment.has_instances:
            seen.setdefault(environment.instance_role or "", []).append(environment)
    for given, environments in seen.items():
        where = tuple(each.shown for each in environments)
        found = _profile(account, answers, given, where, environments[0])
        if found is not None:
            yield found


def _profile(
    account: Account, answers: Answers, given: str, where: tuple[str, ...], environment: Environment
) -> Finding | None:
    """The first that is wrong with an instance profile."""
    name = name_of(given)
    profile = account.profiles.get(name)
    others = [each for each in account.profiles_of_roles.get(name, ()) if each != name]

    def finding(code: str, text: str, todo: tuple[Do, ...]) -> Finding:
        return Finding(code=code, of="instance profile", name=name, text=text, where=where, todo=todo)

    if is_role_arn(given):
        todo: tuple[Do, ...] = ()
        use = name if profile is not None or not others else others[0]
        if profile is None and not others:
            todo = mend.make_profile(account, name, name)
        if environment.name is not None:
            todo += mend.use_profile(environment.name, use)
        text = f"{given} is the ARN of a role, where an instance profile is wanted; name the profile {use}"
        return finding("role-for-profile", text, todo)
    if profile is None:
        if not account.could_read("iam:GetInstanceProfile", name):
            return None
        text = f"there is no instance profile {given}"
        if others:
            text += f"; the role {name} is in the profile {_and(others)}, and a profile is another thing than its role"
        return finding("profile-missing", text, mend.make_profile(account, name, name))
    if given.startswith("arn:") and profile.arn != given:
        text = f"the instance profile {name} is {profile.arn}, and not {given}: its path is another"
        todo = () if environment.name is None else mend.use_profile(environment.name, profile.arn)
        return finding("profile-elsewhere", text, todo)
    if not profile.roles:
        return finding(
            "profile-empty", f"the instance profile {name} holds no role", mend.fill_profile(account, name, name)
        )
    return _another_role(account, answers, name, where, environment)


def _another_role(
    account: Account, answers: Answers, name: str, where: tuple[str, ...], environment: Environment
) -> Finding | None:
    """A profile that holds another role than the one of its name, and the other one would do."""
    inside, namesake = asked.role_inside(account, environment) or "", account.roles.get(name)
    questions = asked.of_its_namesake(account, environment)
    if namesake is None or not questions:
        return None
    use = Use("instance role", inside, where)
    held = asked.find_role(account, inside)
    is_broken = held is None or any(_role(account, answers, use))
    trusted = judge.trusts(account, namesake, TAKEN_BY["instance role"])
    would_do = (
        trusted is not None and trusted.allowed and all(each in answers and answers[each].allowed for each in questions)
    )
    if not is_broken or not would_do:
        return None
    return Finding(
        code="profile-holds-another-role",
        of="instance profile",
        name=name,
        text=f"the instance profile {name} holds the role {inside}, which can't bring an instance into its cluster; the role"
        f" {name} could",
        where=where,
        todo=mend.swap_role(name, inside, name),
    )


# --- roles: there, trusted, allowed ---


def roles(account: Account, answers: Answers) -> Iterator[Finding]:
    told_already = {each.where for each in profiles(account, answers) if each.code == "profile-holds-another-role"}
    for use in asked.uses(account):
        if not (use.kind == "instance role" and use.where in told_already):
            yield from _role(account, answers, use)


def _role(account: Account, answers: Answers, use: Use) -> Iterator[Finding]:
    role = asked.find_role(account, use.role)
    if role is None:
        yield from _missing(account, use)
        return
    trusted = judge.trusts(account, role, TAKEN_BY[use.kind])
    if trusted is None:
        text = f"the trust policy of the role {role.name} is of no form that is understood"
        yield _of_role("trust-unsure", use, role.name, text, (), level="unsure")
    elif not trusted.allowed or not trusted.is_sure:
        yield _untrusted(role, use, trusted)
    yield from _refused(account, answers, role, use)


def _missing(account: Account, use: Use) -> Iterator[Finding]:
    name = name_of(use.role)
    there = account.roles.get(name)
    if there is None and not account.could_read("iam:GetRole", name):
        return
    if there is not None:
        # To make one of that path is no way out: names are unique whatever the path.
        text = f"there is no role {use.role}; the role {name} is {there.arn}, whose path is another"
        yield _of_role("role-elsewhere", use, name, text, ())
        return
    text = f"there is no role {use.role}"
    if name == LINKED_ROLE:
        text += ", which Batch makes with the first compute environment and needs for those that name no service role"
    yield _of_role("role-missing", use, name, text, mend.make_role(account, use.kind, use.role))


def _untrusted(role: Role, use: Use, trusted: Answer) -> Finding:
    by = TAKEN_BY[use.kind]
    named = _trusted_by(role)
    if trusted.missing:
        text = f"whether {by} may take the role {role.name} rests on {_and(list(trusted.missing))}, which only the call has"
        return _of_role("trust-unsure", use, role.name, text, (), level="unsure")
    instead = f"; it names {_and(named)}" if named else ""
    denied = "denies it" if trusted.is_explicit else f"does not let {by} take it{instead}"
    text = f"the trust policy of the role {role.name} {denied}; {by} is needed"
    found = _of_role("trust-wrong", use, role.name, text, () if role.is_linked else mend.trust(role, use.kind))
    return replace(found, principal=by, actions=("sts:AssumeRole",), resources=(role.arn,))


def _refused(account: Account, answers: Answers, role: Role, use: Use) -> Iterator[Finding]:
    """What policies refuse to the role: all that no identity-based policy allows in one finding, each denial in its own."""
    questions = asked.of_role(account, use)
    refused = [(each, answers[each]) for each in questions if each in answers and not answers[each].allowed]
    unsure = [each for each, answer in refused if not answer.is_sure]
    sure = [(each, answer) for each, answer in refused if answer.is_sure]
    for by in ("organization", "boundary", "identity"):
        silent = [each for each, answer in sure if answer.by == by and not answer.is_explicit]
        if silent:
            yield _unallowed(account, role, use, by, silent)
    told: set[str] = set()
    for each, answer in sure:
        if answer.is_explicit and each.action not in told:
            told.add(each.action)
            yield _denied(role, use, each, answer)
    if unsure:
        keys = sorted({key for each in unsure for key in answers[each].missing})
        actions = tuple(dict.fromkeys(each.action for each in unsure))
        text = (
            f"whether the role {role.name} may do {_and(list(actions))} rests on {_and(keys)}, which only the call has"
        )
        yield _of_role("actions-unsure", use, role.name, text, (), level="unsure", about=tuple(unsure))


def _unallowed(account: Account, role: Role, use: Use, by: str, silent: list[Asked]) -> Finding:
    actions = list(dict.fromkeys(each.action for each in silent))
    if by == "organization":
        text = f"the organization's service control policies do not allow {_and(actions)} to the {use.kind} {role.name}"
        return _of_role("organization-refuses", use, role.name, text, (), about=tuple(silent))
    if by == "boundary":
        text = f"the permissions boundary of the {use.kind} {role.name} does not allow {_and(actions)}"
        return _of_role(
            "boundary-refuses", use, role.name, text, mend.widen_boundary(role, silent), about=tuple(silent)
        )
    text = f"no policy of the {use.kind} {role.name} allows {_and(actions)}"
    return _of_role("actions-refused", use, role.name, text, mend.allow(account, role, use.kind, silent),
                    about=tuple(silent))  # fmt: skip


def _denied(role: Role, use: Use, one: Asked, answer: Answer) -> Finding:
    if answer.by == "organization":
        text = f"a service control policy of the organization denies {one.action} to the {use.kind} {role.name}"
        return _of_role("organization-refuses", use, role.name, text, (), about=(one,))
    place = "the permissions boundary" if answer.by == "boundary" else "a policy"
    text = f"{place} of the {use.kind} {role.name} denies {one.action}"
    todo = mend.deny_no_more(role, one.action, one.resource)
    return _of_role("action-denied", use, role.name, text, todo, about=(one,))


def _of_role(
    code: str,
    use: Use,
    name: str,
    text: str,
    todo: tuple[Do, ...],
    *,
    level: Level = "wrong",
    about: tuple[Asked, ...] = (),
) -> Finding:
    return Finding(
        code=code,
        level=level,
        of=use.kind,
        name=name,
        text=text,
        where=use.where,
        principal=about[0].source if about else None,
        actions=tuple(dict.fromkeys(each.action for each in about)),
        resources=tuple(dict.fromkeys(each.resource for each in about)),
        todo=todo,
    )


# --- environments and queues ---


def environments(account: Account, answers: Answers) -> Iterator[Finding]:
    """INVALID for something that no role and no profile explains as they are now."""
    explained = {
        where
        for each in (profiles, roles)
        for finding in each(account, answers)
        if finding.level == "wrong"
        for where in finding.where
    }
    for one in account.environments:
        if one.name is None:
            continue
        if one.status == "INVALID":
            is_explained = one.shown in explained
            yield Finding(
                code="environment-invalid",
                level="note" if is_explained else "wrong",
                of="compute environment",
                name=one.name,
                text=f"{one.shown} is INVALID: {one.status_reason or 'no reason is told'}",
                where=(one.shown,),
                todo=() if is_explained else mend.enable(one.name),
            )
        elif one.state == "DISABLED":
            text = f"{one.shown} is DISABLED: nothing is placed there"
            yield Finding(code="environment-disabled", level="note", of="compute environment", name=one.name, text=text)


def queues(account: Account, answers: Answers) -> Iterator[Finding]:
    for queue in account.queues:
        if queue.status == "INVALID":
            text = f"job queue {queue.name} is INVALID: {queue.status_reason or 'no reason is told'}"
            yield Finding(code="queue-invalid", of="job queue", name=queue.name, text=text)
        elif queue.state == "DISABLED":
            text = f"job queue {queue.name} is DISABLED: it takes no jobs"
            yield Finding(code="queue-disabled", level="note", of="job queue", name=queue.name, text=text)
    if not account.environments:
        text = "there is no compute environment; roles can be looked at before there is one: `longshore doctor --help`"
        yield Finding(code="nothing-there", level="note", of="account", name=account.number, text=text)


def definitions(account: Account, answers: Answers) -> Iterator[Finding]:
    for one in account.definitions:
        if one.is_fargate and one.execution_role is None:
            text = f"{one.shown} runs on Fargate and names no execution role"
            yield Finding(
                code="execution-role-unset", of="execution role", name=one.name or "", text=text, where=(one.shown,)
            )


CHECKS: tuple[Check, ...] = (passing, profiles, roles, definitions, environments, queues)


# --- words ---


def _why(answer: Answer, action: str) -> str:
    what = {"organization": "service control policy of the organization", "boundary": "permissions boundary"}
    kind = what.get(answer.by, "policy")
    return f"a {kind} denies {action}" if answer.is_explicit else f"no {kind} allows {action}"


def _trusted_by(role: Role) -> list[str]:
    """Whom the trust policy names."""
    found: list[str] = []
    statements = role.trust.get("Statement") or []
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal") or {}
        if statement.get("Effect") != "Allow" or not isinstance(principal, dict):
            continue
        for named in principal.values():
            found += named if isinstance(named, list) else [named]
    return list(dict.fromkeys(found))


def _and(words: list[str]) -> str:
    words = list(dict.fromkeys(words))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
