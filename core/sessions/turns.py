"""The turns of a session: each prompt is a task, and runs when the one before it has ended.

The queue is in the database, so that neither the editor nor the hub needs to live until a turn begins. What a
turn said is in the log; here is how it began, how it is stopped and how it ended.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, NotFound, TooMany
from core.fencing import P_TASK
from core.lifecycle import PLAYBOOK
from core.offered_playbooks import offered_playbook
from core.routing import agent_tag
from core.sessions.choices import AGENT_TAG, ANY_AGENT, EVERYBODY, RESUMED
from core.sessions.moves import SessionMove, move_session
from core.sessions.session import P_SESSION, announce, change, find
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.tasks.cancel import CancelTask, cancel
from core.tasks.input import AnswerInput, answer_input
from core.tasks.submit import SubmitTask, submit
from core.tasks.task import Part, Policy, RetryPolicy, Task
from core.transitions import ASKING, FINAL
from core.workflows.arguments import arguments_in
from core.workflows.fronts import Play
from schemas.vocabulary import OnDependencyFailure, SessionStatus, TaskState

QUEUED: Final = 50
"""Turns of a session that are not final."""
TITLE: Final = 120
_COMMAND: Final = re.compile(r"/([a-z0-9-]{1,63})(?=\s|$)(.*)", re.DOTALL)
GRACE_SECONDS: Final = 10
"""How long the executor of a cancelled turn may take to say its last words."""
KEPT_SECONDS: Final = 20
"""How long a turn waits for the agent that did the one before, which knows the session."""


@dataclass(frozen=True)
class PromptSession:
    """What the owner says next.

    `prompt` is what the client sent, word by word; `parts` say the same to whoever reads the task otherwise.
    With `answers` it answers the oldest open question of the running turn, if there is one, and is no turn of
    its own. `client` tells later who need not be told what it said itself.
    """

    session_id: str
    prompt: Sequence[Mapping[str, Any]]
    parts: Sequence[Part]
    text: str
    answers: bool = False
    client: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """The task of a turn. `answered`: what was said went to a turn that had asked for it."""

    task_id: UUID
    answered: bool = False


@dataclass(frozen=True)
class StopTurns:
    """Which turn of a session to cancel; of None all that are not final."""

    session_id: str
    task_id: UUID | None = None


@dataclass(frozen=True)
class OneTurn:
    """A turn by its task."""

    task_id: UUID


@dataclass(frozen=True)
class Turn:
    """How a turn stands. `spoke`: its executor has told something on the way.

    `ended_at` is the position of the event that ended it, once it is final and the log has it.
    """

    task: Task
    spoke: bool
    ended_at: int | None


_c = t.task.c
_FINAL_CODES = [sa.literal_column(str(int(state)), sa.SmallInteger) for state in sorted(FINAL)]
_ASKING_CODES = [sa.literal_column(str(int(state)), sa.SmallInteger) for state in sorted(ASKING)]
OF_SESSION = sa.and_(_c.tenant_id == access.TENANT, _c.context_id == P_SESSION, _c.submitter_id == access.ME)
OPEN = Statement(
    sa.select(_c.id, _c.state)
    .where(OF_SESSION, _c.state.not_in(_FINAL_CODES))
    .order_by(_c.id)
    .limit(sa.literal_column(str(QUEUED + 1)))
)
_ASKS = Statement(
    sa.select(_c.id)
    .where(OF_SESSION, _c.state.in_(_ASKING_CODES))
    .order_by(_c.id)
    .limit(sa.literal_column("1"))
)
_AGENT = Statement(
    sa.select(
        t.agent.c.id, t.agent.c.status, t.agent.c.last_seen_at, t.agent.c.heartbeat_interval_seconds
    ).where(
        access.within_tenant(t.agent), t.agent.c.id == sa.bindparam("p_agent_id", type_=t.agent.c.id.type)
    )
)


async def prompt(tx: Tx, command: PromptSession) -> Asked:
    """Queue a turn, or answer what the running one asks. With a replay key it happens once.

    Raises:
        NotFound: unknown, foreign or deleted session.
        Conflict: the session is closed.
        TooMany: too many turns wait.
    """
    row = await find(tx, command.session_id, lock=True)
    if row.status == SessionStatus.CLOSED:
        raise Conflict("the session is closed; load it first", details={"reason_code": "session_closed"})
    if command.answers:
        asks = await tx.one(_ASKS, p_session=row.session_id)
        if asks is not None:
            said = {} if command.client is None else {"client": command.client}
            await answer_input(tx, AnswerInput(asks.id, parts=command.parts, message_metadata=said))
            return Asked(asks.id, answered=True)
    waiting = await tx.all(OPEN, p_session=row.session_id)
    if len(waiting) >= QUEUED:
        raise TooMany(f"{QUEUED} prompts of this session wait already", details={"limit": QUEUED})
    task = await submit(tx, await _task(tx, row, command, waiting))
    row = await move_session(tx, SessionMove.WORK, row)
    if row.title is None and command.text.strip():
        row = await change(tx, row, "title", _title(command.text))
        announce(tx, row, "acp.session_titled", {"title": row.title})
    return Asked(task.id)


def _title(text: str) -> str:
    first = " ".join(text.split())
    return first if len(first) <= TITLE else first[: TITLE - 1] + "…"


async def _task(tx: Tx, row: Row, command: PromptSession, waiting: Sequence[Row]) -> SubmitTask:
    executor = row.executor
    # An agent that knows the session by heart only would answer another question than was asked.
    attempts = RESUMED if executor.get("can_resume") else 1
    return SubmitTask(
        title=_title(command.text) or "a prompt",
        input={"text": command.text, "prompt": [dict(block) for block in command.prompt]},
        parts=command.parts,
        message_metadata=dict(command.meta),
        type="prompt",
        context_id=row.session_id,
        depends_on=[waiting[-1].id] if waiting else (),
        required_tags=_tags(row),
        preferred_agent_id=await _preferred(tx, row),
        preferred_seconds=KEPT_SECONDS,
        policy=Policy(
            retry=RetryPolicy(max_attempts=attempts), on_dependency_failure=OnDependencyFailure.RUN
        ),
        extras={"acp": {"session_id": row.session_id, "client": command.client}},
        play=await _play(tx, row, command.text),
    )


async def _play(tx: Tx, row: Row, text: str) -> Play | None:
    """Which playbook a command names; None where it is no command, or one of the session's agent."""
    named = _COMMAND.match(text.lstrip())
    if named is None or named[1] in {known.get("name") for known in row.executor.get("commands") or ()}:
        return None
    offered = await offered_playbook(tx, named[1])
    if offered is None:
        return None
    words = named[2].strip()
    definition = offered.definition
    given = arguments_in(definition, [{"text": words}]) if definition.parameters else {"text": words}
    return replace(offered.play, arguments=given)


