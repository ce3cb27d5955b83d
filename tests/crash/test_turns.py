"""Editors' turns survive the death of any of those who do them."""

import random
import sys
from pathlib import Path

import pytest

from tests.crash.turns import Scene, Victim, scenario

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are counted by /proc")


@pytest.mark.timeout(240)
async def test_turns_end_once_and_whole_whoever_is_killed_in_the_middle(tmp_path: Path) -> None:
    scene = Scene(tmp_path, f"sqlite:///{tmp_path}/hub.db", random.Random(7))
    faults = await scenario(scene, [Victim.BOTH, Victim.AGENT])
    assert not faults, (faults, (tmp_path / "worker.log").read_text())
