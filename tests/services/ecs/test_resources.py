import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.services.ecs import resources
from longshore.services.ecs.records import Amounts
from longshore.services.ecs.resources import Need


@pytest.mark.parametrize(("text", "units"), [("256", 256), (".25 vCPU", 256), ("1 vcpu", 1024), ("4vCPU", 4096)])
def test_cpu_of_a_task_is_units_or_vcpus(text: str, units: int) -> None:
    assert resources.cpu_units(text) == units


@pytest.mark.parametrize(("text", "mib"), [("512", 512), ("1 GB", 1024), (".5GB", 512)])
def test_memory_of_a_task_is_mib_or_gb(text: str, mib: int) -> None:
    assert resources.memory_mib(text) == mib


def test_a_tasks_own_size_counts_before_its_containers_and_soft_limits_before_hard() -> None:
    containers = [
        {"name": "a", "cpu": 100, "memory": 300, "memoryReservation": 200},
        {"name": "b", "cpu": 28, "memory": 50},
    ]
    assert resources.need({"containerDefinitions": containers}, {}) == Need(cpu=128, memory=250)
    assert resources.need({"containerDefinitions": containers, "cpu": "512", "memory": "1 GB"}, {}) == Need(
        cpu=512, memory=1024
    )


def test_host_networking_takes_the_containers_ports() -> None:
    container = {
        "name": "a",
        "memory": 1,
        "portMappings": [{"containerPort": 80}, {"containerPort": 53, "protocol": "udp"}],
    }
    found = resources.need({"containerDefinitions": [container], "networkMode": "host"}, {})
    assert (found.ports, found.ports_udp) == (("80",), ("53",))
    assert resources.need({"containerDefinitions": [container]}, {}).ports == ()


needs = st.builds(
    Need,
    cpu=st.integers(0, 900),
    memory=st.integers(0, 900),
    ports=st.lists(st.sampled_from(["80", "81", "82"]), max_size=2, unique=True).map(tuple),
    gpu_count=st.integers(0, 2),
)


@given(st.lists(needs, max_size=12), st.data())
def test_whatever_comes_and_goes_nothing_is_promised_twice_and_all_comes_back(wanted, data) -> None:  # type: ignore[no-untyped-def]
    whole = Amounts(2048, 2048, ("22",), (), ("g0", "g1", "g2"))
    left, taken = whole, []
    for need in wanted:
        if resources.lacking(left, need) is None:
            takes = resources.chosen(left, need)
            left = resources.less(left, takes)
            taken.append(takes)
        if taken and data.draw(st.booleans()):
            left = resources.more(left, taken.pop(data.draw(st.integers(0, len(taken) - 1))))
        assert left.cpu == whole.cpu - sum(each.cpu for each in taken) >= 0
        assert left.memory == whole.memory - sum(each.memory for each in taken) >= 0
        assert len(left.gpus) == 3 - sum(len(each.gpus) for each in taken)
        ports = [port for each in taken for port in each.ports]
        assert len(set(ports)) == len(ports)
    for takes in taken:
        left = resources.more(left, takes)
    assert (left.cpu, left.memory, left.ports, set(left.gpus)) == (
        whole.cpu,
        whole.memory,
        whole.ports,
        set(whole.gpus),
    )
