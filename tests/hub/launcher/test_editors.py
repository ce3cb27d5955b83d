"""What the page for editors shows is JSON that names a command that is there."""

import json
import re
import tomllib
from pathlib import Path

from hub.cli.main import COMMANDS

ROOT = Path(__file__).parents[3]
EDITORS = ROOT / "examples" / "editors"


def test_every_editor_starts_the_command_that_exists() -> None:
    assert "acp" in COMMANDS
    page = (EDITORS / "README.md").read_text()
    blocks = re.findall(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 2
    for block in blocks:
        (server,) = json.loads(block)["agent_servers"].values()
        assert (Path(server["command"]).name, server["args"]) == ("crossdock", ["acp"])


def test_the_entry_for_the_registry_is_of_this_version() -> None:
    (path,) = EDITORS.glob("registry/*/agent.json")
    entry = json.loads(path.read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (
        (entry["id"], entry["version"])
        == (project["name"], project["version"])
        == (path.parent.name, "0.1.0")
    )
    assert (entry["name"], entry["license"]) == ("Crossdock", project["license"])
    assert {"description", "distribution"} <= set(entry)
