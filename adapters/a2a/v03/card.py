"""What a client of 0.3 looks for on a card, beside what 1.0 has there.

It is added last, to a card that may be signed already: signatures are over the members that 1.0 knows.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from adapters.a2a.version import LEGACY

PROTOCOL: Final = LEGACY + ".0"
_SCHEMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "apiKeySecurityScheme": "apiKey",
        "httpAuthSecurityScheme": "http",
        "oauth2SecurityScheme": "oauth2",
        "openIdConnectSecurityScheme": "openIdConnect",
        "mtlsSecurityScheme": "mutualTLS",
    }
)
"""The `type` by which 0.3 tells security schemes apart."""


def with_legacy(card: Mapping[str, Any]) -> dict[str, Any]:
    """The card with the members of 0.3 beside its own; as it is where no interface speaks 0.3."""
    spoken = [i for i in card["supportedInterfaces"] if i["protocolVersion"] == LEGACY]
    if not spoken:
        return dict(card)
    told = {
        **card,
        "protocolVersion": PROTOCOL,
        "url": spoken[0]["url"],
        "preferredTransport": spoken[0]["protocolBinding"],
        "additionalInterfaces": [{"url": i["url"], "transport": i["protocolBinding"]} for i in spoken],
        "skills": [_with_security(skill) for skill in card["skills"]],
    }
    if card["capabilities"].get("extendedAgentCard"):
        told["supportsAuthenticatedExtendedCard"] = True
    if "securitySchemes" in card:
        told["securitySchemes"] = {name: _scheme(given) for name, given in card["securitySchemes"].items()}
    return _with_security(told)


def _with_security(holder: Mapping[str, Any]) -> dict[str, Any]:
    required: Sequence[Mapping[str, Any]] = holder.get("securityRequirements", ())
    if not required:
        return dict(holder)
    security = [
        {name: list(scopes.get("list", ())) for name, scopes in one.get("schemes", {}).items()}
        for one in required
    ]
    return {**holder, "security": security}


def _scheme(given: Mapping[str, Any]) -> dict[str, Any]:
    told = dict(given)
    for name, kind in _SCHEMES.items():
        if name in given:
            told.update(given[name])
            told["type"] = kind
            if "location" in told:
                told["in"] = told.pop("location")
    return told
