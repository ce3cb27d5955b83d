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
from adapters.a2a.version import CURRENT
from schemas.strict_json import dump_json

WELL_KNOWN: Final = "/.well-known/agent-card.json"
MAX_AGE: Final = 300
"""Seconds for which a client may reuse the card without asking."""


def card_of(agent: ExposedAgent, config: A2AConfig) -> dict[str, Any]:
    """The `AgentCard` of an agent, REQUIRED members first."""
    base = config.public_url.rstrip("/") + agent.path
    return {
        "name": agent.name,
        "description": agent.description,
        "version": config.version,
        "supportedInterfaces": [
            {"url": f"{base}/a2a", "protocolBinding": "JSONRPC", "protocolVersion": CURRENT},
            {"url": f"{base}/a2a/v1", "protocolBinding": "HTTP+JSON", "protocolVersion": CURRENT},
        ],
        "capabilities": {
            "streaming": True,
            "pushNotifications": config.receivers is not None,
            "extendedAgentCard": False,
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
