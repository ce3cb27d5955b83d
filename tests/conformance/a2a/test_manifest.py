"""The manifest and the tests name each other: a row without a test fails, and a test without its row."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.requirements import shown_by

HERE = Path(__file__).parent
LETTERS = {"JSONRPC": "J", "HTTP+JSON": "H", "GRPC": "G", "card": "C", "webhook": "W"}
"""Where a row applies, by what a test's parameters or its mark say."""
LOOKED_AT = (
    "conformance/a2a",
    "conformance/test_a2a_python_client.py",
    "conformance/test_a2a_javascript_client.py",
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
    return shown_by(LOOKED_AT, LETTERS, tmp_path_factory.mktemp("requirements") / "report.json")


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
