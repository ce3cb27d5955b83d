"""`crossdock acp` as a program: what it loads, what it prints, and how one logs in."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hub.launcher import credentials
from tests.hub.api.hub import ADMIN_KEY

HEAVY = (
    "aiohttp",
    "pydantic",
    "pydantic_core",
    "rich",
    "sqlalchemy",
    "starlette",
    "uvloop",
    "core",
    "adapters",
)


def test_nothing_heavy_is_loaded_before_the_first_byte() -> None:
    program = (
        "import sys, hub.cli.main, hub.cli.acp, hub.launcher.run, hub.launcher.link\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.requirement("stdio-clean", "stdio-ends", on="launcher")
def test_without_a_hub_and_a_key_stdout_has_the_protocol_alone(tmp_path: Path) -> None:
    lines = [
        {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": 1}},
        {"jsonrpc": "2.0", "id": 1, "method": "session/new", "params": {"cwd": "/", "mcpServers": []}},
    ]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "hub", "acp", "--url", "http://127.0.0.1:9"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "XDG_CONFIG_HOME": str(tmp_path), "PATH": "/bin"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process, process.stdin, process.stdout:
        process.stdin.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        process.stdin.flush()
        told = [json.loads(process.stdout.readline()) for _ in lines]
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(20) == 0
    assert told[0]["result"]["protocolVersion"] == 1
    assert told[1]["error"]["code"] == -32000
    assert "log in" in told[1]["error"]["message"]


def test_keys_are_kept_one_for_each_hub_for_this_user_alone(tmp_path: Path) -> None:
    path = credentials.path_of({"XDG_CONFIG_HOME": str(tmp_path)})
    assert (credentials.key_for(path, "http://a"), credentials.last_url(path)) == (None, None)
    credentials.keep(path, "http://a", ADMIN_KEY)
    credentials.keep(path, "http://b/", "another")
    assert credentials.key_for(path, "http://a/") == ADMIN_KEY
    assert (credentials.key_for(path, "http://b"), credentials.last_url(path)) == ("another", "http://b/")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.write_text("[broken")
    assert credentials.key_for(path, "http://a") is None
