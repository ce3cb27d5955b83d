"""What the user may choose in a session: modes and config options, as ACP says them. Pure.

The hub's own come first: which agent, and how freely it may act. What the agent itself offers follows once
its executor has reported it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.sessions.choices import ANY_AGENT, EVERYBODY, AgentChoice
from core.sessions.session import Session

AGENT: Final = "agent"
MODE: Final = "mode"
_OWN: Final = frozenset({AGENT, MODE})

_MODES: Final = (
    ("plan", "Plan", "The agent looks and plans; it changes nothing."),
    ("ask", "Ask", "The agent asks before it changes anything."),
    ("auto", "Auto", "The agent goes ahead within its policy."),
)


def modes(session: Session) -> dict[str, Any]:
    """`modes` of a session."""
    return {
        "currentModeId": session.autonomy,
        "availableModes": [{"id": id, "name": name, "description": said} for id, name, said in _MODES],
    }


def is_mode(mode_id: Any) -> bool:
    """Whether it is one of the hub's modes."""
    return any(id == mode_id for id, _, _ in _MODES)


def config_options(
    session: Session, agents: Sequence[AgentChoice], *, booleans: bool = False
) -> list[dict[str, Any]]:
    """`configOptions` of a session, all of them. `booleans`: the client can show a switch."""
    return [_agent(session, agents), _mode(session), *_of_executor(session, booleans)]


def _agent(session: Session, agents: Sequence[AgentChoice]) -> dict[str, Any]:
    chosen = session.config.get(AGENT, ANY_AGENT)
    offered = [
        {"value": ANY_AGENT, "name": "Any agent that takes sessions"},
        {"value": EVERYBODY, "name": "Whoever is free"},
        *({"value": agent.id, "name": agent.name} for agent in agents),
    ]
    if all(option["value"] != chosen for option in offered):
        offered.append({"value": chosen, "name": "An agent that is away"})
    return {
        "id": AGENT,
        "name": "Agent",
        "description": "Who does the turns of this session.",
        "category": "_hub_agent",
        "type": "select",
        "currentValue": chosen,
        "options": offered,
    }


def _mode(session: Session) -> dict[str, Any]:
    return {
        "id": MODE,
        "name": "Mode",
        "description": "How freely the agent may act.",
        "category": "mode",
        "type": "select",
        "currentValue": session.autonomy,
        "options": [{"value": id, "name": name, "description": said} for id, name, said in _MODES],
    }


def _of_executor(session: Session, booleans: bool) -> list[dict[str, Any]]:
    found = []
    for option in session.executor.get("config_options", ()):
        if not isinstance(option, Mapping) or option.get("id") in _OWN or option.get("category") == "mode":
            continue
        if option.get("type") == "boolean" and not booleans:
            continue
        chosen = session.config.get(str(option.get("id")), option.get("currentValue"))
        found.append({**option, "currentValue": chosen})
    return found
