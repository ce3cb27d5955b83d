"""The card as clients of A2A 0.3 read it."""

from typing import Any

import httpx
from a2a.client.card_resolver import parse_agent_card
from a2a.compat.v0_3 import types as old

from adapters.a2a.v03.card import with_legacy
from tests.adapters.a2a.support import PUBLIC


async def test_the_card_is_one_of_0_3_too(http: httpx.AsyncClient) -> None:
    told = (await http.get("/.well-known/agent-card.json")).json()
    card = old.AgentCard.model_validate(told)
    assert (card.protocol_version, card.url, card.preferred_transport) == (
        "0.3.0",
        f"{PUBLIC}/a2a",
        "JSONRPC",
    )
    assert [(i.url, i.transport) for i in card.additional_interfaces or ()] == [
        (f"{PUBLIC}/a2a", "JSONRPC"),
        (f"{PUBLIC}/a2a", "HTTP+JSON"),
    ]
    assert card.security == [{"bearer": ["agent"]}]
    assert card.security_schemes is not None
    assert card.security_schemes["bearer"].root.type == "http"


async def test_what_1_0_has_is_as_it_was(http: httpx.AsyncClient) -> None:
    told = (await http.get("/.well-known/agent-card.json")).json()
    parsed = parse_agent_card(told)
    assert [i.protocol_version for i in parsed.supported_interfaces] == ["1.0", "1.0", "0.3", "0.3"]
    assert parsed.security_schemes["bearer"].http_auth_security_scheme.scheme == "Bearer"


def card(**more: Any) -> dict[str, Any]:
    """A card in the words of 1.0."""
    interface = {"url": "https://x/a2a", "protocolBinding": "JSONRPC", "protocolVersion": "0.3"}
    plain = {
        "name": "n",
        "description": "d",
        "version": "1",
        "supportedInterfaces": [interface],
        "capabilities": {},
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [],
    }
    return {**plain, **more}


def test_every_security_scheme_has_its_type() -> None:
    flows = {"clientCredentials": {"tokenUrl": "https://x/token", "scopes": {"a": "A"}}}
    told = with_legacy(
        card(
            securitySchemes={
                "key": {"apiKeySecurityScheme": {"location": "header", "name": "X-Key"}},
                "oauth": {"oauth2SecurityScheme": {"flows": flows}},
                "oidc": {"openIdConnectSecurityScheme": {"openIdConnectUrl": "https://x/.well-known"}},
                "mtls": {"mtlsSecurityScheme": {}},
            },
            capabilities={"extendedAgentCard": True},
        )
    )
    read = old.AgentCard.model_validate(told)
    schemes = read.security_schemes or {}
    assert {n: s.root.type for n, s in schemes.items()} == {
        "key": "apiKey",
        "oauth": "oauth2",
        "oidc": "openIdConnect",
        "mtls": "mutualTLS",
    }
    assert isinstance(schemes["key"].root, old.APIKeySecurityScheme)
    assert (schemes["key"].root.in_.value, schemes["key"].root.name) == ("header", "X-Key")
    assert read.supports_authenticated_extended_card


def test_a_card_without_an_interface_of_0_3_stays_as_it_is() -> None:
    plain = card(supportedInterfaces=[{"url": "u", "protocolBinding": "GRPC", "protocolVersion": "1.0"}])
    assert with_legacy(plain) == plain
