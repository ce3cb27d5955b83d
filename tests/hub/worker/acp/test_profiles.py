"""Agents are known by their commands, however they are started."""

import pytest

from hub.cli import worker_acp
from hub.worker.acp import PROFILES, profile_of


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/bin/opencode acp", "opencode"),
        ("npx -y opencode-ai@1.18 acp", "opencode"),
        ("/usr/bin/gemini --acp", "gemini"),
        ("npx @google/gemini-cli@0.61.0 --acp", "gemini"),
        ("node /opt/node_modules/@google/gemini-cli/bundle/gemini.js --acp", "gemini"),
        ("npx @agentclientprotocol/claude-agent-acp", "claude"),
        ("claude-code-acp", "claude"),
        ("npx @qwen-code/qwen-code --acp", "qwen"),
        ("qwen --acp", "qwen"),
        ("npx -y @agentclientprotocol/codex-acp@2.6.0", "codex"),
        ("python agent.py gemini-notes.txt", "generic"),
    ],
)
def test_an_agent_is_known_by_its_command(command: str, name: str) -> None:
    assert profile_of(command.split()).name == name


def test_a_profile_that_is_named_is_taken() -> None:
    assert profile_of(["gemini"], "generic").name == "generic"
    assert profile_of(["./mine"], "gemini").name == "gemini"
    with pytest.raises(KeyError):
        profile_of(["gemini"], "none")


def test_the_command_line_offers_every_profile() -> None:
    assert set(worker_acp.PROFILES) == {*PROFILES, "generic"}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_no_profile_lets_its_agent_decide_by_itself_or_sees_the_hubs_key(profile: object) -> None:
    known = profile_of([], getattr(profile, "name", ""))
    assert not {"yolo", "auto", "agent", "bypassPermissions", "agent-full-access"} & set(known.modes.values())
    assert set(known.modes) <= {"plan", "ask", "auto"}
    assert not [name for name in known.variables if name.startswith("CROSSDOCK_")]
    assert set(known.needs) <= set(known.auth)
