"""What `crossdock connect` prints and writes."""

import json
import stat
from pathlib import Path

import pytest

from hub.cli import connect, probe
from tests.hub.cli.conftest import Shell

KEY = "a-key-that-somebody-has"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and a hub that is there."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setattr(probe, "ask", lambda url: probe.Answer(url, 200, {}))
    return home


@pytest.mark.parametrize("client", connect.CLIENTS)
def test_every_client_is_told_where_the_hub_is_and_what_to_say(crossdock: Shell, client: str) -> None:
    ran = crossdock("connect", client, "--key", KEY, "--json")
    assert ran.code == 0
    assert ran.json["api_key"] == KEY
    assert "http://127.0.0.1:9" in json.dumps(ran.json)
    assert KEY in crossdock("connect", client, "--key", KEY).out


def test_a_key_of_the_least_scope_is_made_beside_the_database(crossdock: Shell) -> None:
    made = crossdock("keys", "create", "--scope", "admin", "--quiet")
    assert made.code == 0
    ran = crossdock("connect", "claude-code", "--json")
    assert ran.code == 0
    assert ran.json["api_key"].startswith("xd_agent_")
    listed = crossdock("keys", "list", "--json").out
    assert "connect claude-code" in listed


def test_what_was_in_the_file_stays_and_is_kept_beside_it(crossdock: Shell, home: Path) -> None:
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir(parents=True)
    before = {"mcpServers": {"other": {"url": "https://x.example"}}, "more": [1]}
    file.write_text(json.dumps(before))
    ran = crossdock("connect", "cursor", "--write", "--key", KEY)
    assert ran.code == 0
    assert KEY not in ran.err
    after = json.loads(file.read_text())
    assert after["more"] == [1]
    assert after["mcpServers"]["other"] == {"url": "https://x.example"}
    assert after["mcpServers"]["crossdock"] == {
        "url": "http://127.0.0.1:9/mcp",
        "headers": {"Authorization": f"Bearer {KEY}"},
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.with_name("mcp.json.before-crossdock").read_text()) == before
    assert crossdock("connect", "cursor", "--write", "--key", KEY).code == 0
    assert json.loads(file.read_text()) == after


def test_a_file_that_cannot_be_read_is_left_alone(crossdock: Shell, home: Path) -> None:
    file = home / ".claude.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("// a remark\n{}")
    ran = crossdock("connect", "claude-code", "--write", "--key", KEY)
    assert ran.code == 1
    assert "left alone" in ran.err
    assert file.read_text() == "// a remark\n{}"


def test_hosts_that_start_commands_get_one_with_an_absolute_path(crossdock: Shell) -> None:
    ran = crossdock("connect", "claude-desktop", "--server", "weather", "--key", KEY, "--json")
    entry = ran.json["config"]["mcpServers"]["crossdock-weather"]
    assert Path(entry["command"]).is_absolute()
    assert entry["args"] == ["mcp", "--url", "http://127.0.0.1:9", "--server", "weather"]
    assert entry["env"] == {"CROSSDOCK_API_KEY": KEY}


def test_without_a_hub_or_a_key_it_says_what_to_do(crossdock: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = crossdock("connect", "rest")
    assert (ran.code, "no key" in ran.err) == (4, True)
    monkeypatch.undo()
    monkeypatch.setenv("CROSSDOCK_URL", "http://127.0.0.1:9")
    ran = crossdock("connect", "rest", "--key", KEY)
    assert (ran.code, "crossdock serve" in ran.err) == (6, True)
    assert crossdock("connect", "nobody").code == 2
