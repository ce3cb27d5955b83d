"""Who is calling: the one identity that every command sees, whatever face the call came through."""

from dataclasses import dataclass
from uuid import UUID

from schemas.vocabulary import Scope

SYSTEM_PRINCIPAL = UUID(int=0)
"""The principal of what the hub does by itself."""


_OWN_ONLY = frozenset({"a2a", "acp", "mcp"})


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated principal, and what it said about this one call."""

    principal_id: UUID
    tenant_id: UUID
    scope: Scope
    owner_type: str
    owner_id: str | None
    key_id: UUID | None = None
    face: str = "rest"
    """The surface the call came through."""
    replay_key: str | None = None
    """Present when the caller wants a repeat to be recognised."""
    trace: str | None = None
    """The W3C trace parent that the call came with."""
    full: bool = False
    """On a face that shows only its caller's own: act with all that the credential allows. MCP's tools do."""
    task_id: UUID | None = None
    """The task whose token was presented: it reaches this task's grants and nothing else."""
    lease_id: UUID | None = None
    """The lease that this token lives as long as."""
    exposure_id: UUID | None = None
    """Through which exposed agent the call came; then only what was sent to that one exists."""

    @property
    def operator(self) -> bool:
        """Whether it may act for anybody in its tenant."""
        return self.scope is Scope.ADMIN or self.scope is Scope.SERVICE

    @property
    def wide(self) -> bool:
        """Whether the face shows more than what the caller's own principal submitted."""
        return self.full or self.face not in _OWN_ONLY


def SYSTEM(tenant_id: UUID) -> Caller:
    """The hub itself, acting in one tenant: an operator without a credential."""
    return Caller(
        principal_id=SYSTEM_PRINCIPAL,
        tenant_id=tenant_id,
        scope=Scope.SERVICE,
        owner_type="system",
        owner_id=None,
        face="system",
    )
