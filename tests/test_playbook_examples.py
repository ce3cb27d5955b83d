"""The playbooks among the examples run from one command, and print what they say they print."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.playbook_reading import read_definition

ROOT = Path(__file__).parent.parent
PLAYBOOKS = ROOT / "examples" / "playbooks"
NAMES = sorted(path.stem for path in PLAYBOOKS.glob("*.json"))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", NAMES)
def test_a_playbook_runs_from_one_command_and_prints_its_board(name: str) -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("CROSSDOCK_")}
    command = [sys.executable, "-m", f"examples.playbooks.{name}"]
    ran = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=170, check=False
    )
    _, _, promised = (PLAYBOOKS / f"{name}.py").read_text().partition("\n# Output:\n")
    assert ran.stdout == re.sub(r"^# ?", "", promised, flags=re.MULTILINE), ran.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_playbook_is_one(name: str) -> None:
    read_definition(json.loads((PLAYBOOKS / f"{name}.json").read_text()))


def test_there_are_three() -> None:
    assert NAMES == ["code_review", "incident", "research"]
