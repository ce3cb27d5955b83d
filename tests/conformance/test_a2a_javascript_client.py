"""The official JavaScript client, over both bindings, against a real hub. It needs `make peers`.

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


@pytest.fixture(scope="session", params=["JSONRPC", "HTTP+JSON"])
def report(request: pytest.FixtureRequest, hub: RunningHub, peers: Path) -> dict[str, Any]:
    """What the client saw, by conversation."""
    key = hub.key_for("javascript")
    command = ["node", str(SCRIPT), hub.url, key, request.param, str(peers)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ended.returncode == 0, ended.stderr
    seen: dict[str, Any] = json.loads(ended.stdout)
    return seen


def test_a_blocking_send_is_answered_with_the_finished_task(report: dict[str, Any]) -> None:
    assert report["send"] == {"state": "COMPLETED", "artifact": ["hello"], "history": ["echo hello"]}


def test_a_message_answer_is_a_message(report: dict[str, Any]) -> None:
    assert report["message"] == {"message": ["forty-two"], "task": True}


def test_a_stream_tells_everything_in_order(report: dict[str, Any]) -> None:
    first, *frames = report["stream"]
    assert first[0] == "task"
    assert [frame for frame in frames if frame != ["status", "WORKING"]] == [
        ["status", "WORKING", "step 0"],
        ["status", "WORKING", "step 1"],
        ["artifact", "a", False, False],
        ["artifact", "a", True, True],
        ["status", "COMPLETED"],
    ]


def test_a_task_is_fetched_without_its_history(report: dict[str, Any]) -> None:
    assert report["get"] == {"same": True, "history": 0}


def test_tasks_are_listed_in_pages(report: dict[str, Any]) -> None:
    assert report["list"] == {"total": 3, "inOrder": True, "last": ""}


def test_cancel_happens_once(report: dict[str, Any]) -> None:
    assert report["cancel"] == {"state": "CANCELED", "again": "TaskNotCancelableError"}


def test_a_subscriber_sees_the_task_and_then_its_events(report: dict[str, Any]) -> None:
    seen = report["subscribe"]
    assert seen == {
        "first": "task",
        "last": "INPUT_REQUIRED",
        "done": "COMPLETED",
        "closed": "UnsupportedOperationError",
    }


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


def test_errors_are_the_official_ones(report: dict[str, Any]) -> None:
    seen = dict(report["errors"])
    assert seen.pop("tenant") in ("A2AError", "JsonRpcTransportError"), "the protocol has none of its own"
    assert seen == {
        "missing": "TaskNotFoundError",
        "nonsense": "TaskNotFoundError",
        "final": "UnsupportedOperationError",
        "empty": "RequestMalformedError",
        "type": "ContentTypeNotSupportedError",
        "context": "RequestMalformedError",
    }
