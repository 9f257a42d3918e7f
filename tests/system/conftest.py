from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from system.chain import Chain, needs_local_machines


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `local` was told to share."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[Chain]:
    """One server with machines of this host for all tests that leave it as they found it."""
    needs_local_machines()
    chain = Chain(
        tmp_path_factory.mktemp("local"),
        *("--vcpus", "16", "--memory-mib", "65536", "--share", str(shared)),
    )
    try:
        yield chain
    except BaseException:
        chain.destroy()
        raise
    assert chain.end() == 0
