"""The official conformance suite (`@modelcontextprotocol/conformance`), in both eras, against a real hub.

These are the scenarios that ask nothing of a server's tools. The others want the suite's own fixture tools,
prompts and resources, which a server that is in use does not have; the checks below that want them, too, are
named one by one.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.hub_process import RunningHub
from tests.conformance.mcp.bearer_proxy import bearer_proxy

MODERN, LEGACY = "2026-07-28", "2025-11-25"
SCENARIOS = [
    (LEGACY, "server-initialize"),
    (LEGACY, "server-session-lifecycle"),
    (LEGACY, "ping"),
    (LEGACY, "tools-list"),
    (LEGACY, "resources-list"),
    (LEGACY, "dns-rebinding-protection"),
    (LEGACY, "server-sse-multiple-streams"),
    (LEGACY, "server-sse-polling"),
    (MODERN, "server-stateless"),
    (MODERN, "tools-list"),
    (MODERN, "resources-list"),
    (MODERN, "caching"),
    (MODERN, "http-header-validation"),
    (MODERN, "sep-2164-resource-not-found"),
    (MODERN, "dns-rebinding-protection"),
    (MODERN, "server-sse-multiple-streams"),
    (MODERN, "input-required-result-unsupported-methods"),
]
WANT_FIXTURES = {
    "sep-2575-server-rejects-undeclared-capability",  # test_missing_capability
    "sep-2575-missing-capability-http-400",  # test_missing_capability
    "sep-2575-http-server-no-independent-requests-on-stream",  # test_streaming_elicitation
    "sep-2575-server-no-log-without-loglevel",  # test_logging_tool
    "sep-2549-prompts-list-caching-hints",  # this server has no prompts, and says so
}


@pytest.fixture(scope="module")
def url(hub: RunningHub) -> Iterator[str]:
    """The hub's own server, by way of a proxy that has a key: the suite has none to send."""
    with bearer_proxy(hub.url, hub.admin_key) as address:
        yield f"{address}/mcp/crossdock"


@pytest.mark.peers
@pytest.mark.parametrize(("version", "scenario"), SCENARIOS)
def test_a_scenario_of_the_official_suite_passes(
    version: str, scenario: str, url: str, node: str, peers: Path, tmp_path: Path
) -> None:
    suite = peers / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    command = [node, str(suite), "server", "--url", url, "--scenario", scenario]
    command += ["--spec-version", version, "--output-dir", str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=55, cwd=tmp_path)
    (results,) = tmp_path.glob("*/checks.json")
    checks = json.loads(results.read_text())
    failed = {check["id"] for check in checks if check["status"] == "FAILURE"}
    assert checks, said.stdout + said.stderr
    assert failed <= WANT_FIXTURES, re.sub(r"\x1b\[\d*m", "", said.stdout)
