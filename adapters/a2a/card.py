"""The agent card (specification §8): what an agent is called, where it answers and what it can do.

A card is made once from what is declared, and served as bytes with their validator; it holds nothing secret.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.a2a.agent import A2AConfig, ExposedAgent
from adapters.a2a.extensions import declared_with
from adapters.a2a.version import CURRENT, LEGACY
from schemas.strict_json import dump_json

WELL_KNOWN: Final = "/.well-known/agent-card.json"
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
    if config.grpc_address is not None and not agent.path:  # a call over gRPC names no agent
        reached.insert(2, (config.grpc_address, "GRPC", CURRENT))
        reached.append((config.grpc_address, "GRPC", LEGACY))
    return [{"url": url, "protocolBinding": b, "protocolVersion": v} for url, b, v in reached]


@dataclass(frozen=True)
class CardEndpoint:
    """Serves one card to anybody, with `ETag`, `Last-Modified` and `Cache-Control`; 304 when it is known
    already."""

    body: bytes
    headers: dict[str, str]

    @classmethod
    def of(cls, card: dict[str, Any]) -> "CardEndpoint":
        """The endpoint of a card."""
        body = dump_json(card)
        return cls(
            body,
            {
                "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
                "Last-Modified": format_datetime(datetime.now(UTC), usegmt=True),
                "Cache-Control": f"public, max-age={MAX_AGE}",
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        known = dict(scope["headers"]).get(b"if-none-match", b"").decode("latin-1")
        tags = [tag.strip().removeprefix("W/") for tag in known.split(",")]
        if self.headers["ETag"] in tags or "*" in tags:
            response = Response(status_code=304, headers=self.headers)
        else:
            response = Response(self.body, headers=self.headers, media_type="application/json")
        await response(scope, receive, send)
