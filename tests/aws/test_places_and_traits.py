"""Every place of a member and every trait of a shape, on a service made for it: both ways, as for the real ones."""

from __future__ import annotations

from typing import Any

import pytest

from aws import synthetic
from aws.oracle import Values, as_received, read_by_botocore, sent_by_botocore
from aws.test_round_trips import as_read
from longshore.aws.errors import AwsError
from longshore.aws.wire import codec
from longshore.aws.wire.http import HttpRequest
from longshore.aws.wire.scalars import UnknownMember

PROTOCOLS = ("query", "ec2", "json", "rest-json")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_trait_is_read_and_written_as_botocore_means_it(protocol: str) -> None:
    ours, theirs = synthetic.models(protocol)
    operation, form = theirs.operation_model("Do"), ours.operations["Do"]
    for seed in range(150):
        values = Values(f"{protocol}.{seed}", full=seed % 3 == 0, nodes=200)
        meant = values.of(operation.input_shape)
        received = codec.parse(form, sent_by_botocore(operation, meant))
        assert received == as_received(protocol, operation.input_shape, meant), seed
        values = Values(f"{protocol}.{seed}", full=seed % 3 == 0, nodes=200, milliseconds=True)
        meant = values.of(operation.output_shape)
        read = read_by_botocore(operation, codec.serialize(form, meant, "r", strict=True))
        del read["ResponseMetadata"]
        expected = as_read(protocol, operation.output_shape, meant)
        assert read == without_empty_flat_ones(expected, protocol), seed


def without_empty_flat_ones(value: dict[str, Any], protocol: str) -> dict[str, Any]:
    """A flattened list or map has no element of its own that could be empty."""
    if protocol not in ("query", "ec2"):
        return value
    return {name: each for name, each in value.items() if not (name.startswith("flat") and not each)}


def test_members_travel_in_path_query_string_headers_and_body() -> None:
    ours, theirs = synthetic.models("rest-json")
    operation, form = theirs.operation_model("Place"), ours.operations["Place"]
    for seed in range(150):
        meant = Values(f"place.{seed}", full=seed % 2 == 0).of(operation.input_shape)
        for name in ("bucket", "key"):
            meant[name] = meant[name] or "a"
        meant["key"] = f"{meant['key']}/with/slashes"
        if "header" in meant:  # A header is of one line, and its end is not its own.
            meant["header"] = meant["header"].strip().replace("\n", " ").replace("\t", " ") or "x"
        received = codec.parse(form, sent_by_botocore(operation, meant))
        assert received == as_received("rest-json", operation.input_shape, meant), seed


def test_a_value_of_another_type_in_path_query_string_or_header_is_refused() -> None:
    ours, _ = synthetic.models("rest-json")
    form = ours.operations["Place"]
    good = HttpRequest("PUT", "/v1/b/of/k/l", "n=1&flag=true&name=a&name=b", {"x-thing-size": "9"}, b"")
    assert codec.parse(form, good) == {
        "bucket": "b", "key": "k/l", "number": 1, "flag": True, "names": ["a", "b"], "size": 9,
    }  # fmt: skip
    for query, headers in (
        ("n=one", {}),
        ("n=99999999999", {}),
        ("flag=perhaps", {}),
        ("when=yesterday", {}),
        ("name=%ff", {}),
        ("", {"x-thing-size": "1.5"}),
        ("", {"x-thing-ready": ""}),
    ):
        with pytest.raises(AwsError, match="ClientException"):
            codec.parse(form, HttpRequest("PUT", "/v1/b/of/k", query, headers, b""))
    with pytest.raises(AwsError, match="ClientException"):
        codec.parse(form, HttpRequest("PUT", "/v1/%ff/of/k"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_strict_serializer_refuses_what_the_model_does_not_know(protocol: str) -> None:
    ours, _ = synthetic.models(protocol)
    form = ours.operations["Do"]
    for wrong in (
        {"texxt": "x"},
        {"node": {"nome": "x"}},
        {"nodes": [{"children": [{"nome": "x"}]}]},
        {"text": 1},
        {"whole": "1"},
        {"whole": True},
        {"yes": 1},
        {"moment": 0},
        {"texts": [1]},
    ):
        with pytest.raises(UnknownMember):
            codec.serialize(form, wrong, "r", strict=True)
    assert codec.serialize(form, {"text": None, "node": {"name": None}}, "r", strict=True).status == 200


@pytest.mark.parametrize("protocol", ["query", "ec2"])
def test_texts_that_xml_cannot_bear_do_not_spoil_the_answer(protocol: str) -> None:
    ours, theirs = synthetic.models(protocol)
    meant = {"text": "a\x00b\x1b[0m\ufffe\rc", "texts": ["\t\n", " x "]}
    read = read_by_botocore(theirs.operation_model("Do"), codec.serialize(ours.operations["Do"], meant, "r"))
    assert read["text"] == "a\ufffdb\ufffd[0m\ufffd\rc"
    assert read["texts"] == ["\t\n", " x "]
