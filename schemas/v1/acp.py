"""The older REST surface for ACP agents: sessions that an executor keeps, and claiming for them."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import StringConstraints
from typing_extensions import TypedDict

from schemas.v1.agents import SessionMode, Transport
from schemas.v1.fields import Body, Id, Instant, Object, Replayable, Tags, answer

_Path = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Status = Literal["initializing", "active", "idle", "closed"]


class SessionKept(Body):
    """How and where the agent works."""

    transport: Transport
    mode: SessionMode
    worker_id: Id | None = None
    workflow_id: Id | None = None
    workspace_path: _Path | None = None
    metadata: Object = {}


class SessionCreate(SessionKept):
    """A session of an agent. In `session` mode the newest open one of the same workflow is used again."""

    agent_id: Id


class SessionBeat(Body):
    """How a session is doing; metadata are merged."""

    status: Status | None = None
    metadata: Object = {}


class ClaimTurn(Replayable):
    """Claim a task, start it, and keep a session for it: all or nothing."""

    agent_id: Id
    session: SessionKept
    worker_id: Id | None = None
    routing_tags: Tags = ["acp"]
    """Offered beside the tags that the agent registered."""
    workflow_id: Id | None = None
    include_context: bool = True


class TurnOutput(Replayable):
    """What the agent brought; it becomes the task's output."""

    session_id: Id | None = None
    agent_id: Id | None = None
    worker_id: Id | None = None
    content: Any = None
    terminal_output: Any = None
    diff: Any = None
    metadata: Object = {}
    result: Any = None


@answer
class KeptSession(TypedDict):
    """A session; members without a value are left out."""

    id: Id
    agent_id: Id
    worker_id: NotRequired[Id]
    workflow_id: NotRequired[Id]
    transport: str
    mode: str
    status: str
    workspace_path: NotRequired[str]
    metadata: dict[str, Any]
    last_heartbeat_at: NotRequired[Instant]
    created_at: Instant
    updated_at: Instant
    reused: NotRequired[bool]


@answer
class TurnTask(TypedDict):
    """A task as an ACP agent needs it."""

    id: Id
    title: str
    prompt: str
    cwd: str | None
    input: Any
    context: Any
    file_references: list[Any]


@answer
class Turn(TypedDict):
    """A started task and its session."""

    session: KeptSession
    task: TurnTask
