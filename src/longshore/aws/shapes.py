"""The form of a request, as the model states it: required members, lengths, ranges, patterns, enums.

Compiled once per operation. Types are the codecs' matter; what the model says only in prose is in the rooms' `rules.py`.
Messages: recordings of AWS ("1 validation error detected: Value 'v' at 'member' failed to satisfy constraint: ...").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from longshore.aws.errors import AwsError
from longshore.aws.model import OperationModel, Reference, ServiceModel, Shape

_Fault = tuple[str, str]  # (where, "failed to satisfy ...": the whole sentence after the count)
_Check = Callable[[Any, str], Iterator[_Fault]]

_CODES = {
    "iam": "ValidationError",
    "sts": "ValidationError",
    "batch": "ClientException",
    "ecs": "InvalidParameterException",
    "logs": "InvalidParameterException",
    "cloudtrail": "InvalidParameterCombinationException",
    "ssm": "ValidationException",
    "ec2": "InvalidParameterValue",
}
# Enums whose values AWS takes in any case. Batch API reference, EvaluateOnExit, action: "not case sensitive", and it
# comes back in lower case, so that what was described can be registered again.
_CASELESS = frozenset({("batch", "RetryAction")})
# Services that leave the value itself out of some answers; a secret must not come back in an error.
_VALUES_SHOWN_MAX = 256


def check(operation: OperationModel, request: Mapping[str, Any]) -> None:
    """Returns when the request has the model's form. AwsError: it has not, in the service's code."""
    test = _operation_check(operation)
    if test is None:
        return
    faults = list(test(request, ""))
    if not faults:
        return
    service = operation.service.name
    if service == "ec2":
        _refuse_ec2(faults)
    if service == "iam":
        faults = _in_iam_words(faults)
    count = len(faults)
    noun = "error" if count == 1 else "errors"
    message = f"{count} validation {noun} detected: " + "; ".join(text for _, text in faults)
    if service == "batch":
        message = faults[0][1]
    raise AwsError(_CODES[service], message, status=400)


_EC2_ENUM = re.compile(r"Value '(.*)' at '([^']*)' failed to satisfy constraint: Member must satisfy enum", re.DOTALL)


def _refuse_ec2(faults: list[_Fault]) -> None:
    where, text = faults[0]
    name = where[:1].upper() + where[1:]
    if text.endswith("Member must not be null"):
        raise AwsError("MissingParameter", f"The request must contain the parameter {name}", status=400)
    enum = _EC2_ENUM.match(text)
    if enum is not None:
        value, member = enum[1], enum[2].partition(".")[0]
        if member == "instanceTypes":
            sentence = f"The following supplied instance types do not exist: [{value}]"
            raise AwsError("InvalidInstanceType", sentence, status=400)
        if member == "instanceType":
            raise AwsError("InvalidParameterValue", f"Invalid value '{value}' for InstanceType.", status=400)
        # The model's set is hundreds of words long for some members; EC2 does not tell it.
        raise AwsError("InvalidParameterValue", f"Value ({value}) for parameter {enum[2]} is invalid.", status=400)
    raise AwsError("InvalidParameterValue", text, status=400)


# Recorded from AWS: IAM has words of its own for names and paths of the wrong form.
_IAM_WORDS = {
    r"[\w+=,.@-]+": "It must contain only alphanumeric characters and/or the following: +=,.@_-",
    r"(\u002F)|(\u002F[\u0021-\u007E]+\u002F)": (
        "It must begin and end with / and contain only alphanumeric characters and/or / characters."
    ),
}


def _in_iam_words(faults: list[_Fault]) -> list[_Fault]:
    """Recorded from AWS: of an enum IAM tells neither the value nor the set."""
    told = []
    for where, text in faults:
        constraint, _, detail = text.partition(" failed to satisfy constraint: ")[2].partition(": ")
        if constraint.endswith("regular expression pattern") and detail in _IAM_WORDS:
            raise AwsError("ValidationError", f"The specified value for {where} is invalid. {_IAM_WORDS[detail]}")
        if constraint.endswith("enum value set"):
            text = f"Value at '{where}' failed to satisfy constraint: {constraint}"
        told.append((where, text))
    return told


@cache
def _operation_check(operation: OperationModel) -> _Check | None:
    return _compile(operation.service, operation.input.shape) if operation.input else None


_compiled: dict[tuple[str, str], _Check | None] = {}
_pending: set[tuple[str, str]] = set()


def _compile(service: ServiceModel, name: str) -> _Check | None:
    """The check of a shape; None: any value of the right type will do."""
    key = (service.name, name)
    if key in _compiled:
        return _compiled[key]
    if key in _pending:
        # A shape within itself: looked up when a value really goes that deep.
        return lambda value, where: (_compiled[key] or _anything)(value, where)
    _pending.add(key)
    made = _make(service, service.shapes[name], caseless=key in _CASELESS)
    _pending.discard(key)
    _compiled[key] = made
    return made


def _anything(value: Any, where: str) -> Iterator[_Fault]:
    return iter(())


def _make(service: ServiceModel, shape: Shape, *, caseless: bool = False) -> _Check | None:
    if shape.type == "structure":
        return _structure(service, shape)
    if shape.type == "list":
        return _list(service, shape)
    if shape.type == "map":
        return _map(service, shape)
    if shape.type == "string":
        return _string(shape, caseless)
    if shape.type == "blob":
        return _sized(shape, "length") if shape.min is not None or shape.max is not None else None
    if shape.type in ("integer", "long", "float", "double"):
        return _number(shape)
    return None


def _structure(service: ServiceModel, shape: Shape) -> _Check | None:
    required = shape.required
    members = [(name, test) for name, ref in shape.members.items() if (test := _reference(service, ref)) is not None]
    if not required and not members:
        return None

    def check(value: Any, where: str) -> Iterator[_Fault]:
        for name in required:
            if value.get(name) is None:
                at = _inside(where, name)
                yield at, f"Value null at '{at}' failed to satisfy constraint: Member must not be null"
        for name, test in members:
            inner = value.get(name)
            if inner is not None:
                yield from test(inner, _inside(where, name))

    return check


def _reference(service: ServiceModel, reference: Reference | None) -> _Check | None:
    return _compile(service, reference.shape) if reference is not None else None


def _list(service: ServiceModel, shape: Shape) -> _Check | None:
    element = _reference(service, shape.member)
    size = _sized(shape, "length") if shape.min is not None or shape.max is not None else None
    if element is None and size is None:
        return None

    def check(value: Any, where: str) -> Iterator[_Fault]:
        if size is not None:
            yield from size(value, where)
        if element is not None:
            for index, each in enumerate(value, 1):
                yield from element(each, f"{where}.{index}.member")

    return check


def _map(service: ServiceModel, shape: Shape) -> _Check | None:
    key, inner = _reference(service, shape.key), _reference(service, shape.value)
    size = _sized(shape, "length") if shape.min is not None or shape.max is not None else None
    if key is None and inner is None and size is None:
        return None

    def check(value: Any, where: str) -> Iterator[_Fault]:
        if size is not None:
            yield from size(value, where)
        for name, each in value.items():
            if key is not None:
                yield from key(name, where)
            if inner is not None:
                yield from inner(each, f"{where}.{name}.member")

    return check


def _string(shape: Shape, caseless: bool) -> _Check | None:
    enum = frozenset(shape.enum)
    pattern = _pattern(shape.pattern) if shape.pattern else None
    size = _sized(shape, "length") if shape.min is not None or shape.max is not None else None
    if not enum and pattern is None and size is None:
        return None
    sensitive = shape.sensitive
    allowed = f"[{', '.join(shape.enum)}]"

    def check(value: Any, where: str) -> Iterator[_Fault]:
        if size is not None:
            yield from size(value, where)
        if enum and value not in enum and not (caseless and value.upper() in enum):
            yield where, _fault(value, where, f"Member must satisfy enum value set: {allowed}", sensitive)
        if pattern is not None and not pattern.fullmatch(value):
            text = f"Member must satisfy regular expression pattern: {shape.pattern}"
            yield where, _fault(value, where, text, sensitive)

    return check


def _sized(shape: Shape, what: str) -> _Check:
    least, most, sensitive = shape.min, shape.max, shape.sensitive

    def check(value: Any, where: str) -> Iterator[_Fault]:
        if least is not None and len(value) < least:
            yield where, _fault(value, where, f"Member must have {what} greater than or equal to {least}", sensitive)
        if most is not None and len(value) > most:
            yield where, _fault(value, where, f"Member must have {what} less than or equal to {most}", sensitive)

    return check


def _number(shape: Shape) -> _Check | None:
    least, most = shape.min, shape.max
    if least is None and most is None:
        return None

    def check(value: Any, where: str) -> Iterator[_Fault]:
        if least is not None and value < least:
            yield where, _fault(value, where, f"Member must have value greater than or equal to {least}", False)
        if most is not None and value > most:
            yield where, _fault(value, where, f"Member must have value less than or equal to {most}", False)

    return check


@cache
def _pattern(text: str) -> re.Pattern[str] | None:
    r"""The model's patterns are Java's. None: one that Python cannot read, and which is then not asked.

    `\p{...}` classes are widened to any character of the kind that Python can name.
    """
    widened = "\\p{" in text  # Java's own \w and \d are ASCII; its named classes are not.
    for java, python in _JAVA_CLASSES:
        text = text.replace(java, python)
    try:
        return re.compile(text, 0 if widened else re.ASCII)
    except re.error:
        return None


# Inside and outside of brackets alike: what Python can say of the class within a set of characters.
_JAVA_CLASSES = (
    (r"\p{L}", r"\w"),
    (r"\p{Z}", r"\s"),
    (r"\p{N}", r"\d"),
    (r"\p{M}", r"\w"),
    (r"\p{S}", r"$+<=>^`|~"),
    (r"\p{P}", r"!-/:-@\[-`{-~"),
    (r"\p{Alnum}", r"a-zA-Z0-9"),
    (r"\p{Graph}", r"!-~"),
    (r"\p{Print}", r" -~"),
)


def _fault(value: Any, where: str, constraint: str, sensitive: bool) -> str:
    shown = "" if sensitive else f" '{str(value)[:_VALUES_SHOWN_MAX]}'"
    return f"Value{shown} at '{where}' failed to satisfy constraint: {constraint}"


def _inside(where: str, name: str) -> str:
    member = name[:1].lower() + name[1:]
    return f"{where}.{member}" if where else member
