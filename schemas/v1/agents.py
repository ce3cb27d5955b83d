"""Agents: who does the work."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from schemas.v1.fields import Body, Id, Instant, Name, Object, Query, Replayable, Short, Tags, answer
from schemas.vocabulary import AgentProtocol, AgentStatus, ExecutionMode

Transport = Literal["stdio", "http", "websocket"]
SessionMode = Literal["run", "session"]


class Tools(Body):
    """What an agent needs and what it can use."""

    required: Tags = []
    optional: Tags = []


class AcpProfile(Body):
    """How an agent speaks the Agent Client Protocol."""

    transports: Annotated[list[Transport], Field(max_length=3)] = []
    session_modes: Annotated[list[SessionMode], Field(max_length=2)] = []
    capabilities: Object = {}


class AgentRegister(Replayable):
    """A new agent. Its registrar's key must be a worker's or an operator's."""

    name: Name
    protocol: Annotated[AgentProtocol, Field(strict=False)] = AgentProtocol.REST
    routing_tags: Tags = []
    """What it offers; tasks ask for tags."""
    only_tags: Tags = []
    """It is there only for tasks that ask for all of these; it offers them, too."""
    execution_mode: Annotated[ExecutionMode, Field(strict=False)] = ExecutionMode.SPECIALIST
    playbook_id: Id | None = None
    issue_api_key: bool = True
    """Answer with a key of its own, this once."""
    tools: Tools = Tools()
    worker_id: Id | None = None
    heartbeat_interval_seconds: Annotated[int, Field(ge=5, le=3600)] = 60
    max_concurrent: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many tasks it may hold at a time."""
    metadata: Object = {}
    acp: AcpProfile | None = None
    profile: Short | None = None


class AgentQuery(Query):
    """Which agents to list, newest first."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20


@answer
class ToolsOut(TypedDict):
    """What an agent needs and what it can use."""

    required: list[str]
    optional: list[str]


@answer
class Agent(TypedDict):
    """An agent."""

    id: Id
    tenant_id: Id
    name: str
    protocol: AgentProtocol
    execution_mode: ExecutionMode
    routing_tags: list[str]
    tools: ToolsOut
    worker_id: Id | None
    status: AgentStatus
    max_concurrent: int
    active_tasks: int
    """Leases that it holds now."""
    heartbeat_interval_seconds: int
    last_heartbeat_at: Instant
    last_claim_at: Instant | None
    metadata: dict[str, Any]
    created_at: Instant
    updated_at: Instant


@answer
class Registered(Agent):
    """A new agent, with its key if one was asked for."""

    api_key: str | None
    """Shown this once: null where none was asked for, and when the registration is a replay."""


class HeartbeatRequest(Replayable):
    """Nothing needs to be said."""


@answer
class Heartbeat(TypedDict):
    """The hub has heard it."""

    ack: bool
    status: AgentStatus
