"""A real hub with a scripted worker, once for the run, and the peers that npm brings."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.hub_process import RunningHub, running_hub
from tests.conformance.scripted_worker import ScriptedWorker

PEERS = Path(__file__).parents[2] / ".peers"


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub that serves, with a worker that takes every task."""
    with running_hub(tmp_path_factory.mktemp("hub")) as running, ScriptedWorker(running) as worker:
        yield running
        assert not worker.faults, worker.faults


@pytest.fixture(scope="session")
def peers() -> Path:
    """Where the npm peers are. Without them their tests are skipped, unless they are required."""
    missing = None
    if shutil.which("node") is None:
        missing = "node is not on PATH"
    elif not (PEERS / "node_modules").is_dir():
        missing = "the npm peers are not installed: make peers"
    if missing is not None:
        if os.environ.get("CROSSDOCK_REQUIRE_PEERS") == "1":
            pytest.fail(f"{missing}, and CROSSDOCK_REQUIRE_PEERS=1")
        pytest.skip(missing)
    return PEERS
