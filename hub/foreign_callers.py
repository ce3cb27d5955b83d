"""Callers of `/mcp` that bring a token of an authorization server which the operator trusts.

A token is good at the resource that it is for: at `/mcp` and everything below, or at one server alone. It
stands for a principal of its own, named by issuer and subject, with the least scope: what it may use is what
was granted to that principal.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from adapters.mcp.oauth.issuers import ForeignClaims, ForeignTokenRefused, Issuers
from core.bootstrap import DEFAULT_TENANT
from core.caller import SYSTEM, Caller
from core.errors import Forbidden
from core.platform import Platform
from core.principals import OwnerType, ensure_principal
from core.store.tx import Tx
from schemas.vocabulary import Scope

MCP: Final = "/mcp"


@dataclass(frozen=True)
class Foreigner:
    """Who a token stands for."""

    owner_id: str
    name: str


async def admit(tx: Tx, command: Foreigner) -> UUID:
    """The principal of a foreigner; the same one, the same principal."""
    tenant = tx.caller.tenant_id
    return await ensure_principal(tx, tenant, OwnerType.USER, command.owner_id, command.name)


class ForeignCallers:
    """Tells who brings a foreign token, and whether it is good where it is brought."""

    def __init__(self, platform: Platform, issuers: Issuers, public_url: str, scope: str) -> None:
        self._platform = platform
        self._issuers = issuers
        self._public_url = public_url
        self._scope = scope

    def brings(self, text: str) -> bool:
        """Whether a token says that it is of a trusted issuer."""
        return self._issuers.issued(text)

    async def prove(self, text: str) -> tuple[Caller, ForeignClaims]:
        """Who brings it.

        Raises:
            ForeignTokenRefused: it is not good.
            Forbidden: it lacks the scope.
            Unavailable: the issuer's keys cannot be had.
        """
        claims = await self._issuers.claims(text)
        if self._scope not in claims.scopes:
            raise Forbidden(
                f"this token lacks the scope {self._scope}", details={"reason_code": "insufficient_scope"}
            )
        owner = owner_of(claims.issuer, claims.subject)
        hub = SYSTEM(DEFAULT_TENANT)
        principal = await self._platform.write(hub, admit, Foreigner(owner, claims.name))
        return Caller(principal, DEFAULT_TENANT, Scope.AGENT, OwnerType.USER.value, owner), claims

    def fits(self, audiences: Sequence[str], path: str) -> bool:
        """Whether a token for these audiences is good at a path (RFC 8707 §2)."""
        if path != MCP and not path.startswith(MCP + "/"):
            return False
        return not {self._public_url + MCP, self._public_url + path}.isdisjoint(audiences)


def owner_of(issuer: str, subject: str) -> str:
    """What the principal of a foreigner is called."""
    text = f"{issuer}#{subject}"
    return text if len(text) <= 255 else f"foreign:{hashlib.sha256(text.encode()).hexdigest()}"


__all__ = ["ForeignCallers", "ForeignTokenRefused", "owner_of"]
