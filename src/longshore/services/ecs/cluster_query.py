"""The cluster query language: expressions over container instances. Pure.

    attribute:ecs.instance-type =~ t2.* and not(task:group == service:production)

An expression is parsed once into a function of the facts of an instance.
Source: ECS developer guide, "Create expressions to define container instances for Amazon ECS tasks".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from longshore.services.ecs.records import Standing
from longshore.services.ecs.rules import invalid

Facts = Mapping[str, str | None]  # subject -> value; an attribute without a value is there with None
Matches = Callable[[Facts], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<sign>==|!=|=~|!~|>=|<=|>|<|[()\[\],]|&&|\|\||!)|'(?P<quoted>[^']*)'|\"(?P<double>[^\"]*)\"|(?P<word>[^\s()\[\],=!<>~&|]+))"
)
_NAMES = {
    "equals": "==", "not_equals": "!=", "exists": "exists", "not_exists": "!exists", "in": "in", "not_in": "!in",
    "matches": "=~", "not_matches": "!~", "greater_than": ">", "greater_than_equal": ">=", "less_than": "<",
    "less_than_equal": "<=",
}  # fmt: skip
_SUBJECTS = ("agentConnected", "agentVersion", "ec2InstanceId", "registeredAt", "runningTasksCount", "agentHash",
             "dockerVersion", "task:group")  # fmt: skip


def facts(standing: Standing, groups: tuple[str, ...] = ()) -> dict[str, str | None]:
    """What an expression may ask about an instance. `groups` of the tasks on it stand as `task:group`."""
    instance = standing.instance
    found: dict[str, str | None] = {f"attribute:{each['name']}": each.get("value") for each in instance.attributes}
    found.update(
        {
            "agentConnected": "true" if standing.agent_connected else "false",
            "ec2InstanceId": instance.ec2_instance_id,
            "registeredAt": instance.registered_at.isoformat(),
            "runningTasksCount": str(standing.occupancy.running),
            **{name: instance.version_info[name] for name in instance.version_info},
        }
    )
    for group in groups:
        found[f"task:group={group}"] = group
    return found


def parse(expression: str) -> Matches:
    """InvalidParameterException: the expression is none."""
    parser = _Parser(_tokens(expression))
    matches = parser.either()
    if parser.tokens:
        raise invalid("Invalid expression: unexpected text after its end.")
    return matches


def _tokens(expression: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    text = expression.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise invalid("Invalid expression.")
        kind = match.lastgroup or ""
        tokens.append(("sign" if kind == "sign" else "word" if kind == "word" else "quoted", match.group(kind)))
        position = match.end()
    return tokens


class _Parser:
    """By descent: or, and, not, comparison."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.tokens.reverse()

    def either(self) -> Matches:
        parts = [self._both()]
        while self._take("or", "||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda facts: any(part(facts) for part in parts)

    def _both(self) -> Matches:
        parts = [self._negated()]
        while self._take("and", "&&"):
            parts.append(self._negated())
        return parts[0] if len(parts) == 1 else lambda facts: all(part(facts) for part in parts)

    def _negated(self) -> Matches:
        if self._take("not", "!"):
            inner = self._negated()
            return lambda facts: not inner(facts)
        if self._take("("):
            inner = self.either()
            self._must(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Matches:
        subject = self._word()
        negated = self._take("!")
        operator = self._pop()[1]
        operator = _NAMES.get(operator, operator)
        if negated:
            operator = "!" + operator
        if not subject.startswith("attribute:") and subject not in _SUBJECTS:
            raise invalid(f"Invalid expression: unknown subject {subject}.")
        if operator in ("exists", "!exists"):
            there = operator == "exists"
            return lambda facts: (subject in facts) == there
        if operator in ("in", "!in"):
            values = self._values()
            return _compared(subject, operator, lambda value: value in values)
        return _test(subject, operator, self._word())

    def _values(self) -> frozenset[str]:
        close = "]" if self._take("[") else ")"
        if close == ")":
            self._must("(")
        values = [self._word()]
        while self._take(","):
            values.append(self._word())
        self._must(close)
        return frozenset(values)

    def _take(self, *texts: str) -> bool:
        if self.tokens and self.tokens[-1][0] != "quoted" and self.tokens[-1][1] in texts:
            self.tokens.pop()
            return True
        return False

    def _must(self, text: str) -> None:
        if not self._take(text):
            raise invalid(f"Invalid expression: {text} expected.")

    def _pop(self) -> tuple[str, str]:
        if not self.tokens:
            raise invalid("Invalid expression: it ends too early.")
        return self.tokens.pop()

    def _word(self) -> str:
        kind, text = self._pop()
        if kind == "sign":
            raise invalid(f"Invalid expression: unexpected {text}.")
        return text


def _test(subject: str, operator: str, operand: str) -> Matches:
    if operator in ("==", "!="):
        return _compared(subject, operator, lambda value: value == operand)
    if operator in ("=~", "!~"):
        try:
            pattern = re.compile(operand)
        except re.error as error:
            raise invalid(f"Invalid expression: {operand} is no pattern.") from error
        return _compared(subject, operator, lambda value: pattern.fullmatch(value) is not None)
    if operator in (">", ">=", "<", "<="):
        return _compared(subject, operator, lambda value: _ordered(operator, value, operand))
    raise invalid(f"Invalid expression: unknown operator {operator}.")


def _compared(subject: str, operator: str, holds: Callable[[str], bool]) -> Matches:
    negated = operator.startswith("!")
    if subject == "task:group":
        return lambda facts: (
            negated
            != any(
                holds(value) for name, value in facts.items() if name.startswith("task:group=") and value is not None
            )
        )

    def matches(facts: Facts) -> bool:
        value = facts.get(subject)
        return negated != (value is not None and holds(value))

    return matches


def _ordered(operator: str, value: str, operand: str) -> bool:
    """Numbers by size, all else by letters."""
    try:
        difference = float(value) - float(operand)
    except ValueError:
        difference = (value > operand) - (value < operand)
    if operator == ">":
        return difference > 0
    if operator == ">=":
        return difference >= 0
    if operator == "<":
        return difference < 0
    return difference <= 0
