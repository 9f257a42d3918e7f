"""What rooms are built with: sealing, marks of operations, access rows, calls."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from in_process import IDENTITY_KEY, InProcessHouse
from longshore.aws.errors import AwsError
from longshore.kit.access import pass_role, tag_context
from longshore.kit.call import Call
from longshore.kit.operation import Extension, Operation, Stream, collect, extension, operation, stream
from longshore.kit.sealing import IdentityDocuments, Sealer, new_identity_document_key
from longshore.kit.service import Service


def test_what_is_sealed_is_opened_by_the_same_key_for_the_same_purpose_alone() -> None:
    sealer = Sealer(bytes(32))
    sealed = sealer.seal(b"secret", "a")
    assert b"secret" not in sealed and sealer.seal(b"secret", "a") != sealed
    assert sealer.unseal(sealed, "a") == b"secret"
    changed = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
    for wrong in (b"", b"x" * 12, sealed[:-1], sealed + b"x", *changed):
        with pytest.raises(ValueError):
            sealer.unseal(wrong, "a")
    with pytest.raises(ValueError):
        sealer.unseal(sealed, "b")
    with pytest.raises(ValueError):
        Sealer(b"\x01" * 32).unseal(sealed, "a")


def test_an_identity_document_is_verified_and_a_changed_one_is_not() -> None:
    ours = IdentityDocuments(IDENTITY_KEY)
    signature = ours.sign('{"instanceId": "i-1"}')
    assert ours.verify('{"instanceId": "i-1"}', signature)
    assert IdentityDocuments(IDENTITY_KEY).verify('{"instanceId": "i-1"}', signature)
    assert not ours.verify('{"instanceId": "i-2"}', signature)
    for wrong in ("", "AAAA", "é", signature[:-8] + "AAAAAAA=", "not base64!"):
        assert not ours.verify('{"instanceId": "i-1"}', wrong)
    assert not IdentityDocuments(new_identity_document_key()).verify('{"instanceId": "i-1"}', signature)


def module() -> ModuleType:
    made = ModuleType("a_room")

    @operation
    def describe_things(call: Call, request: Any) -> Any: ...
    @operation
    def create_thing(call: Call, request: Any) -> Any: ...
    @operation(writes=True)
    def get_token(call: Call, request: Any) -> Any: ...
    @stream(path="/ws", action="ecs:Poll")
    async def poll(session: Any) -> None: ...
    @extension("GET", "/_longshore/thing/{id}", action="batch:DescribeJobs")
    def thing(call: Call, request: Any) -> Any: ...
    def helper() -> None: ...

    for each in (describe_things, create_thing, get_token, poll, thing, helper):
        each.__module__ = "a_room"
        setattr(made, each.__name__, each)
    made.imported = operation(sys.modules[__name__].test_marks_say_what_a_function_is)  # type: ignore[attr-defined]
    return made


def test_marks_say_what_a_function_is() -> None:
    found = collect([module()])
    assert [type(mark) for mark in found] == [Operation, Operation, Operation, Stream, Extension]
    room = Service("ecs", operations=[module()], access={})
    for name, writes in (("DescribeThings", False), ("CreateThing", True), ("GetToken", True)):
        mark = room.operation(name)
        assert mark is not None and mark.writes is writes
    assert room.operation("Imported") is None and room.operation("Helper") is None
    assert [each.path for each in room.streams] == ["/ws"]
    assert [each.action for each in room.extensions] == ["batch:DescribeJobs"]


def test_keys_of_tags_and_of_a_role_that_is_passed() -> None:
    assert tag_context(None) == tag_context({}) == {}
    assert tag_context({"a": "1", "B": "2"}) == {
        "aws:RequestTag/a": "1", "aws:RequestTag/B": "2", "aws:TagKeys": ["a", "B"],
    }  # fmt: skip
    question = pass_role("arn:aws:iam::1:role/x", "ec2.amazonaws.com")
    assert (question.action, dict(question.context)) == ("iam:PassRole", {"iam:PassedToService": "ec2.amazonaws.com"})


def test_arns_of_a_call(house: InProcessHouse) -> None:
    def arns(call: Call) -> list[str]:
        return [call.arn("job-queue/q"), call.arn("role/r", service="iam"), call.arn("cluster/c", service="ecs")]

    assert house.house.turn("batch", region="eu-west-1").read(arns) == [
        "arn:aws:batch:eu-west-1:123456789012:job-queue/q",
        "arn:aws:iam::123456789012:role/r",
        "arn:aws:ecs:eu-west-1:123456789012:cluster/c",
    ]


def test_what_another_room_refused_leaves_nothing_of_its_own(house: InProcessHouse) -> None:
    """A peer's writes are undone, the caller's own stay; and both are told to the trail."""
    from longshore.aws.principal import root

    account_root = root("123456789012")

    def act(call: Call) -> str:
        call.peer("iam", "CreateUser", {"UserName": "kept"}, as_=account_root)
        try:
            call.peer("iam", "CreateUser", {"UserName": "KEPT"}, as_=account_root)
        except AwsError as error:
            return error.code
        return ""

    async def run() -> str:
        return await house.house.turn("batch").write(act)  # type: ignore[no-any-return]

    assert house.loop.run_until_complete(run()) == "EntityAlreadyExists"
    assert [user["UserName"] for user in house.client("iam").list_users()["Users"]] == ["kept"]


def test_a_service_without_a_role_may_look_and_not_touch(house: InProcessHouse) -> None:
    def look(call: Call) -> Any:
        return call.peer("iam", "ListUsers", {}, as_=call.as_service())

    def touch(call: Call) -> Any:
        return call.peer("iam", "CreateUser", {"UserName": "x"}, as_=call.as_service())

    async def run(work: Any) -> Any:
        return await house.house.turn("batch").write(work)

    assert house.loop.run_until_complete(run(look))["Users"] == []
    with pytest.raises(AwsError, match="AccessDenied"):
        house.loop.run_until_complete(run(touch))
    assert house.client("iam").list_users()["Users"] == []
