"""A pytest plugin that tells which rows of the manifest the tests of a run name, and over which bindings.

It is loaded into a run that collects and does nothing else (`test_manifest.py`).
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

LETTERS: Final = {"JSONRPC": "J", "HTTP+JSON": "H", "GRPC": "G", "card": "C", "webhook": "W"}
"""Where a row applies, by what a test's parameters or its mark say."""
REPORT: Final = "A2A_REQUIREMENTS_REPORT"
"""The environment variable that names the file to write."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write what was found: pairs of a row's name and a letter; an empty letter where a test says nowhere."""
    found = [
        [name, letter]
        for item in session.items
        for mark in item.iter_markers("requirement")
        for letter in places_of(item, mark)
        for name in mark.args
    ]
    Path(os.environ[REPORT]).write_text(json.dumps(found))


def places_of(item: pytest.Item, mark: pytest.Mark) -> Sequence[str]:
    """Where a test shows what its mark says."""
    if "on" in mark.kwargs:
        return [LETTERS[mark.kwargs["on"]]]
    chosen = getattr(item, "callspec", None)
    said = [] if chosen is None else [part for value in chosen.params.values() for part in _flat(value)]
    return [LETTERS[value] for value in said if value in LETTERS] or [""]


def _flat(value: object) -> Sequence[str]:
    parts = value if isinstance(value, tuple) else (value,)
    return [part for part in parts if isinstance(part, str)]
