"""The official TypeScript client of ACP, and `acpx` as an editor that knows no hubs, against a real hub.

They need `make peers`. One Node process a transport has every conversation of `js/acp.mjs`, and reports.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.acp_executor import TurnExecutor
from tests.conformance.hub_process import RunningHub, running_hub

SCRIPT = Path(__file__).parent / "js" / "acp.mjs"
ROOT = Path(__file__).parents[2]
SECONDS = 100
pytestmark = [pytest.mark.peers, pytest.mark.timeout(150)]


@pytest.fixture(scope="module")
def acp_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub with somebody who does turns."""
    with running_hub(tmp_path_factory.mktemp("acp")) as hub, TurnExecutor(hub) as executor:
        yield hub
        assert not executor.faults, executor.faults[:3]


def launcher(hub: RunningHub) -> list[str]:
    """The launcher's command."""
    return [sys.executable, "-P", "-m", "hub", "acp", "--url", hub.url]


def environ(key: str, home: Path) -> dict[str, str]:
    """What the launcher finds around it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}
    return {**kept, "PYTHONPATH": str(ROOT), "CROSSDOCK_API_KEY": key, "HOME": str(home)}


@pytest.fixture(scope="module", params=["websocket", "http", "launcher"])
def report(
    acp_hub: RunningHub, request: pytest.FixtureRequest, peers: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the client saw over one transport."""
    key = acp_hub.key_for(f"typescript-{request.param}")
    command = ["node", str(SCRIPT), acp_hub.url, key, request.param, str(peers), *launcher(acp_hub)]
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environ(key, tmp_path_factory.mktemp("home")),
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    seen: dict[str, Any] = json.loads(ended.stdout)
    return seen


def test_it_opens_a_session_and_has_a_turn(report: dict[str, Any]) -> None:
    assert report["initialize"] == {"version": 1, "name": "crossdock"}
    assert report["prompt"] == {"stop": "end_turn", "text": "one two three "}
    assert report["options"] == ["any", "plan"]


def test_it_cancels_a_turn_and_hears_of_one_that_failed(report: dict[str, Any]) -> None:
    assert (report["cancel"], report["failed"]) == ("cancelled", -32603)


def test_its_user_allows_and_rejects(report: dict[str, Any]) -> None:
    assert report["yes"] == {"asked": ["call-1"], "text": "approved it"}
    assert report["no"] == {"asked": ["call-1"], "text": "rejected it"}


def test_it_loads_resumes_forks_lists_closes_and_deletes(report: dict[str, Any]) -> None:
    seen = report["load"]
    assert seen["past"] == "one two three waiting"
    assert seen["user"] == "say one two threewaitbreak it"
    assert (seen["silent"], seen["listed"]) == (True, 2)


def test_errors_are_the_protocols_own(report: dict[str, Any]) -> None:
    assert report["errors"] == {
        "unknown": -32002,
        "relative": -32602,
        "method": -32601,
        "closed": -31409,
        "mode": -32602,
        "authenticate": "{}",
        "logout": "{}",
        "out": -32000,
    }


@pytest.mark.parametrize(
    ("prompt", "option", "said"),
    [
        ("say hello there", "--approve-all", "hello there"),
        ("ask it", "--approve-all", "approved it"),
        ("ask it", "--deny-all", "rejected it"),
    ],
)
def test_a_stock_client_works_through_the_launcher(
    acp_hub: RunningHub, peers: Path, tmp_path: Path, prompt: str, option: str, said: str
) -> None:
    command = ["node", str(peers / "node_modules" / "acpx" / "dist" / "cli.js")]
    command += ["--agent", shlex.join(launcher(acp_hub)), option, "--format", "quiet", "--timeout", "60"]
    key = acp_hub.key_for("acpx")
    ended = subprocess.run(
        [*command, "exec", prompt],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environ(key, tmp_path),
        cwd=tmp_path,
    )
    assert said in ended.stdout, (ended.stdout[-1000:], ended.stderr[-1000:])
