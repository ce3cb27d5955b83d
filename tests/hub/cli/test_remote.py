"""The commands that ask a running hub, as somebody types them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.cli.conftest import Shell

ADMIN_KEY = "an-admin-key-for-the-command-line"
pytestmark = pytest.mark.timeout(180)
PLAYBOOK = {
    "parameters": [{"slug": "who", "title": "Who", "required": True}],
    "stages": [{"name": "greet", "tasks": [{"name": "greet", "input": "{{ parameters.who }}"}]}],
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a hub is, in a process of its own."""
    directory = tmp_path_factory.mktemp("hub")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}
    environ |= {"CROSSDOCK_ADMIN_API_KEY": ADMIN_KEY, "PYTHONSAFEPATH": "1"}
    serve = [sys.executable, "-m", "hub", "serve", "--port", "0", "--json"]
    with subprocess.Popen(serve, cwd=directory, env=environ, stdout=subprocess.PIPE, text=True) as hub:
        try:
            assert hub.stdout is not None
            yield json.loads(hub.stdout.readline())["url"]
        finally:
            hub.terminate()


@pytest.fixture
def crossdock(crossdock: Shell, url: str, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The command, on that hub."""
    monkeypatch.setenv("CROSSDOCK_URL", url)
    monkeypatch.setenv("CROSSDOCK_API_KEY", ADMIN_KEY)
    return crossdock


def test_a_task_is_made_found_by_the_end_of_its_id_and_cancelled(crossdock: Shell) -> None:
    made = crossdock("tasks", "create", "shout", "--input", "text=hi", "--tag", "loud", "--json").json
    assert (made["state"], made["input"], made["required_tags"]) == ("ready", {"text": "hi"}, ["loud"])
    end = made["id"][-12:]
    assert crossdock("tasks", "show", end, "--json").json["id"] == made["id"]
    assert made["id"] in crossdock("tasks", "list", "--quiet").out.splitlines()
    assert crossdock("tasks", "cancel", end, "--quiet").out == "cancelled\n"
    watched = crossdock("tasks", "watch", end)
    assert watched.code == 1
    assert "ready → cancelled" in watched.out


def test_a_workflow_is_run_shown_held_and_stopped(crossdock: Shell, tmp_path: Path) -> None:
    file = tmp_path / "Greet All.json"
    file.write_text(json.dumps(PLAYBOOK))
    missing = crossdock("workflows", "run", str(file))
    assert missing.code == 1
    assert "parameters.who: is required" in missing.err
    made = crossdock("workflows", "run", str(file), "--param", "who=Ada", "--json").json
    again = crossdock("workflows", "run", str(file), "--param", "who=Bo", "--json").json
    assert made["playbook_id"] == again["playbook_id"]
    end = made["id"][-12:]
    assert crossdock("workflows", "board", end).out.split("\t")[:3] == ["greet", "Active", "running"]
    assert crossdock("workflows", "pause", end, "--quiet").out == "paused\n"
    assert crossdock("workflows", "resume", end, "--quiet").out == "active\n"
    assert crossdock("workflows", "cancel", end, "--quiet").out == "cancelled\n"
    watched = crossdock("workflows", "watch", end, "--json")
    assert watched.code == 1
    kinds = [json.loads(line)["type"] for line in watched.out.splitlines()]
    assert (kinds[0], kinds[-1]) == ("workflow.created", "workflow.state_changed")
    assert made["id"] in crossdock("workflows", "list", "--state", "cancelled", "--quiet").out
    assert "output" not in crossdock("workflows", "show", end).out


def test_what_is_asked_is_decided(crossdock: Shell, tmp_path: Path) -> None:
    asking = {"stages": [{"name": "s", "tasks": [{"name": "t", "requires_approval": True}]}]}
    file = tmp_path / "asking.json"
    file.write_text(json.dumps(asking))
    crossdock("workflows", "run", str(file))
    (waiting,) = crossdock("approvals", "list", "--json").json
    assert (waiting["kind"], waiting["title"]) == ("start", "start: t")
    end = waiting["id"][-12:]
    assert "start: t" in crossdock("approvals", "show", end).out
    assert crossdock("approvals", "reject", end).code == 2
    assert crossdock("approvals", "approve", end, "--quiet").out == "approved\n"
    assert "Nothing waits for you." in crossdock("approvals", "list").err


def test_the_log_and_the_agents_are_listed(crossdock: Shell) -> None:
    crossdock("tasks", "create", "a", "--quiet")
    assert crossdock("events", "list", "--limit", "5", "--type", "task.created", "--json").json
    assert "There are no agents" in crossdock("agents", "list").err


def test_what_goes_wrong_has_its_own_exit_code(crossdock: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert crossdock("tasks", "show", "zzzz").code == 1
    assert crossdock("tasks", "list", "--url", "http://127.0.0.1:9").code == 6
    monkeypatch.setenv("CROSSDOCK_API_KEY", "xd_admin_nobody")
    refused = crossdock("tasks", "list", "--json")
    assert refused.code == 4
    assert json.loads(refused.err)["error"]["code"] == "UNAUTHORIZED"
