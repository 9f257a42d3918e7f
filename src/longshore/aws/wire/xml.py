"""XML as the query protocols answer it. Written as text: no tree is built."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from longshore.aws.model import Reference, ServiceModel
from longshore.aws.wire import scalars
from longshore.aws.wire.scalars import UnknownMember, demand

Write = Callable[[Any], str]

# What must not stand in a text as it is. A bare carriage return would be read as a line feed;
# most control characters, lone surrogates and two others cannot be written in XML 1.0 at all.
_SPECIAL = re.compile('[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xD;"}


def escape(text: str) -> str:
    """The text as XML's content; characters that XML 1.0 cannot bear become U+FFFD."""
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda found: _ENTITIES.get(found[0], "\ufffd"), text)


class Writers:
    """Of the content of elements, by shape. None is dropped; unknown members too, unless `strict`."""

    def __init__(self, service: ServiceModel, strict: bool) -> None:
        self._service = service
        self._strict = strict
        self._known: dict[str, Write] = {}
        ec2 = service.protocol == "ec2"
        self._element = "item" if ec2 else "member"
        self._timestamp = scalars.iso_milliseconds if ec2 else scalars.iso_seconds

    def of(self, reference: Reference, name: str) -> Write:
        known = self._known.get(reference.shape)
        return known or self._build(reference, name)

    def _build(self, reference: Reference, name: str) -> Write:
        shape = self._service.shapes[reference.shape]
        if shape.type == "structure":
            members: dict[str, tuple[str, str, Write]] = {}
            write = self._known[reference.shape] = _structure_writer(members, name, self._strict)
            for member_name, member in shape.members.items():
                members[member_name] = self._member(member_name, member)
            return write
        if shape.type == "list" and shape.member:
            tag = shape.member.location_name or self._element
            return _list_writer(tag, self.of(shape.member, name))
        if shape.type == "map" and shape.key and shape.value:
            key, value = shape.key.location_name or "key", shape.value.location_name or "value"
            return _map_writer("entry", key, value, self.of(shape.value, name))
        scalar = self._timestamp if shape.type == "timestamp" else _SCALARS[shape.type]
        return _strictly(scalar, shape.type, name) if self._strict else scalar

    def _member(self, name: str, member: Reference) -> tuple[str, str, Write]:
        """(what stands before, what stands after, the writer of the content)."""
        shape = self._service.shapes[member.shape]
        tag = member.location_name or shape.location_name or name
        if (member.flattened or shape.flattened) and shape.type == "list" and shape.member:
            return "", "", _list_writer(shape.member.location_name or tag, self.of(shape.member, name))
        if (member.flattened or shape.flattened) and shape.type == "map" and shape.key and shape.value:
            key, value = shape.key.location_name or "key", shape.value.location_name or "value"
            return "", "", _map_writer(tag, key, value, self.of(shape.value, name))
        return f"<{tag}>", f"</{tag}>", self.of(member, name)


def _structure_writer(members: dict[str, tuple[str, str, Write]], name: str, strict: bool) -> Write:
    def write(value: Any) -> str:
        parts = []
        for member_name, item in value.items():
            if item is not None:
                member = members.get(member_name)
                if member is not None:
                    before, after, write_member = member
                    parts.append(f"{before}{write_member(item)}{after}")
                elif strict:
                    raise UnknownMember(f"`{name}` has no member `{member_name}`")
        return "".join(parts)

    return write


def _list_writer(tag: str, write_element: Write) -> Write:
    before, after = f"<{tag}>", f"</{tag}>"
    return lambda value: "".join([f"{before}{write_element(element)}{after}" for element in value])


def _map_writer(tag: str, key_tag: str, value_tag: str, write_value: Write) -> Write:
    return lambda value: "".join(
        [
            f"<{tag}><{key_tag}>{escape(key)}</{key_tag}><{value_tag}>{write_value(item)}</{value_tag}></{tag}>"
            for key, item in value.items()
            if item is not None
        ]
    )


def _strictly(scalar: Write, kind: str, name: str) -> Write:
    def write(value: Any) -> str:
        demand(kind, name, value)
        return scalar(value)

    return write


def _boolean(value: bool) -> str:
    return "true" if value else "false"


_SCALARS: dict[str, Write] = {
    "string": escape,
    "character": escape,
    "integer": str,
    "long": str,
    "float": scalars.float_text,
    "double": scalars.float_text,
    "boolean": _boolean,
    "blob": scalars.base64_text,
}
