"""What a client may choose from now: the one part of a session's options that must be asked for."""

from datetime import timedelta
from typing import Any, Final

from adapters.acp import options
from adapters.acp.capabilities import ClientCapabilities
from core.caller import Caller
from core.platform import Platform
from core.sessions.choices import agent_choices
from core.sessions.session import Session

AWAY: Final = timedelta(hours=1)
"""Agents that were not heard of for so long are not offered."""


async def config_options(
    platform: Platform, caller: Caller, session: Session, client: ClientCapabilities
) -> list[dict[str, Any]]:
    """`configOptions` of a session for this client, all of them."""
    agents = await platform.read(caller, agent_choices, platform.now() - AWAY)
    return options.config_options(session, agents, booleans=client.boolean_options)
