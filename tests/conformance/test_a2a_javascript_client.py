"""The official JavaScript client, over both HTTP bindings and in both versions, against a real hub.

It needs `make peers`.

One Node process a binding runs every conversation of `js/a2a.mjs` and reports what it saw.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.hub_process import RunningHub

SCRIPT = Path(__file__).parent / "js" / "a2a.mjs"
SECONDS = 45
pytestmark = pytest.mark.peers


@pytest.fixture(scope="session")
def key(hub: RunningHub) -> str:
    """The key of somebody who submits; one for the run, as minting is rationed."""
    return hub.key_for("javascript")


@pytest.fixture(scope="session", params=["1.0", "0.3"])
def version(request: pytest.FixtureRequest) -> str:
    """The version that the client finds on the card."""
    named: str = request.param
    return named


@pytest.fixture(scope="session", params=["JSONRPC", "HTTP+JSON"])
def binding(request: pytest.FixtureRequest) -> str:
    """The binding that it may use."""
    named: str = request.param
    return named


@pytest.fixture(scope="session")
def report(hub: RunningHub, key: str, binding: str, version: str, peers: Path) -> dict[str, Any]:
    """What the client saw, by conversation."""
    command = ["node", str(SCRIPT), hub.url, key, binding, str(peers), version]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ended.returncode == 0, ended.stderr
    seen: dict[str, Any] = json.loads(ended.stdout)
    return seen


@pytest.mark.requirement("3.2.2-waits", "3.2.2-whole")
def test_a_blocking_send_is_answered_with_the_finished_task(report: dict[str, Any]) -> None:
    assert report["send"] == {"state": "COMPLETED", "artifact": ["hello"], "history": ["echo hello"]}


@pytest.mark.requirement("3.1.1-message")
def test_a_message_answer_is_a_message(report: dict[str, Any]) -> None:
    assert report["message"] == {"message": ["forty-two"], "task": True}


@pytest.mark.requirement("3.1.2-task-first", "3.5.2-order")
def test_a_stream_tells_everything_in_order(report: dict[str, Any], binding: str, version: str) -> None:
    forgets = (binding, version) == ("HTTP+JSON", "0.3")  # this client drops `append` there
    first, *frames = report["stream"]
    assert first[0] == "task"
    assert [frame for frame in frames if frame != ["status", "WORKING"]] == [
        ["status", "WORKING", "step 0"],
        ["status", "WORKING", "step 1"],
        ["artifact", "a", False, False],
        ["artifact", "a", not forgets, True],
        ["status", "COMPLETED"],
    ]


@pytest.mark.requirement("3.2.4-zero")
def test_a_task_is_fetched_without_its_history(report: dict[str, Any], version: str) -> None:
    # In 0.3 a length of zero cannot be told from none.
    assert report["get"] == {"same": True, "history": 0 if version == "1.0" else 1}


@pytest.mark.requirement("3.1.4-cursor", "3.1.4-order", "3.1.4-token")
def test_tasks_are_listed_in_pages(report: dict[str, Any], version: str) -> None:
    if version == "0.3":
        pytest.skip("0.3 has no list")
    assert report["list"] == {"total": 3, "inOrder": True, "last": ""}


@pytest.mark.requirement("3.1.5-cancels", "3.1.5-over")
def test_cancel_happens_once(report: dict[str, Any]) -> None:
    assert report["cancel"] == {"state": "CANCELED", "again": "TaskNotCancelableError"}


@pytest.mark.requirement("3.1.6-task-first", "3.1.6-ends", "3.1.6-over")
def test_a_subscriber_sees_the_task_and_then_its_events(report: dict[str, Any]) -> None:
    seen = report["subscribe"]
    assert seen == {
        "first": "task",
        "last": "INPUT_REQUIRED",
        "done": "COMPLETED",
        "closed": "UnsupportedOperationError",
    }


@pytest.mark.requirement("3.4.3-continues", "11.7-interrupted")
def test_a_question_is_answered_by_a_message_to_the_task(report: dict[str, Any]) -> None:
    assert report["input"] == {
        "asked": "INPUT_REQUIRED",
        "question": ["Which colour?"],
        "same": True,
        "answer": ["you said blue"],
    }
    assert report["streamedInput"] == {
        "asked": ["status", "INPUT_REQUIRED", "Which colour?"],
        "done": ["status", "COMPLETED"],
    }


def test_errors_are_the_official_ones(report: dict[str, Any], version: str) -> None:
    seen = dict(report["errors"])
    unnamed = ("A2AError", "JsonRpcTransportError") if version == "1.0" else ("no error",)
    assert seen.pop("tenant") in unnamed, "the protocol has no error of its own; 0.3 has no tenants"
    assert seen == {
        "missing": "TaskNotFoundError",
        "nonsense": "TaskNotFoundError",
        "final": "UnsupportedOperationError",
        "empty": "RequestMalformedError",
        "type": "ContentTypeNotSupportedError",
        "context": "RequestMalformedError",
    }
