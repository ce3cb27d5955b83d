"""The command line in a directory of its own, with no settings but those that a test gives."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.cli.main import run


@dataclass
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as JSON; it must be one line and nothing else."""
        assert self.out.count("\n") == 1
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error envelope on stderr."""
        assert self.out == ""
        return json.loads(self.err)["error"]


class Shell:
    """Runs commands in process, as in a pipe."""

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capture = capture

    def __call__(self, *arguments: str) -> Ran:
        """Run `crossdock` with these arguments."""
        self._capture.readouterr()
        code = run(arguments)
        said = self._capture.readouterr()
        return Ran(code, said.out, said.err)


@pytest.fixture
def crossdock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """The command, in an empty directory."""
    for name in [name for name in os.environ if name.startswith("CROSSDOCK_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CROSSDOCK_URL", "http://127.0.0.1:9")  # nobody listens on "discard"
    return Shell(tmp_path, capsys)
