"""From RunInstances to a task that has stopped, through the house's front door, on virtual time."""

from __future__ import annotations

from agent.conftest import Site


def test_an_instance_joins_and_a_task_runs_with_its_log(site: Site) -> None:
    instance = site.joined()
    site.define()
    arn = site.run(LONGSHORE_EXIT_CODE="3", LONGSHORE_LOG="hello\nworld")
    task = site.until(arn)
    (container,) = task["containers"]
    assert (container["lastStatus"], container["exitCode"]) == ("STOPPED", 3)
    assert task["containerInstanceArn"] == instance["containerInstanceArn"]
    assert task["startedAt"] <= task["executionStoppedAt"] <= task["stoppedAt"]
    assert site.log_of(arn) == ["hello", "world"]
