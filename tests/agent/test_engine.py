"""Tasks on their instance: what the agent does and reports, whatever is lost on the way and whenever it dies."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from agent.scripted_server import DENIED, Bench, container, session, task, task_arn
from longshore.agent.transport import TransportError
from longshore.aws.errors import AwsError

INTERNAL = AwsError("ServerException", "broken", status=500)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def scripted(name: str = "main", /, *, log: dict[str, str] | None = None, essential: bool = True,
             depends_on: list[dict[str, str]] | None = None, **said: object) -> dict[str, object]:  # fmt: skip
    """A container with LONGSHORE_... variables: `exit_code=3`, `run_seconds=5`."""
    environment = {f"LONGSHORE_{key.removesuffix('_text').upper()}": str(value) for key, value in said.items()}
    return container(name, log=log, essential=essential, dependsOn=depends_on or [], environment=environment)


def stopped(bench: Bench, name: str = "t1") -> dict[str, object]:
    bench.until(lambda: "STOPPED" in bench.server.reports(name))
    report = bench.server.last_report(name)
    assert report["status"] == "STOPPED"
    return report


def test_a_task_runs_and_its_end_is_reported(bench: Bench) -> None:
    bench.joined()
    bench.pay(task("t1", scripted(exit_code=3)))
    report = stopped(bench)
    assert bench.server.reports() == ["RUNNING", "STOPPED"]
    running = bench.server.params("SubmitTaskStateChange")[0]
    assert running["containers"][0]["status"] == "RUNNING"
    assert len(running["containers"][0]["runtimeId"]) == 64
    assert running["containers"][0]["imageDigest"].startswith("sha256:")
    assert running["pullStartedAt"] <= running["pullStoppedAt"]
    assert report["reason"] == ""
    assert report["containers"][0]["exitCode"] == 3
    assert report["executionStoppedAt"] >= running["pullStoppedAt"]
    assert bench.acknowledged() == ["m1"]


def test_nothing_is_left_of_a_task_that_was_reported(bench: Bench) -> None:
    bench.joined()
    bench.pay(task("t1", scripted(log={"awslogs-stream": "s"}, log_text="x")))
    stopped(bench)
    bench.pass_time(1)
    assert bench.loop.run_until_complete(bench.runtime.inspect()) == []
    assert [bench.shelf.names(folder) for folder in ("tasks", "states", "logs")] == [[], [], []]


def test_a_payload_that_comes_twice_is_acknowledged_and_run_once(bench: Bench) -> None:
    bench.joined()
    for message_id in ("m1", "m2"):
        bench.pay(task("t1", scripted(exit_code=0)), message_id=message_id)
    stopped(bench)
    bench.pass_time(1)
    bench.pay(task("t1", scripted(exit_code=0)), message_id="m3")
    bench.pass_time(5)
    assert bench.server.reports() == ["RUNNING", "STOPPED"]
    assert bench.acknowledged() == ["m1", "m2", "m3"]


@pytest.mark.parametrize("fault", ["lost", TransportError("no answer"), INTERNAL, DENIED])
def test_a_report_is_repeated_until_it_is_accepted_in_order(bench: Bench, fault: object) -> None:
    bench.joined()
    bench.server.faults["SubmitTaskStateChange"] = [fault, fault, None, fault]
    bench.pay(task("t1"))
    stopped(bench)
    bench.until(lambda: len(bench.server.reports()) == 5)
    assert bench.server.reports() == ["RUNNING", "RUNNING", "RUNNING", "STOPPED", "STOPPED"]


def test_a_refused_report_is_asked_again_within_ten_seconds_of_the_mending(bench: Bench) -> None:
    bench.joined()
    bench.server.always["SubmitTaskStateChange"] = DENIED
    bench.pay(task("t1"))
    bench.pass_time(600)
    del bench.server.always["SubmitTaskStateChange"]
    bench.until(lambda: bench.server.reports()[-1:] == ["STOPPED"], seconds=10)


def test_a_report_of_a_task_that_the_server_does_not_know_is_dropped(bench: Bench) -> None:
    bench.joined()
    bench.server.always["SubmitTaskStateChange"] = AwsError(
        "InvalidParameterException", "The referenced task was not found.", status=400
    )
    bench.pay(task("t1"))
    bench.pass_time(60)
    assert bench.server.reports() == ["RUNNING", "STOPPED"]
    assert bench.shelf.names("states") == []


def test_what_the_scripts_say_comes_about(bench: Bench) -> None:
    bench.joined()
    bench.pay(
        task("oom", scripted(exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage")),
        task("image", scripted(pull_error="no such image")),
        task("absent", container(image="nowhere:missing")),
        task("command", scripted(start_error="exec: nope: not found")),
        task("nonsense", scripted(exit_code="many")),
    )
    ends = {name: stopped(bench, name)["containers"][0] for name in ("oom", "image", "absent", "command", "nonsense")}
    assert (ends["oom"]["exitCode"], ends["oom"]["reason"]) == (
        137,
        "OutOfMemoryError: Container killed due to memory usage",
    )
    for name, reason in (
        ("image", "CannotPullContainerError: no such image"),
        ("absent", "CannotPullContainerError: Error response from daemon: manifest for nowhere:missing not found"),
        ("command", "CannotStartContainerError: exec: nope: not found"),
        ("nonsense", "CannotCreateContainerError: `LONGSHORE_EXIT_CODE` is not an exit code"),
    ):
        assert "exitCode" not in ends[name]
        assert ends[name]["reason"].startswith(reason)
        assert bench.server.reports(name) == ["STOPPED"]


@pytest.mark.parametrize(
    ("stop", "grace", "exit_code", "after"), [("143", 30, 143, 0), ("7", 30, 7, 0), ("ignore", 5, 137, 5)]
)
def test_a_stop_gives_grace_and_then_kills(bench: Bench, stop: str, grace: int, exit_code: int, after: float) -> None:
    bench.joined()
    bench.pay(task("t1", {**scripted(run_seconds=1000, stop=stop), "stopTimeout": grace}))
    bench.until(lambda: bench.server.reports() == ["RUNNING"])
    began = bench.loop.time()
    bench.pay({**task("t1", status="STOPPED"), "containers": []}, message_id="m2")
    report = stopped(bench)
    assert report["containers"][0]["exitCode"] == exit_code
    assert after <= bench.loop.time() - began < after + 1
    assert bench.acknowledged() == ["m1", "m2"]


def test_a_task_waits_until_those_before_it_leave_what_it_needs(bench: Bench) -> None:
    bench.joined()
    large = {"cpu": 1.5, "memory": 1024}
    bench.pay(
        task("t1", scripted(run_seconds=100), **large),
        task("t2", scripted(run_seconds=100), **large),
        task("t3", scripted(run_seconds=100), cpu=0.1, memory=64),
    )
    bench.pass_time(50)
    assert [bench.server.reports(name) for name in ("t1", "t2", "t3")] == [["RUNNING"], [], []]
    bench.pass_time(55)
    assert [bench.server.reports(name)[:1] for name in ("t2", "t3")] == [["RUNNING"], ["RUNNING"]]


def test_a_task_that_waits_can_be_stopped_and_makes_room_for_the_next(bench: Bench) -> None:
    bench.joined()
    bench.pay(
        task("t1", scripted(run_seconds=100), cpu=1.5),
        task("t2", scripted(), cpu=1.5),
        task("t3", scripted(), cpu=0.1),
    )
    bench.pass_time(1)
    bench.pay(task("t2", status="STOPPED"), message_id="m2")
    report = stopped(bench, "t2")
    assert "exitCode" not in report["containers"][0]
    assert bench.server.reports("t2") == ["STOPPED"]
    stopped(bench, "t3")


def test_a_task_larger_than_the_instance_ends_at_once(bench: Bench) -> None:
    bench.joined()
    bench.pay(task("t1", memory=10_000))
    assert stopped(bench)["reason"] == "The instance does not offer what the task needs."


def test_a_port_is_given_to_one_task_at_a_time(bench: Bench) -> None:
    bench.joined()
    served = [{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}]
    bench.pay(
        task("t1", {**scripted(run_seconds=10), "portMappings": served}),
        task("t2", {**scripted(), "portMappings": served}),
    )
    bench.pass_time(5)
    assert bench.server.reports("t2") == []
    running = bench.server.params("SubmitTaskStateChange")[0]
    assert running["containers"][0]["networkBindings"] == [
        {"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 80, "protocol": "tcp"}
    ]
    stopped(bench, "t2")


def test_containers_start_and_end_in_their_order(bench: Bench) -> None:
    bench.joined()
    side = scripted("side", essential=False, run_seconds=5)
    main = scripted("main", depends_on=[{"containerName": "side", "condition": "SUCCESS"}])
    bench.pay(task("t1", main, side))
    stopped(bench)
    assert bench.loop.time() > 5
    reports = [
        [(each["containerName"], each["status"]) for each in sent["containers"]]
        for sent in bench.server.params("SubmitTaskStateChange")
    ]
    # As the original: a report holds all changes since the last one, and one name may come twice.
    assert reports == [[("side", "RUNNING"), ("side", "STOPPED"), ("main", "RUNNING")], [("main", "STOPPED")]]


def test_a_stop_of_a_task_that_is_not_here_is_reported_as_its_end(bench: Bench) -> None:
    bench.joined()
    bench.pay(task("never", status="STOPPED"))
    report = stopped(bench, "never")
    assert report["containers"] == []
    assert bench.acknowledged() == ["m1"]


def test_a_bad_task_is_reported_and_its_message_not_acknowledged(bench: Bench) -> None:
    bench.joined()
    bench.pay(task("bad", container(overrides='{"environment":{}}')), task("t1"))
    report = stopped(bench, "bad")
    assert report["reason"].startswith("UnrecogniedTaskError: Error loading task - unsupported overrides")
    assert report["containers"] == []
    stopped(bench, "t1")
    assert bench.acknowledged() == []


# Logs


def test_the_log_is_complete_before_the_end_is_reported(bench: Bench) -> None:
    bench.joined()
    bench.server.faults["PutLogEvents"] = [TransportError("no answer"), INTERNAL]
    bench.pay(task("t1", scripted(log={"awslogs-stream": "s"}, log_text="one\\ntwo")))
    stopped(bench)
    assert bench.server.log == {"s": ["one", "two"]}
    operations = [name for name, _, _ in bench.server.calls]
    assert operations.index("CreateLogStream") < operations.index("PutLogEvents")
    last_put = len(operations) - operations[::-1].index("PutLogEvents")
    last_report = len(operations) - operations[::-1].index("SubmitTaskStateChange")
    assert last_put < last_report


def test_a_log_service_that_does_not_answer_holds_up_the_report_for_seconds_only(bench: Bench) -> None:
    bench.joined()
    bench.server.always["PutLogEvents"] = TransportError("away")
    bench.pay(task("t1", scripted(log={"awslogs-stream": "s"}, log_text="kept")))
    began = bench.loop.time()
    stopped(bench)
    assert bench.loop.time() - began < 6
    bench.pass_time(60)
    del bench.server.always["PutLogEvents"]
    bench.pass_time(10)
    assert bench.server.log == {"s": ["kept"]}
    assert bench.shelf.names("states") == []


def test_who_may_not_write_its_log_does_not_run(bench: Bench) -> None:
    bench.joined()
    bench.server.always["CreateLogStream"] = DENIED
    bench.pay(task("t1", scripted(log={"awslogs-stream": "s"})))
    report = stopped(bench)
    assert report["containers"][0]["reason"] == (
        "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: "
        f"failed to create Cloudwatch log stream: {DENIED}"
    )
    assert bench.server.reports() == ["STOPPED"]


def test_a_log_that_is_refused_does_not_hold_up_the_end(bench: Bench) -> None:
    bench.joined()
    bench.server.always["PutLogEvents"] = DENIED
    bench.pay(task("t1", scripted(log={"awslogs-stream": "s"}, log_text="x")))
    began = bench.loop.time()
    stopped(bench)
    assert bench.loop.time() - began < 1
    assert any("1 events are kept until the stream takes them" in line for line in bench.said)


def test_the_log_comes_before_the_report_once_a_server_that_was_away_is_back(bench: Bench) -> None:
    for away_seconds in (0.7, 3.0, 11.0, 47.0, 1500.0):
        name = f"t{away_seconds:.0f}"
        bench.joined()
        bench.pay(task(name, scripted(log={"awslogs-stream": name}, log_text="last words", run_seconds=1)))
        bench.until(lambda name=name: "RUNNING" in bench.server.reports(name))
        bench.server.always |= {each: TransportError("away") for each in ("PutLogEvents", "SubmitTaskStateChange")}
        bench.pass_time(1 + away_seconds)
        bench.server.always.clear()
        began = len(bench.server.calls)
        bench.until(lambda name=name: name in ended_tasks(bench))
        operations = [each for each, _, _ in bench.server.calls[began:]]
        assert bench.server.log[name] == ["last words"]
        assert operations.index("PutLogEvents") < operations.index("SubmitTaskStateChange")
        bench.kill()


def test_a_log_that_was_refused_is_there_once_the_role_is_mended(bench: Bench) -> None:
    bench.joined()
    bench.server.always["PutLogEvents"] = DENIED
    for number in (1, 2, 3):
        bench.pay(task(f"t{number}", scripted(log={"awslogs-stream": f"s{number}"}, log_text=f"a{number}\\nb{number}")))
        stopped(bench, f"t{number}")
    assert bench.loop.run_until_complete(bench.runtime.inspect()) == [] and bench.shelf.names("states") == []
    asked = len(bench.server.calls)
    bench.pass_time(60)
    assert 8 < len(bench.server.calls) - asked < 20  # One a round, not one for each of them.
    bench.server.faults["PutLogEvents"] = ["lost"]
    del bench.server.always["PutLogEvents"]
    bench.pass_time(10)
    assert bench.server.log == {f"s{each}": [f"a{each}", f"b{each}"] for each in (1, 2, 3)}
    assert bench.shelf.names("late") == []


def test_a_log_that_was_refused_is_sent_by_the_next_agent(bench: Bench) -> None:
    bench.joined()
    bench.server.always["PutLogEvents"] = DENIED
    bench.pay(task("t1", scripted(log={"awslogs-stream": "s"}, log_text="one\\ntwo")))
    stopped(bench)
    bench.kill()
    bench.joined()
    bench.pass_time(3 * 3600)
    assert "s" not in bench.server.log
    bench.kill()
    del bench.server.always["PutLogEvents"]
    bench.joined()
    bench.pass_time(1)
    assert bench.server.log == {"s": ["one", "two"]}
    assert bench.shelf.names("late") == []


def test_an_execution_role_that_is_mended_in_time_signs_for_the_rest(bench: Bench) -> None:
    bench.joined()
    bench.server.always["PutLogEvents"] = DENIED
    main = {**scripted(log={"awslogs-stream": "s"}, log_text="x"), "logsAuthStrategy": "ExecutionRole"}
    bench.pay(task("t1", main, executionRoleCredentials=session("e1", key="ASIAEXECUTION")))
    stopped(bench)
    bench.pass_time(30)
    del bench.server.always["PutLogEvents"]
    bench.pass_time(10)
    assert bench.server.log == {"s": ["x"]}
    signers = {credentials.access_key_id for name, _, credentials in bench.server.calls if name == "PutLogEvents"}
    assert signers == {"ASIAEXECUTION"}


def test_what_is_too_old_for_the_service_or_whose_stream_is_gone_is_told_as_lost(bench: Bench) -> None:
    bench.joined()
    bench.server.always["PutLogEvents"] = DENIED
    bench.pay(task("t1", scripted(log={"awslogs-stream": "s"}, log_text="x")))
    stopped(bench)
    bench.pass_time(15 * 24 * 3600)
    assert bench.shelf.names("late") == []
    assert any("1 events are lost: they are too old" in line for line in bench.said)
    bench.pay(task("t2", scripted(log={"awslogs-stream": "s2"}, log_text="x\\ny")))
    stopped(bench, "t2")
    gone = AwsError("ResourceNotFoundException", "The specified log stream does not exist.", status=400)
    bench.server.always["PutLogEvents"] = gone
    bench.pass_time(100)
    assert bench.shelf.names("late") == []
    assert any("2 events are lost: ResourceNotFoundException" in line for line in bench.said)


def test_what_is_kept_of_refused_logs_is_bounded_and_the_oldest_goes(bench: Bench) -> None:
    bench.joined()
    bench.server.always["PutLogEvents"] = DENIED
    line = "x" * 200_000
    for number in range(30):
        text = "\\n".join([line] * (4 if number < 20 else 5))
        bench.pay(task(f"t{number}", scripted(log={"awslogs-stream": f"s{number:02}"}, log_text=text)))
        stopped(bench, f"t{number}")
        kept = bench.shelf.names("late")
        assert sum(len(bench.shelf.get(name) or b"") for name in kept) <= 16 << 20
        assert len(kept) == number + 1 or number >= 20
    told = "log stream /jobs s00: 4 events are lost: there is no room"
    assert any(line.startswith(told) for line in bench.said)
    del bench.server.always["PutLogEvents"]
    bench.pass_time(10)
    assert len(bench.server.log) == len(kept) < 30 and "s29" in bench.server.log


def test_the_execution_role_signs_for_the_log_where_the_container_says_so(bench: Bench) -> None:
    bench.joined()
    main = {**scripted(log={"awslogs-stream": "s"}, log_text="x"), "logsAuthStrategy": "ExecutionRole"}
    bench.pay(task("t1", main, executionRoleCredentials=session("e1", key="ASIAEXECUTION")))
    stopped(bench)
    signers = {name: credentials.access_key_id for name, _, credentials in bench.server.calls}
    assert signers["CreateLogStream"] == signers["PutLogEvents"] == "ASIAEXECUTION"
    assert signers["SubmitTaskStateChange"] == "ASIA1"


def test_a_group_is_made_where_the_driver_is_told_to(bench: Bench) -> None:
    bench.joined()
    gone = AwsError("ResourceNotFoundException", "The specified log group does not exist.", status=400)
    bench.server.faults["CreateLogStream"] = [gone]
    bench.pay(task("t1", scripted(log={"awslogs-stream": "s", "awslogs-create-group": "true"}, log_text="x")))
    stopped(bench)
    assert bench.server.params("CreateLogGroup") == [{"logGroupName": "/jobs"}]
    assert bench.server.log == {"s": ["x"]}


# The agent dies.


def test_a_task_that_runs_across_a_restart_is_waited_for_and_not_run_again(bench: Bench) -> None:
    bench.joined()
    bench.pay(task("t1", scripted(log={"awslogs-stream": "s"}, run_seconds=60, exit_code=6, log_text="once")))
    bench.until(lambda: bench.server.log.get("s") == ["once"])
    bench.kill()
    bench.pass_time(10)
    bench.joined()
    assert stopped(bench)["containers"][0]["exitCode"] == 6
    assert bench.loop.time() == pytest.approx(60, abs=3)
    assert bench.server.reports() == ["RUNNING", "STOPPED"]
    assert bench.server.log == {"s": ["once"]}


def test_an_end_that_came_while_no_agent_was_there_is_found(bench: Bench) -> None:
    bench.joined()
    bench.pay(task("t1", scripted(run_seconds=5, exit_code=4)))
    bench.until(lambda: bench.server.reports() == ["RUNNING"])
    bench.kill()
    bench.pass_time(60)
    bench.joined()
    assert stopped(bench)["containers"][0]["exitCode"] == 4


def test_an_end_that_was_not_reported_is_reported_by_the_next_agent(bench: Bench) -> None:
    bench.joined()
    bench.server.always["SubmitTaskStateChange"] = TransportError("away")
    bench.pay(task("t1", scripted(exit_code=9)))
    bench.pass_time(5)
    bench.kill()
    del bench.server.always["SubmitTaskStateChange"]
    before = len(bench.server.reports())
    bench.joined()
    bench.until(lambda: len(bench.server.reports()) == before + 2)
    assert bench.server.reports()[before:] == ["RUNNING", "STOPPED"]
    assert bench.server.last_report()["containers"][0]["exitCode"] == 9


def test_a_stop_goes_on_after_a_restart(bench: Bench) -> None:
    bench.joined()
    bench.pay(task("t1", {**scripted(run_seconds=1000, stop="ignore"), "stopTimeout": 20}))
    bench.until(lambda: bench.server.reports() == ["RUNNING"])
    bench.pay(task("t1", status="STOPPED"), message_id="m2")
    bench.pass_time(1)
    bench.kill()
    bench.joined()
    assert stopped(bench)["containers"][0]["exitCode"] == 137


def test_a_task_that_runs_across_a_restart_keeps_what_it_holds(bench: Bench) -> None:
    bench.joined()
    bench.pay(task("t1", scripted(run_seconds=100), cpu=1.5))
    bench.until(lambda: bench.server.reports() == ["RUNNING"])
    bench.pay(task("t2", scripted(), cpu=1.5), message_id="m2")
    bench.kill()
    bench.joined()
    bench.pay(task("t3", scripted(), cpu=1.5), message_id="m3")
    bench.pass_time(50)
    assert bench.server.reports("t2") == bench.server.reports("t3") == []
    for name in ("t1", "t2", "t3"):
        stopped(bench, name)


def test_containers_of_no_task_are_removed_at_the_start(bench: Bench) -> None:
    bench.joined()
    bench.pay(task("t1", scripted(run_seconds=1000)))
    bench.until(lambda: bench.server.reports() == ["RUNNING"])
    bench.kill()
    for folder in ("states", "tasks"):
        for name in bench.shelf.names(folder):
            bench.shelf.remove(name)
    bench.joined()
    bench.pass_time(1)
    assert bench.loop.run_until_complete(bench.runtime.inspect()) == []


def test_sessions_of_roles_do_not_lie_on_the_shelf(bench: Bench) -> None:
    bench.joined()
    bench.pay(task("t1", scripted(run_seconds=1000), roleCredentials=session("c1", key="ASIAVERYSECRET")))
    bench.until(lambda: bench.server.reports() == ["RUNNING"])
    names = [name for folder in ("agent", "states", "tasks") for name in bench.shelf.names(folder)]
    kept = b"".join(bench.shelf.get(name) or b"" for name in names)
    assert b"ASIAVERYSECRET" not in kept
    assert b'"c1"' in kept


@pytest.mark.parametrize("seed", range(60))
def test_whenever_the_agent_dies_each_task_runs_once_and_its_end_is_heard(seed: int) -> None:
    """Agents die at any moment, answers are lost, payloads come twice, streams drop."""
    dice = random.Random(seed)
    bench = Bench()
    server = bench.server
    names = [f"t{number}" for number in range(6)]
    codes = {name: dice.randrange(256) for name in names}
    payloads = {
        name: task(
            name,
            scripted(
                log={"awslogs-stream": name}, exit_code=codes[name], run_seconds=dice.choice([0, 0, 1, 7]),
                log_text=f"line of {name}",
            ),
            cpu=dice.choice([0.1, 1.0]),
        )
        for name in names
    }  # fmt: skip
    starts: dict[str, int] = {}
    start = bench.runtime.start

    async def counted(container_id: str) -> None:
        if not bench.runtime._containers[container_id].is_started:
            starts[container_id] = starts.get(container_id, 0) + 1
        await start(container_id)

    bench.runtime.start = counted  # type: ignore[method-assign]
    try:
        bench.joined()
        for _ in range(60):
            match dice.randrange(6):
                case 0:
                    bench.kill()
                    bench.pass_time(dice.choice([0, 0.5, 3]))
                    bench.start()
                case 1:
                    operation = dice.choice(["SubmitTaskStateChange", "PutLogEvents", "CreateLogStream"])
                    server.faults.setdefault(operation, []).append(dice.choice(["lost", TransportError("x"), INTERNAL]))
                case 2 if server.streams:
                    bench.stream.drop()
                case _:
                    known = dice.choice(names)
                    acked = set(bench.acknowledged())
                    for name in [known, *(each for each in names if each not in acked)][:2]:
                        ended = name in ended_tasks(bench)
                        if server.streams and bench.stream.is_open and not ended:
                            bench.pay(payloads[name], message_id=name)
            bench.pass_time(dice.choice([0, 0.001, 0.002, 0.05, 1]))
        bench.until(lambda: server.streams and bench.stream.is_open)
        for name in names:
            if name not in ended_tasks(bench):
                bench.pay(payloads[name], message_id=name)
        bench.until(lambda: ended_tasks(bench) == set(names), seconds=300)
        bench.pass_time(30)
        assert set(starts.values()) == {1}
        for name in names:
            ends = [
                each["exitCode"]
                for report in server.params("SubmitTaskStateChange")
                if report["task"] == task_arn(name)
                for each in report["containers"]
                if each["status"] == "STOPPED"
            ]
            assert set(ends) == {codes[name]}
            assert server.log[name] == [f"line of {name}"]
        assert bench.shelf.names("states") == []
    finally:
        bench.close()


def ended_tasks(bench: Bench) -> set[str]:
    """As the server knows: ends that it accepted, whether the answer arrived or not."""
    return {report["task"].rpartition("/")[2] for report in bench.server.accepted if report["status"] == "STOPPED"}
