"""Wildcards, policy variables and ARNs part by part.

Source: IAM user guide, "IAM JSON policy elements: Resource", "Policy variables and tags".
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol

from msgspec import Struct


class Context(Protocol):
    """The condition keys of a request, in lower case -> value or values. A dict is one; so is what makes them when asked."""

    def get(self, name: str, /) -> str | list[str] | None: ...


_VARIABLE = re.compile(r"\$\{([*?$])\}|\$\{\s*([^{},]+?)\s*(?:,\s*'([^']*)'\s*)?\}")
_ACROSS = ".*"  # what `*` stands for
_WITHIN_PART = "[^:]*"  # `*` in one of an ARN's first five parts


class Text(Struct, frozen=True):
    """Plain text of a policy; `*` and `?` in it are wildcards where the place knows wildcards."""

    text: str


class Literal(Struct, frozen=True):
    """`${*}`, `${?}`, `${$}`: the character itself."""

    text: str


class Variable(Struct, frozen=True):
    name: str  # in lower case
    default: str | None  # None: without a value in the context the whole pattern has none


Piece = Text | Literal | Variable


def pieces(text: str, *, variables: bool) -> tuple[Piece, ...]:
    """The text cut at its variables. `variables` False (a document of version 2008): `${...}` is plain text."""
    if not variables or "${" not in text:
        return (Text(text),)
    found: list[Piece] = []
    end = 0
    for match in _VARIABLE.finditer(text):
        if match.start() > end:
            found.append(Text(text[end : match.start()]))
        if match[1]:
            found.append(Literal(match[1]))
        else:
            found.append(Variable(match[2].lower(), match[3]))
        end = match.end()
    if end < len(text) or not found:
        found.append(Text(text[end:]))
    return tuple(found)


def is_static(cut: tuple[Piece, ...]) -> bool:
    return not any(isinstance(piece, Variable) for piece in cut)


def names(cut: Iterable[Piece]) -> frozenset[str]:
    """The condition keys whose values the text takes in."""
    return frozenset(piece.name for piece in cut if isinstance(piece, Variable))


def spelled_names(text: str) -> list[str]:
    """The condition keys in `${...}`, as they are written."""
    return [found[2] for found in _VARIABLE.finditer(text) if found[2]]


def value_of(variable: Variable, context: Context) -> str | None:
    """Only keys with a single value can be put in."""
    value = context.get(variable.name)
    return value if isinstance(value, str) else variable.default


def plain(cut: tuple[Piece, ...], context: Context) -> str | None:
    """The text with its variables put in, wildcards as they stand. None: a variable has no value."""
    parts: list[str] = []
    for piece in cut:
        value = value_of(piece, context) if isinstance(piece, Variable) else piece.text
        if value is None:
            return None
        parts.append(value)
    return "".join(parts)


def expression(cut: tuple[Piece, ...], context: Context, wildcard: str = _ACROSS) -> str | None:
    """A regular expression for the pattern; what variables bring in is literal. None: a variable has no value."""
    if len(cut) == 1 and isinstance(cut[0], Text):
        return wild(cut[0].text, wildcard)
    tokens: list[str] = []
    for piece in cut:
        if isinstance(piece, Text):
            tokens += _tokens(piece.text, wildcard)
            continue
        value = value_of(piece, context) if isinstance(piece, Variable) else piece.text
        if value is None or (wildcard == _WITHIN_PART and ":" in value):
            return None  # A colon would begin a part of its own.
        tokens.append(re.escape(value))
    return _source(tokens, wildcard)


@lru_cache(4096)
def wild(text: str, wildcard: str = _ACROSS) -> str:
    """`*` is any run, also an empty one; `?` exactly one character; all else stands for itself."""
    return _source(_tokens(text, wildcard), wildcard)


def _tokens(text: str, wildcard: str) -> list[str]:
    """Literal runs, escaped; the expression of `?`; and "*" for any number of stars."""
    one = "." if wildcard == _ACROSS else "[^:]"
    return [
        "*" if token.startswith("*") else one if token == "?" else re.escape(token)
        for token in re.split(r"(\*+|\?)", text)
        if token
    ]


def _source(tokens: list[str], wildcard: str) -> str:
    """The tokens as one expression whose cost does not explode with the number of stars.

    What stands between two stars is taken where it is first found, for good (an atomic group): a later place could only
    leave less to the rest. Tried with `.*` for every star: twelve of them on a text of 60 letters took minutes.
    """
    first, *more = _between_stars(tokens)
    if not more:
        return first
    *middle, last = more
    return first + "".join(f"(?>{wildcard}?{each})" for each in middle if each) + wildcard + last


def _between_stars(tokens: list[str]) -> list[str]:
    found = [""]
    for token in tokens:
        if token == "*":
            found.append("")
        else:
            found[-1] += token
    return found


@lru_cache(4096)
def compiled(source: str) -> re.Pattern[str]:
    return re.compile(source, re.DOTALL)


def arn_parts(text: str) -> list[str]:
    """The six parts of an ARN; fewer when it has too few colons. Colons inside `${...}` do not count."""
    parts: list[str] = []
    start = depth = 0
    for index, character in enumerate(text):
        if character == "{" and text[index - 1 : index] == "$":
            depth += 1
        elif character == "}" and depth:
            depth -= 1
        elif character == ":" and not depth:
            parts.append(text[start:index])
            start = index + 1
            if len(parts) == 5:
                break
    parts.append(text[start:])
    return parts


class ArnPattern(Struct, frozen=True):
    """An ARN with wildcards: `*` of the first five parts stays in its part, the sixth runs over slashes and colons."""

    head: tuple[tuple[Piece, ...], ...]  # five parts
    tail: tuple[Piece, ...]
    # What fits whatever the variables stand for: most ARNs are told apart before any variable is put in.
    loose: re.Pattern[str]
    is_static: bool  # without variables; then `loose` is all there is to it

    def expression(self, context: Context) -> str | None:
        found: list[str] = []
        for part in self.head:
            source = expression(part, context, _WITHIN_PART)
            if source is None:
                return None
            found.append(source)
        tail = expression(self.tail, context)
        return None if tail is None else ":".join([*found, tail])

    def names(self) -> frozenset[str]:
        """The condition keys of its variables."""
        return names([*itertools.chain(*self.head), *self.tail])

    def matches(self, arn: str, context: Context) -> bool:
        if self.loose.fullmatch(arn) is None:
            return False
        if self.is_static:
            return True
        source = self.expression(context)
        return source is not None and compiled(source).fullmatch(arn) is not None


def arn_pattern(text: str, *, variables: bool, variables_in_head: bool = False) -> ArnPattern | None:
    """None: the text has too few parts to be an ARN, and so matches none."""
    parts = arn_parts(text)
    if len(parts) < 6:
        return None
    head = tuple(pieces(part, variables=variables and variables_in_head) for part in parts[:5])
    tail = pieces(parts[5], variables=variables)
    loose = ":".join([*(_loose(part, _WITHIN_PART) for part in head), _loose(tail, _ACROSS)])
    return ArnPattern(head, tail, compiled(loose), all(map(is_static, (*head, tail))))


def _loose(cut: tuple[Piece, ...], wildcard: str) -> str:
    """The expression with a star for each variable."""
    tokens: list[str] = []
    for piece in cut:
        if isinstance(piece, Variable):
            tokens.append("*")
        else:
            tokens += _tokens(piece.text, wildcard) if isinstance(piece, Text) else [re.escape(piece.text)]
    return _source(tokens, wildcard)


class Actions(Struct, frozen=True):
    """The actions of a statement, compared without regard to case."""

    exact: frozenset[str]
    wild: re.Pattern[str] | None

    def match(self, action: str) -> bool:
        """`action` in lower case."""
        return action in self.exact or (self.wild is not None and self.wild.fullmatch(action) is not None)


def actions(names: Iterable[str]) -> Actions:
    exact: set[str] = set()
    sources: list[str] = []
    for name in names:
        lower = name.lower()
        if "*" in lower or "?" in lower:
            sources.append(wild(lower))
        else:
            exact.add(lower)
    return Actions(frozenset(exact), _any_of(sources))


class Resources(Struct, frozen=True):
    """The resources of a statement."""

    everything: bool  # `*`
    exact: frozenset[str]
    wild: re.Pattern[str] | None
    patterns: tuple[ArnPattern, ...]  # those with variables
    loose: re.Pattern[str] | None  # `wild` and, whatever their variables stand for, `patterns`

    def match(self, resource: str, context: Context) -> bool:
        """A question on `*` (an action without resource types) is answered by a policy's `*` alone."""
        if self.everything or resource in self.exact:
            return True
        if self.loose is None or self.loose.fullmatch(resource) is None:
            return False
        if not self.patterns or (self.wild is not None and self.wild.fullmatch(resource) is not None):
            return True
        return any(pattern.matches(resource, context) for pattern in self.patterns)

    def sieve(self) -> Callable[[str], object] | None:
        """What is false of a resource cannot match, whatever the context; None: everything may. The quickest way to say no."""
        if self.everything:
            return None
        if self.loose is None:
            return self.exact.__contains__
        if not self.exact:
            return self.loose.fullmatch
        return compiled("|".join([*map(re.escape, sorted(self.exact)), self.loose.pattern])).fullmatch

    def matches_whatever(self, resource: str) -> bool:
        """Whether it matches whatever its variables stand for."""
        return (
            self.everything
            or resource in self.exact
            or (self.wild is not None and self.wild.fullmatch(resource) is not None)
        )

    def may_match(self, resource: str) -> bool:
        """Whether it matches for some values of its variables."""
        return (
            self.everything
            or resource in self.exact
            or (self.loose is not None and self.loose.fullmatch(resource) is not None)
        )


def resources(names: Iterable[str], *, variables: bool) -> Resources:
    exact: set[str] = set()
    sources: list[str] = []
    patterns: list[ArnPattern] = []
    everything = False
    for name in names:
        if name and not name.strip("*"):
            everything = True
            continue
        # Seen at AWS: a short ARN is filled up with `*`, and its first word is taken for `arn` whatever it is.
        _, *more = arn_parts(name)
        if not more:
            continue  # A word alone, which no checked document has, names nothing.
        parts = ["arn", *more]
        name = ":".join(parts + ["*"] * (6 - len(parts)))
        pattern = arn_pattern(name, variables=variables)
        if pattern is None:
            continue
        if not is_static(pattern.tail):
            patterns.append(pattern)
        elif "*" in name or "?" in name or "${" in name:
            sources.append(pattern.expression({}) or "")
        else:
            exact.add(name)
    return Resources(
        everything,
        frozenset(exact),
        _any_of(sources),
        tuple(patterns),
        _any_of([*sources, *(pattern.loose.pattern for pattern in patterns)]),
    )


def _any_of(sources: list[str]) -> re.Pattern[str] | None:
    return compiled("|".join(sources)) if sources else None
