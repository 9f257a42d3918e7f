"""How soon a job that does nothing has succeeded. The bars are those of a quiet machine; the best of a few tries is held
against them, since a busy one delays some tries and not the path itself."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from system.chain import Chain

UP_SECONDS = 1.0
FROM_ZERO_SECONDS = 4.0


def seconds(chain: Chain, definition: str, queue: str) -> float:
    """From before SubmitJob until DescribeJobs first says SUCCEEDED."""
    began = time.monotonic()
    job_id = chain.submit(definition, queue)
    while (status := chain.job(job_id)["status"]) not in ("SUCCEEDED", "FAILED"):
        if time.monotonic() - began > 30:
            break
        time.sleep(0.003)
    assert status == "SUCCEEDED"
    return time.monotonic() - began


def test_a_job_on_an_instance_that_is_up(local: Chain, record_property: Callable[[str, object], None]) -> None:
    definition = local.define("true")
    seconds(local, definition, "default")
    took = [seconds(local, definition, "default") for _ in range(8)]
    record_property("seconds_up_median", statistics.median(took))
    print(f"\non an instance that is up: best {min(took):.3f} s, median {statistics.median(took):.3f} s")
    assert min(took) < UP_SECONDS


def test_a_job_from_zero_instances(local: Chain, record_property: Callable[[str, object], None]) -> None:
    definition = local.define("true")
    took = []
    for number in range(3):
        queue = local.queue(f"zero-{number}")
        took.append(seconds(local, definition, queue))
        local.delete(queue)
    record_property("seconds_from_zero_median", statistics.median(took))
    print(f"\nfrom zero instances: best {min(took):.3f} s, median {statistics.median(took):.3f} s")
    assert min(took) < FROM_ZERO_SECONDS
