"""The agent card (specification §8): what an agent is called, where it answers and what it can do.

A card is made from what is declared, and served with its validator; it holds nothing secret.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.a2a.agent import A2AConfig, ExposedAgent
from adapters.a2a.errors import describe
from adapters.a2a.extensions import declared_with
from adapters.a2a.v03.card import with_legacy
from adapters.a2a.version import CURRENT, LEGACY
from schemas.strict_json import dump_json

WELL_KNOWN: Final = "/.well-known/agent-card.json"
"""Below the address of an agent."""
MAX_AGE: Final = 300
"""Seconds for which a client may reuse the card without asking."""


def card_of(agent: ExposedAgent, config: A2AConfig) -> dict[str, Any]:
    """The `AgentCard` of an agent, REQUIRED members first."""
    return {
        "name": agent.name,
        "description": agent.description,
        "version": config.version,
        "supportedInterfaces": interfaces_of(agent, config),
        "capabilities": {
            "streaming": True,
            "pushNotifications": config.receivers is not None,
            "extendedAgentCard": False,
            "extensions": declared_with(agent.required_extensions),
        },
        "defaultInputModes": list(agent.input_modes),
        "defaultOutputModes": list(agent.output_modes),
        "skills": [
            {
                "id": skill.id,
                "name": skill.name,
                "description": skill.description,
                "tags": list(skill.tags),
                **({"examples": list(skill.examples)} if skill.examples else {}),
            }
            for skill in agent.skills
        ],
        "securitySchemes": {
            "bearer": {
                "httpAuthSecurityScheme": {
                    "scheme": "Bearer",
                    "description": "An API key of the hub, or an access token that it issued.",
                }
            }
        },
        "securityRequirements": [{"schemes": {"bearer": {"list": []}}}],
    }


def interfaces_of(agent: ExposedAgent, config: A2AConfig) -> list[dict[str, Any]]:
    """Where an agent is reached and in which version, the preferred way first."""
    base = config.public_url.rstrip("/") + agent.path
    # Clients of 0.3 add /v1 to the address of HTTP+JSON themselves.
    reached = [
        (f"{base}/a2a", "JSONRPC", CURRENT),
        (f"{base}/a2a/v1", "HTTP+JSON", CURRENT),
        (f"{base}/a2a", "JSONRPC", LEGACY),
        (f"{base}/a2a", "HTTP+JSON", LEGACY),
    ]
    told = [{"url": url, "protocolBinding": b, "protocolVersion": v} for url, b, v in reached]
    if config.grpc_address is not None:
        grpc = {"url": config.grpc_address, "protocolBinding": "GRPC"}
        if agent.slug is None:
            told.insert(2, {**grpc, "protocolVersion": CURRENT})
            told.append({**grpc, "protocolVersion": LEGACY})
        else:  # one port for all, where a call names its agent as its tenant; 0.3 has no such member
            told.insert(2, {**grpc, "protocolVersion": CURRENT, "tenant": agent.slug})
    return told


@dataclass(frozen=True)
class CardEndpoint:
    """Serves the card of an agent to anybody, with `ETag`, `Last-Modified` and `Cache-Control`; 304 when it
    is known already."""

    find: Callable[[Scope], Awaitable[ExposedAgent]]
    """The agent that a request asks about. Raises A2AError when there is none."""
    config: A2AConfig

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await (await self._answer(scope))(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        try:
            agent = await self.find(scope)
        except Exception as error:
            told = describe(error)
            return Response(dump_json(told.status), told.kind.http, told.headers, "application/json")
        card = with_legacy(card_of(agent, self.config))
        return cached(scope, dump_json(card), "application/json", changed_at=agent.changed_at)


def cached(scope: Scope, body: bytes, media_type: str, *, changed_at: datetime) -> Response:
    """A public document that may be kept for a while; 304 to whoever has it already."""
    headers = {
        "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        "Last-Modified": format_datetime(changed_at, usegmt=True),
        "Cache-Control": f"public, max-age={MAX_AGE}",
    }
    known = dict(scope["headers"]).get(b"if-none-match", b"").decode("latin-1")
    tags = [tag.strip().removeprefix("W/") for tag in known.split(",")]
    if headers["ETag"] in tags or "*" in tags:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)
