"""OpenCode and Gemini CLI do the turns of an editor's session, with a scripted model behind them.

Everything is real but the model: an editor on a socket, a hub, `crossdock worker --acp`, an agent from npm.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.acp_editor import SocketEditor, editor, told
from tests.conformance.conftest import PEERS
from tests.conformance.model_server import ModelServer
from tests.hub.client.real_hub import ADMIN_KEY, CLEAN, Hub, real_hub

ROOT = Path(__file__).parents[2]
MODULES = PEERS / "node_modules"
OPENCODE = MODULES / "opencode-linux-x64-baseline" / "bin" / "opencode"
GEMINI = MODULES / "@google" / "gemini-cli" / "bundle" / "gemini.js"

pytestmark = [pytest.mark.peers, pytest.mark.timeout(240)]


def _node() -> str:
    brought = MODULES / ".bin" / "node"
    return str(brought) if brought.exists() else shutil.which("node") or "node"


@dataclass(frozen=True)
class RealAgent:
    """One agent from npm: how it is started, and where it finds the model."""

    name: str
    program: Path
    command: str
    remembers: bool = True
    """Gemini CLI 0.61 forgets a session that it loads within the minute in which it began, as here."""

    def variables(self, model: ModelServer) -> dict[str, str]:
        """What tells it of the model."""
        if self.name == "gemini":
            return {
                "GEMINI_API_KEY": "none",
                "GOOGLE_GEMINI_BASE_URL": model.url,
                "GEMINI_MODEL": "gemini-2.5-pro",
            }
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": f"{model.url}/v1", "apiKey": "none"},
            "models": {"scripted": {}},
        }
        config = {
            "provider": {"scripted": provider},
            "model": "scripted/scripted",
            "permission": {"bash": "ask"},
        }
        return {"OPENCODE_CONFIG_CONTENT": json.dumps(config), "OPENCODE_DISABLE_MODELS_FETCH": "1"}


AGENTS = (
    RealAgent("opencode", OPENCODE, f"{OPENCODE} acp"),
    RealAgent("gemini", GEMINI, f"{_node()} {GEMINI} --acp", remembers=False),
)


@dataclass
class Worker:
    """`crossdock worker --acp` with one agent, to be killed and started again."""

    agent: RealAgent
    model: ModelServer
    directory: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def workspace(self) -> str:
        """Where the agent works."""
        return str(self.directory / "work")

    def start(self, hub: Hub) -> None:
        """Start it for a hub."""
        for name in ("work", "home"):
            (self.directory / name).mkdir(exist_ok=True)
        said = {"CROSSDOCK_URL": hub.url, "CROSSDOCK_API_KEY": ADMIN_KEY, "PYTHONPATH": str(ROOT)}
        environ = {**CLEAN, **said, "HOME": str(self.directory / "home"), **self.agent.variables(self.model)}
        for name in [name for name in environ if name.startswith("XDG_")]:
            del environ[name]
        with (self.directory / "worker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "hub", "worker", "--acp", self.agent.command),
                    *("--workspace", self.workspace, "--lease", "10"),
                ],
                env=environ,
                stderr=log,
            )

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(20)


@pytest.fixture(name="agent", params=AGENTS, ids=[agent.name for agent in AGENTS])
def _agent(request: pytest.FixtureRequest) -> RealAgent:
    agent: RealAgent = request.param
    if not agent.program.exists():
        if os.environ.get("CROSSDOCK_REQUIRE_PEERS") == "1" and not any(a.program.exists() for a in AGENTS):
            pytest.fail("no real ACP agent is installed, and CROSSDOCK_REQUIRE_PEERS=1: make peers")
        pytest.skip(f"{agent.name} is not installed, or not for this machine: make peers")
    return agent


@contextmanager
def _working(agent: RealAgent, directory: Path, hub: Hub) -> Iterator[Worker]:
    with ModelServer() as model:
        worker = Worker(agent, model, directory)
        worker.start(hub)
        try:
            yield worker
        finally:
            worker.kill()


async def _new(client: SocketEditor, worker: Worker) -> str:
    opened = await client.call("session/new", {"cwd": worker.workspace, "mcpServers": []})
    session_id: str = opened["sessionId"]
    return session_id


async def _asking(client: SocketEditor, session_id: str, text: str, kind: str) -> tuple[Any, dict[str, Any]]:
    """Do a turn that asks for leave once; its result, and what was asked."""
    asked_before = len(client.asked)
    answer = await client.prompt(session_id, text)
    await client.until(lambda: len(client.asked) > asked_before)
    asked = client.asked[-1]
    await client.choose(asked, kind)
    async with asyncio.timeout(60):
        return await answer, asked["params"]


async def test_an_editors_session_with_a_real_agent(agent: RealAgent, tmp_path: Path) -> None:
    """Text streams; leave is asked and given or refused; a turn stops; a restart of all forgets nothing."""
    async with real_hub(tmp_path) as hub:
        with _working(agent, tmp_path, hub) as worker:
            async with editor(hub.url, ADMIN_KEY) as client:
                session_id = await _new(client, worker)
                assert (await client.turn(session_id, "say one two three"))["stopReason"] == "end_turn"
                chunks = [u for u in client.updates if u["sessionUpdate"] == "agent_message_chunk"]
                assert client.text.split() == ["one", "two", "three"]
                assert len(chunks) > 1

                made = tmp_path / "work" / "made"
                answer, asked = await _asking(client, session_id, f"run touch {made}", "allow_once")
                assert answer["result"]["stopReason"] == "end_turn"
                assert f"touch {made}" in json.dumps(asked["toolCall"])
                assert made.exists()
                assert "The tool said" in client.text

                never = tmp_path / "work" / "never"
                await _asking(client, session_id, f"run touch {never}", "reject_once")
                assert not never.exists()

                stalled = await client.prompt(session_id, "stall")
                await client.until(lambda: client.text.endswith("Well, "))
                await client.notify("session/cancel", {"sessionId": session_id})
                async with asyncio.timeout(60):
                    assert (await stalled)["result"]["stopReason"] == "cancelled"
                live = told(client.updates)

            worker.kill()
            await hub.kill()
            await hub.start()
            worker.start(hub)
            async with editor(hub.url, ADMIN_KEY) as client:
                await client.call(
                    "session/load", {"sessionId": session_id, "cwd": worker.workspace, "mcpServers": []}
                )
                assert told(client.updates) == live
                before = len(client.text)
                assert (await client.turn(session_id, "recall"))["stopReason"] == "end_turn"
                assert ("say one two three" in client.text[before:]) or not agent.remembers
    assert "Traceback" not in (tmp_path / "worker.log").read_text()
