"""Instance types: what an instance of each has, as AWS publishes it.

Source: EC2 user guide, "Instance types" (general purpose, compute optimized, memory optimized).
Memory is nominal; what an agent registers is lower.
"""

from __future__ import annotations

from msgspec import Struct

X86 = "x86_64"
ARM = "arm64"


class InstanceType(Struct, frozen=True):
    name: str
    vcpus: int
    memory_mib: int
    architecture: str
    family: str
    threads_per_core: int
    clock_ghz: float
    current: bool  # CurrentGeneration
    burstable: bool
    hypervisor: str  # nitro, xen
    interfaces: int  # network interfaces at most


# family -> architecture, threads per core, sustained clock in GHz, sizes as `size vCPUs/MiB`.
_FAMILIES: dict[str, tuple[str, int, float, str]] = {
    "t3": (X86, 2, 2.5, "nano 2/512 micro 2/1024 small 2/2048 medium 2/4096 large 2/8192 xlarge 4/16384 2xlarge 8/32768"),
    "t3a": (X86, 2, 2.2, "nano 2/512 micro 2/1024 small 2/2048 medium 2/4096 large 2/8192 xlarge 4/16384 2xlarge 8/32768"),
    "t4g": (ARM, 1, 2.5, "nano 2/512 micro 2/1024 small 2/2048 medium 2/4096 large 2/8192 xlarge 4/16384 2xlarge 8/32768"),
    "m4": (X86, 2, 2.3, "large 2/8192 xlarge 4/16384 2xlarge 8/32768 4xlarge 16/65536 10xlarge 40/163840 16xlarge 64/262144"),
    "m5": (X86, 2, 3.1, "large 2/8192 xlarge 4/16384 2xlarge 8/32768 4xlarge 16/65536 8xlarge 32/131072 12xlarge 48/196608 16xlarge 64/262144 24xlarge 96/393216"),
    "m5a": (X86, 2, 2.5, "large 2/8192 xlarge 4/16384 2xlarge 8/32768 4xlarge 16/65536 8xlarge 32/131072 12xlarge 48/196608 16xlarge 64/262144 24xlarge 96/393216"),
    "m6i": (X86, 2, 3.5, "large 2/8192 xlarge 4/16384 2xlarge 8/32768 4xlarge 16/65536 8xlarge 32/131072 12xlarge 48/196608 16xlarge 64/262144 24xlarge 96/393216 32xlarge 128/524288"),
    "m6a": (X86, 2, 3.6, "large 2/8192 xlarge 4/16384 2xlarge 8/32768 4xlarge 16/65536 8xlarge 32/131072 12xlarge 48/196608 16xlarge 64/262144 24xlarge 96/393216 32xlarge 128/524288 48xlarge 192/786432"),
    "m6g": (ARM, 1, 2.5, "medium 1/4096 large 2/8192 xlarge 4/16384 2xlarge 8/32768 4xlarge 16/65536 8xlarge 32/131072 12xlarge 48/196608 16xlarge 64/262144"),
    "m7i": (X86, 2, 3.2, "large 2/8192 xlarge 4/16384 2xlarge 8/32768 4xlarge 16/65536 8xlarge 32/131072 12xlarge 48/196608 16xlarge 64/262144 24xlarge 96/393216 48xlarge 192/786432"),
    "m7a": (X86, 1, 3.7, "medium 1/4096 large 2/8192 xlarge 4/16384 2xlarge 8/32768 4xlarge 16/65536 8xlarge 32/131072 12xlarge 48/196608 16xlarge 64/262144 24xlarge 96/393216 32xlarge 128/524288 48xlarge 192/786432"),
    "m7g": (ARM, 1, 2.6, "medium 1/4096 large 2/8192 xlarge 4/16384 2xlarge 8/32768 4xlarge 16/65536 8xlarge 32/131072 12xlarge 48/196608 16xlarge 64/262144"),
    "c4": (X86, 2, 2.9, "large 2/3840 xlarge 4/7680 2xlarge 8/15360 4xlarge 16/30720 8xlarge 36/61440"),
    "c5": (X86, 2, 3.4, "large 2/4096 xlarge 4/8192 2xlarge 8/16384 4xlarge 16/32768 9xlarge 36/73728 12xlarge 48/98304 18xlarge 72/147456 24xlarge 96/196608"),
    "c5a": (X86, 2, 3.3, "large 2/4096 xlarge 4/8192 2xlarge 8/16384 4xlarge 16/32768 8xlarge 32/65536 12xlarge 48/98304 16xlarge 64/131072 24xlarge 96/196608"),
    "c6i": (X86, 2, 3.5, "large 2/4096 xlarge 4/8192 2xlarge 8/16384 4xlarge 16/32768 8xlarge 32/65536 12xlarge 48/98304 16xlarge 64/131072 24xlarge 96/196608 32xlarge 128/262144"),
    "c6a": (X86, 2, 3.6, "large 2/4096 xlarge 4/8192 2xlarge 8/16384 4xlarge 16/32768 8xlarge 32/65536 12xlarge 48/98304 16xlarge 64/131072 24xlarge 96/196608 32xlarge 128/262144 48xlarge 192/393216"),
    "c6g": (ARM, 1, 2.5, "medium 1/2048 large 2/4096 xlarge 4/8192 2xlarge 8/16384 4xlarge 16/32768 8xlarge 32/65536 12xlarge 48/98304 16xlarge 64/131072"),
    "c7i": (X86, 2, 3.2, "large 2/4096 xlarge 4/8192 2xlarge 8/16384 4xlarge 16/32768 8xlarge 32/65536 12xlarge 48/98304 16xlarge 64/131072 24xlarge 96/196608 48xlarge 192/393216"),
    "c7a": (X86, 1, 3.7, "medium 1/2048 large 2/4096 xlarge 4/8192 2xlarge 8/16384 4xlarge 16/32768 8xlarge 32/65536 12xlarge 48/98304 16xlarge 64/131072 24xlarge 96/196608 32xlarge 128/262144 48xlarge 192/393216"),
    "c7g": (ARM, 1, 2.6, "medium 1/2048 large 2/4096 xlarge 4/8192 2xlarge 8/16384 4xlarge 16/32768 8xlarge 32/65536 12xlarge 48/98304 16xlarge 64/131072"),
    "r4": (X86, 2, 2.3, "large 2/15616 xlarge 4/31232 2xlarge 8/62464 4xlarge 16/124928 8xlarge 32/249856 16xlarge 64/499712"),
    "r5": (X86, 2, 3.1, "large 2/16384 xlarge 4/32768 2xlarge 8/65536 4xlarge 16/131072 8xlarge 32/262144 12xlarge 48/393216 16xlarge 64/524288 24xlarge 96/786432"),
    "r5a": (X86, 2, 2.5, "large 2/16384 xlarge 4/32768 2xlarge 8/65536 4xlarge 16/131072 8xlarge 32/262144 12xlarge 48/393216 16xlarge 64/524288 24xlarge 96/786432"),
    "r6i": (X86, 2, 3.5, "large 2/16384 xlarge 4/32768 2xlarge 8/65536 4xlarge 16/131072 8xlarge 32/262144 12xlarge 48/393216 16xlarge 64/524288 24xlarge 96/786432 32xlarge 128/1048576"),
    "r6g": (ARM, 1, 2.5, "medium 1/8192 large 2/16384 xlarge 4/32768 2xlarge 8/65536 4xlarge 16/131072 8xlarge 32/262144 12xlarge 48/393216 16xlarge 64/524288"),
    "r7i": (X86, 2, 3.2, "large 2/16384 xlarge 4/32768 2xlarge 8/65536 4xlarge 16/131072 8xlarge 32/262144 12xlarge 48/393216 16xlarge 64/524288 24xlarge 96/786432 48xlarge 192/1572864"),
    "r7g": (ARM, 1, 2.6, "medium 1/8192 large 2/16384 xlarge 4/32768 2xlarge 8/65536 4xlarge 16/131072 8xlarge 32/262144 12xlarge 48/393216 16xlarge 64/524288"),
}  # fmt: skip

_XEN = frozenset({"m4", "c4", "r4"})
_INTERFACES = {"nano": 2, "micro": 2, "small": 3, "medium": 3, "large": 3, "xlarge": 4, "2xlarge": 4, "4xlarge": 8}


def _read(family: str, architecture: str, threads: int, clock: float, sizes: str) -> list[InstanceType]:
    words = sizes.split()
    found = []
    for size, amounts in zip(words[::2], words[1::2], strict=True):
        vcpus, memory_mib = (int(part) for part in amounts.split("/"))
        found.append(
            InstanceType(
                name=f"{family}.{size}",
                vcpus=vcpus,
                memory_mib=memory_mib,
                architecture=architecture,
                family=family,
                threads_per_core=threads if vcpus > 1 else 1,
                clock_ghz=clock,
                current=family not in _XEN,
                burstable=family.startswith("t"),
                hypervisor="xen" if family in _XEN else "nitro",
                interfaces=_INTERFACES.get(size, 8 if vcpus < 64 else 15),
            )
        )
    return found


# name -> type, by family and then size, smallest first.
INSTANCE_TYPES: dict[str, InstanceType] = {
    each.name: each for family, row in _FAMILIES.items() for each in _read(family, *row)
}
