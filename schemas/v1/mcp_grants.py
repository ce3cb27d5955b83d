"""Grants of MCP tools, the calls that were made with them, and the token of a task."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from schemas.v1.fields import Body, Id, Instant, Name, Query, Replayable, answer
from schemas.vocabulary import CallState, GrantEffect, GrantSubject

Kind = Annotated[GrantSubject, Field(strict=False)]
Effect = Annotated[GrantEffect, Field(strict=False)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=128)]
_Page = Annotated[int, Field(ge=1, le=1_000_000)]
_PerPage = Annotated[int, Field(ge=1, le=100)]


class GrantSubjectIn(Body):
    """To whom."""

    kind: Kind
    id: Id | None = None
    """Of an agent, a task or a principal."""
    name: Name | None = None
    """Of a role; of an agent or a principal (its owner) instead of its id."""


class McpGrantCreate(Replayable):
    """A new grant. The most specific one decides about a call: the task's before the agent's, the principal's
    and the role's; then the one that names the tool most exactly; then deny before approve before allow."""

    subject: GrantSubjectIn
    server: Name
    """Id or slug of the MCP server."""
    tool: Pattern = "*"
    """A pattern of tool names as the server gives them: `*` is any text, `?` one character."""
    effect: Effect = GrantEffect.ALLOW
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None
    """A shorter time than the server is given."""
    calls_per_minute: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """For each caller; without one there is no limit."""
    max_result_bytes: Annotated[int, Field(ge=1, le=10_485_760)] | None = None
    """A smaller result than the hub takes."""


class McpGrantQuery(Query):
    """Which grants to list, newest first."""

    server: Name | None = None
    """Id or slug."""
    subject_kind: GrantSubject | None = None
    subject: Name | None = None
    """The role's name, or the id."""
    page: _Page = 1
    per_page: _PerPage = 20


@answer
class McpGrantSubject(TypedDict):
    """To whom a grant is given."""

    kind: GrantSubject
    id: str | None
    name: str | None


@answer
class McpGrant(TypedDict):
    """Who may call which tools of a server."""

    id: Id
    tenant_id: Id
    subject: McpGrantSubject
    server_id: Id
    server: str
    """The server's slug."""
    tool: str
    effect: GrantEffect
    timeout_seconds: int | None
    calls_per_minute: int | None
    max_result_bytes: int | None
    created_by: Id
    created_at: Instant


class McpCallQuery(Query):
    """Which calls to list, newest first."""

    task_id: Id | None = None
    server_id: Id | None = None
    state: CallState | None = None
    page: _Page = 1
    per_page: _PerPage = 20


class McpCallsOfTaskQuery(Query):
    """A page of a task's calls, newest first."""

    page: _Page = 1
    per_page: _PerPage = 20


@answer
class McpCall(TypedDict):
    """One call of a tool through the gateway."""

    id: Id
    tenant_id: Id
    principal_id: Id
    """Who called."""
    task_id: Id | None
    attempt: int | None
    server_id: Id
    server: str
    tool: str
    arguments: Any
    """Without what looks like a secret."""
    arguments_digest: str
    """SHA-256 of the arguments in canonical form (RFC 8785)."""
    definition_hash: str
    """Of the tool's definition at the time."""
    state: CallState
    approval_id: Id | None
    is_error: bool | None
    """Whether the tool said that it failed."""
    error: Any
    result: Any
    """Of a call that had to wait for leave."""
    requested_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    duration_ms: int | None


class ClaimCredentials(Body):
    """What an executor presents for what its task may use."""

    gateway_claim_handle: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    """Out of `credentials` of the claim."""
    lease_id: Id | None = None


@answer
class GatewayCredentials(TypedDict):
    """How to reach the tools that the task was granted."""

    url: str
    """The MCP endpoint with everything; one server's own is `url/{server}`."""
    token: str
    """The bearer token there, and nowhere else. It dies with the lease."""
    expires_at: Instant
    """When it has to be fetched anew, however long the lease is renewed."""
    lease_expires_at: Instant


@answer
class ClaimedCredentials(TypedDict):
    """What the handles stand for."""

    gateway: GatewayCredentials