def _tags(row: Row) -> list[str]:
    choice = row.config.get("agent", ANY_AGENT)
    asked = {ANY_AGENT: [AGENT_TAG], EVERYBODY: []}.get(choice)
    return sorted({*row.required_tags, *([agent_tag(choice)] if asked is None else asked)})


async def _preferred(tx: Tx, row: Row) -> UUID | None:
    """The agent that did the last turn, while it is there: only it can go on where it was."""
    known = row.executor.get("agent_id")
    if known is None or row.config.get("agent", ANY_AGENT) not in (ANY_AGENT, EVERYBODY):
        return None
    agent = await tx.one(_AGENT, p_agent_id=UUID(known))
    if agent is None:
        return None
    silent = timedelta(seconds=2 * agent.heartbeat_interval_seconds)
    return agent.id if agent.last_seen_at + silent > tx.now else None


async def stop_turns(tx: Tx, command: StopTurns) -> int:
    """Cancel turns: those that wait at once, one that runs with grace. Tells how many; none is no error.

    Raises:
        NotFound: unknown, foreign or deleted session.
    """
    row = await find(tx, command.session_id)
    return await stop_open(tx, row.session_id, command.task_id)


async def stop_open(tx: Tx, session_id: str, task_id: UUID | None = None, reason: str | None = None) -> int:
    """As `stop_turns`, for a session that was found. The last turn first, so that none begins meanwhile."""
    stopped = 0
    for open_turn in reversed(await tx.all(OPEN, p_session=session_id)):
        if task_id in (None, open_turn.id):
            await cancel(tx, CancelTask(open_turn.id, reason, grace_seconds=GRACE_SECONDS))
            stopped += 1
    return stopped


_SPOKE = Statement(
    sa.select(t.event.c.pos)
    .where(
        t.event.c.task_id == P_TASK,
        t.event.c.kind.in_([sa.literal_column("'acp.update'"), sa.literal_column("'task.artifact_updated'")]),
    )
    .limit(sa.literal_column("1"))
)
_SAID = Statement(
    sa.select(t.message.c.n)
    .where(t.message.c.task_id == P_TASK, t.message.c.role == sa.literal_column("'agent'"))
    .limit(sa.literal_column("1"))
)
_LAST_MOVE = Statement(
    sa.select(t.event.c.pos, t.event.c.data)
    .where(t.event.c.task_id == P_TASK, t.event.c.kind == sa.literal_column("'task.state_changed'"))
    .order_by(t.event.c.version.desc())
    .limit(sa.literal_column("1"))
)
_TASK = Statement(sa.select(*_c).where(_c.id == P_TASK, access.readable()))


async def look(tx: Tx, query: OneTurn) -> Turn:
    """How a turn stands.

    Raises:
        NotFound: no such turn, or not yours.
    """
    row = await tx.one(_TASK, p_task_id=query.task_id)
    if row is None:
        raise NotFound("no such turn")
    spoke = await tx.one(_SPOKE, p_task_id=row.id) is not None
    if row.type != PLAYBOOK:  # where a workflow stands is not what it has to say
        spoke = spoke or await tx.one(_SAID, p_task_id=row.id) is not None
    ended_at = None
    if TaskState(row.state) in FINAL:
        last = await tx.one(_LAST_MOVE, p_task_id=row.id)
        if last is not None and TaskState.of_wire(last.data["to_state"]) in FINAL:
            ended_at = last.pos
    return Turn(Task.of(row), spoke, ended_at)
