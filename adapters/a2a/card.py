"""The agent card (specification §8): what an agent is called, where it answers and what it can do.

A card is made from what is declared, and served with its validator; it holds nothing secret.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.a2a.agent import A2AConfig, ExposedAgent, Skill
from adapters.a2a.errors import describe
from adapters.a2a.exposed import Exposed
from adapters.a2a.extensions import declared_with, directory_of
from adapters.a2a.signing import CardSigner, key_set_of
from adapters.a2a.v03.card import with_legacy
from adapters.a2a.version import CURRENT, LEGACY
from core.bootstrap import DEFAULT_TENANT
from core.caller import SYSTEM, Caller
from core.platform import Platform
from core.signing_keys import published
from schemas.strict_json import dump_json
from schemas.vocabulary import Scope as AccessScope

WELL_KNOWN: Final = "/.well-known/agent-card.json"
"""Below the address of an agent."""
JSON: Final = "application/json"
LEAST_SCOPE: Final = str(AccessScope.AGENT)
MAX_AGE: Final = 300
"""Seconds for which a client may reuse the card without asking."""


def card_of(agent: ExposedAgent, config: A2AConfig) -> dict[str, Any]:
    """The `AgentCard` of an agent, REQUIRED members first. It has no empty members, which some leave out when
    they check a signature and others do not."""
    return {
        "name": agent.name,
        "description": agent.description,
        "version": config.version,
        "supportedInterfaces": interfaces_of(agent, config),
        "capabilities": {
            "streaming": True,
            "pushNotifications": config.receivers is not None,
            "extendedAgentCard": True,
            "extensions": declared_with(agent.required_extensions),
        },
        "defaultInputModes": list(agent.input_modes),
        "defaultOutputModes": list(agent.output_modes),
        "skills": [skill_told(skill) for skill in agent.skills],
        "securitySchemes": {
            "bearer": {
                "httpAuthSecurityScheme": {
                    "scheme": "Bearer",
                    "description": "An API key of the hub, or an access token that it issued.",
                }
            }
        },
        "securityRequirements": [{"schemes": {"bearer": {"list": [LEAST_SCOPE]}}}],
    }


def skill_told(skill: Skill) -> dict[str, Any]:
    """An `AgentSkill`."""
    return {
        "id": skill.id,
        "name": skill.name,
        "description": skill.description,
        "tags": list(skill.tags),
        **({"examples": list(skill.examples)} if skill.examples else {}),
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


class Cards:
    """The cards of all agents, signed by the keys that their tenants have now."""

    def __init__(self, platform: Platform, config: A2AConfig, exposed: Exposed) -> None:
        self._platform = platform
        self._config = config
        self._exposed = exposed
        self._signer = CardSigner(platform, config.public_url)

    async def of(self, agent: ExposedAgent, scope: Scope) -> Response:
        """The card of an agent for everybody."""
        card, keys = card_of(agent, self._config), await self._signer.keys(agent.tenant_id)
        # Two replicas, and two starts of one, sign differently what is the same: so the validator is of what
        # is signed and by whom, and weak.
        tag = hashlib.sha256(dump_json([card, [key.kid for key in keys]])).hexdigest()[:32]
        changed_at = max([agent.changed_at, *(key.created_at for key in keys)])
        signed = await self._signer.signed(card, agent.tenant_id, keys)
        return _cached(scope, with_legacy(signed), JSON, tag, changed_at)

    async def extended(self, agent: ExposedAgent, caller: Caller) -> dict[str, Any]:
        """The card of an agent for whoever is known (specification §3.1.11). The hub's tells of the agents
        that the caller may address, and of what they can do."""
        card = card_of(agent, self._config)
        if agent.slug is None:
            card = _with_agents(card, await self._exposed.of(caller), self._config.public_url)
        return await self._signer.signed(card, agent.tenant_id, await self._signer.keys(agent.tenant_id))

    async def key_set(self, scope: Scope) -> Response:
        """The public keys that sign cards, of every tenant."""
        keys = await self._platform.read(SYSTEM(DEFAULT_TENANT), published, None)
        told = key_set_of(keys)
        tag = hashlib.sha256(dump_json(told)).hexdigest()[:32]
        changed_at = max((key.created_at for key in keys), default=self._platform.now())
        return _cached(scope, told, "application/jwk-set+json", tag, changed_at)


def _with_agents(card: dict[str, Any], agents: Sequence[ExposedAgent], public_url: str) -> dict[str, Any]:
    if not agents:
        return card
    base = public_url.rstrip("/")
    listed = [
        {
            "slug": str(agent.slug),
            "name": agent.name,
            "description": agent.description,
            "cardUrl": base + agent.path + WELL_KNOWN,
        }
        for agent in agents
    ]
    able = [
        skill_told(replace(skill, id=f"{agent.slug}/{skill.id}", tags=[*skill.tags, f"tenant:{agent.slug}"]))
        for agent in agents
        for skill in agent.skills
    ]
    capabilities = card["capabilities"]
    extensions = [*capabilities["extensions"], directory_of(listed)]
    return {
        **card,
        "capabilities": {**capabilities, "extensions": extensions},
        "skills": [*card["skills"], *able],
    }


@dataclass(frozen=True)
class PublicEndpoint:
    """Serves a document to anybody."""

    answer: Callable[[Scope], Awaitable[Response]]
    """Raises A2AError when there is none."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self.answer(scope)
        except Exception as error:
            told = describe(error)
            response = Response(dump_json(told.status), told.kind.http, told.headers, JSON)
        await response(scope, receive, send)


def _cached(scope: Scope, told: Any, media_type: str, tag: str, changed_at: datetime) -> Response:
    """A document that may be kept for a while; 304 to whoever has it already (RFC 9110 §13.1.2)."""
    headers = {
        "ETag": f'W/"{tag}"',
        "Last-Modified": format_datetime(changed_at, usegmt=True),
        "Cache-Control": f"public, max-age={MAX_AGE}",
    }
    given = dict(scope["headers"]).get(b"if-none-match", b"").decode("latin-1")
    known = [one.strip().removeprefix("W/") for one in given.split(",")]
    if f'"{tag}"' in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(dump_json(told), headers=headers, media_type=media_type)
