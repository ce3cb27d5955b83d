"""The manifest and the tests name each other: a row without a test fails, and a test without its row."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.a2a.collector import LETTERS, REPORT

HERE = Path(__file__).parent
TESTS = HERE.parents[1]
LOOKED_AT = (
    "conformance/a2a",
    "conformance/test_a2a_python_client.py",
    "conformance/test_same_conversation.py",
    "adapters/a2a/test_push.py",
    "core/jobs/test_delivery.py",
)

pytestmark = pytest.mark.timeout(180)  # another run only collects, but imports everything


@pytest.fixture(scope="module")
def rows() -> dict[str, Any]:
    """The manifest."""
    return tomllib.loads((HERE / "requirements.toml").read_text())


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """What the tests say that they show, whichever of them this run selects."""
    report = tmp_path_factory.mktemp("requirements") / "report.json"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "tests.conformance.a2a.collector"]
        + [str(TESTS / path) for path in LOOKED_AT],
        cwd=TESTS.parent,
        env={**os.environ, REPORT: str(report)},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert report.exists(), run.stdout[-2000:] + run.stderr[-2000:]
    return {(name, letter) for name, letter in json.loads(report.read_text())}


def test_every_row_is_well_formed(rows: dict[str, Any]) -> None:
    assert len(rows) > 150
    for name, (level, places, sentence) in rows.items():
        assert re.fullmatch(r"(\d+(\.\d+)*|A)-[a-z0-9-]+", name), name
        assert level in ("MUST", "SHOULD"), name
        assert places, name
        assert set(places) <= set(LETTERS.values()), name
        assert sentence.endswith("."), name


def test_every_row_has_a_test_for_each_place_where_it_applies(
    rows: dict[str, Any], shown: set[tuple[str, str]]
) -> None:
    wanted = {(name, letter) for name, (_, places, _) in rows.items() for letter in places}
    assert sorted(wanted - shown) == []


def test_every_mark_names_a_row_where_it_applies(rows: dict[str, Any], shown: set[tuple[str, str]]) -> None:
    """A test may show a row over more bindings than the row asks for; never one that is not there."""
    assert sorted({name for name, _ in shown} - set(rows)) == []
    assert sorted(name for name, letter in shown if not letter) == []
