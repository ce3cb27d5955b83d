"""The official suite in front of the gateway: what a server passes alone, it passes through it, in both eras.

`everything.py` stands behind it, once as it is and once as a server of before the modern revision. The suite
is run against that server itself first, and every check that it passes there is wanted from the gateway.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.hub_process import RunningHub
from tests.conformance.mcp.bearer_proxy import bearer_proxy
from tests.conformance.mcp.gateway_hub import everything, granted

MODERN, LEGACY = "2026-07-28", "2025-11-25"
Checks = set[tuple[str, str]]
"""Scenarios and their checks."""


@dataclass(frozen=True)
class Outcome:
    """What the suite says of a server. `left_open`: what a server may do otherwise, as answer without a
    stream."""

    passed: Checks
    left_open: Checks


@dataclass(frozen=True)
class Front:
    """A hub with a server behind it."""

    upstream: str
    through: str


@pytest.fixture(scope="module", params=["dual", "legacy"])
def front(request: pytest.FixtureRequest, gateway: RunningHub) -> Iterator[Front]:
    """A server, registered and granted; the suite has no key to send, so a proxy has."""
    slug: str = request.param
    with ExitStack() as stack:
        upstream = stack.enter_context(everything(*(["--legacy"] if slug == "legacy" else [])))
        key = granted(gateway, slug, upstream)
        proxy = stack.enter_context(bearer_proxy(gateway.url, key))
        yield Front(upstream, f"{proxy}/mcp/{slug}")


@pytest.mark.peers
@pytest.mark.timeout(180)
@pytest.mark.parametrize("revision", [LEGACY, MODERN])
def test_what_a_server_passes_alone_it_passes_through_the_gateway(
    front: Front, revision: str, node: str, peers: Path, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(2) as pool:
        ways = (("alone", front.upstream), ("through", front.through))
        alone, through = pool.map(lambda way: run(node, peers, tmp_path / way[0], way[1], revision), ways)
    lost = alone.passed - through.passed - through.left_open
    assert not lost, (sorted(lost), said(tmp_path / "through"))
    assert len(alone.passed) > 10


def run(node: str, peers: Path, directory: Path, url: str, revision: str) -> Outcome:
    """What the suite says of every check that a revision requires, or lists besides."""
    directory.mkdir()
    suite = peers / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    command = [node, str(suite), "server", "--url", url, "--requirements", revision, "--output-dir", "out"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=150, cwd=directory)
    found: dict[str, Checks] = {"SUCCESS": set(), "INFO": set(), "FAILURE": set()}
    for results in sorted(directory.glob("out/*/checks.json")):
        scenario = re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", results.parent.name)
        for check in json.loads(results.read_text()):
            found.setdefault(check["status"], set()).add((scenario, check["id"]))
    assert found["SUCCESS"], told.stdout + told.stderr
    return Outcome(found["SUCCESS"] - found["FAILURE"], found["INFO"])


def said(directory: Path) -> str:
    """What the suite says of each check that failed."""
    found = []
    for results in sorted(directory.glob("out/*/checks.json")):
        for check in json.loads(results.read_text()):
            if check["status"] == "FAILURE":
                found.append(f"{results.parent.name}: {check['id']}: {check.get('errorMessage')}")
    return "\n".join(found)
