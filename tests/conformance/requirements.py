"""A pytest plugin that tells which rows of a manifest the tests of a run name, and where they show them.

It is loaded into a run that collects and does nothing else (`shown_by`). Each protocol has its manifest, and
its own letters for where a row applies: a binding, a transport.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

REPORT: Final = "REQUIREMENTS_REPORT"
"""The environment variable that names the file to write."""
LETTERS: Final = "REQUIREMENTS_LETTERS"
"""The one with the letters, as JSON, by what a test's parameters or its mark say."""
ROOT: Final = Path(__file__).parents[2]


def shown_by(paths: Sequence[str], letters: Mapping[str, str], report: Path) -> set[tuple[str, str]]:
    """Pairs of a row's name and a letter, of all tests there; an empty letter where a test says nowhere."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "tests.conformance.requirements"]
        + [str(ROOT / "tests" / path) for path in paths],
        cwd=ROOT,
        env={**os.environ, REPORT: str(report), LETTERS: json.dumps(letters)},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert report.exists(), run.stdout[-2000:] + run.stderr[-2000:]
    return {(name, letter) for name, letter in json.loads(report.read_text())}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write what was found."""
    letters = json.loads(os.environ[LETTERS])
    found = [
        [name, letter]
        for item in session.items
        for mark in item.iter_markers("requirement")
        for letter in places_of(item, mark, letters)
        for name in mark.args
    ]
    Path(os.environ[REPORT]).write_text(json.dumps(found))


def places_of(item: pytest.Item, mark: pytest.Mark, letters: Mapping[str, str]) -> Sequence[str]:
    """Where a test shows what its mark says."""
    if "on" in mark.kwargs:
        return [letters[mark.kwargs["on"]]]
    chosen = getattr(item, "callspec", None)
    said = [] if chosen is None else [part for value in chosen.params.values() for part in _flat(value)]
    return [letters[value] for value in said if value in letters] or [""]


def _flat(value: object) -> Sequence[str]:
    parts = value if isinstance(value, tuple) else (value,)
    return [part for part in parts if isinstance(part, str)]
