"""Doing a turn of an editor's session: what its executor is told, and what it tells while it works."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from schemas.v1.fields import Body, Id, Object, Replayable, answer

_SessionName = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class UpdatesCreate(Replayable):
    """What the agent said since the last time, in order."""

    lease_id: Id
    updates: Annotated[list[Object], Field(min_length=1, max_length=1000)]
    """The parameters of its `session/update` notifications, word by word: `{update, _meta?, …}`."""


@answer
class UpdatesPosted(TypedDict):
    """Where the updates are in the history."""

    version: int
    """The task's version that they took."""


class TurnLease(Body):
    """Ask what the turn is about."""

    lease_id: Id


@answer
class TurnBrief(TypedDict):
    """The session of a turn, as its executor needs to know it."""

    session_id: str
    cwd: str
    """An absolute path on the machine of the session's owner."""
    additional_directories: list[str]
    autonomy: str
    """`plan`, `ask` or `auto`: how freely the agent may act."""
    config: dict[str, Any]
    """What the owner chose, by option; `agent` is the hub's own."""
    mcp_servers: list[Any]
    """The servers of the owner's client, with their credentials. For this session's agent alone."""
    agent_session_id: str | None
    """The agent's own session of the turn before, when the same agent did it."""
    forked_from: str | None
    """The same of the session that this one was forked from, until it has one of its own."""
    turn: int
    """How many turns came before this one."""


class TurnReport(Body):
    """What the executor knows of its own session with the agent; it replaces what was said before."""

    lease_id: Id
    agent_session_id: _SessionName | None = None
    can_resume: bool = False
    """The agent can take the session up again after a restart: a lost turn may be tried again."""
    config_options: Annotated[list[Object], Field(max_length=100)] = []
    modes: Object | None = None
    commands: Annotated[list[Object], Field(max_length=1000)] = []
    agent_info: Object | None = None
