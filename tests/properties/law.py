"""The law of task states, checked against what a database holds: its tables and its log.

`read` takes everything that concerns tasks, on either database; `offences` is pure. It knows nothing of how
the rows came to be, so the same check judges unit tests, random commands and the databases of killed hubs.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core.caller import SYSTEM
from core.store import Store
from core.store import tables as t
from core.store.engine import Call
from core.store.tx import Tx
from core.transitions import ASKING, BIRTH, FINAL, LEASED, TRANSITIONS, Move
from schemas.vocabulary import ApprovalKind, TaskState

Record = Mapping[str, Any]

TABLES = (t.task, t.attempt, t.lease, t.dependency, t.input_request, t.approval, t.agent, t.message, t.event)


@dataclass(frozen=True)
class Snapshot:
    """All rows of the tables that concern tasks, by table; events in log order."""

    rows: Mapping[str, Sequence[Record]]
    outbox: int
    """Events that PostgreSQL's sequencer has not numbered yet."""

    def of_task(self, table: str) -> Mapping[UUID, Sequence[Record]]:
        """A table's rows by task."""
        found: dict[UUID, list[Record]] = defaultdict(list)
        for row in self.rows[table]:
            found[row["task_id"]].append(row)
        return found


async def _snapshot(tx: Tx, _: None) -> Snapshot:
    rows: dict[str, Sequence[Record]] = {}
    for table in TABLES:
        query = sa.select(*table.c).order_by(*table.primary_key.columns)
        rows[table.name] = [row.as_dict() for row in await tx.all(query)]
    waiting = await tx.one(sa.select(sa.func.count().label("n")).select_from(t.event_outbox))
    return Snapshot(rows, 0 if waiting is None else waiting.n)


async def read(store: Store) -> Snapshot:
    """Everything, as of one moment."""
    snapshot: Snapshot = await store.read(Call(SYSTEM(UUID(int=0)), _snapshot, None))
    return snapshot


def offences(snapshot: Snapshot) -> list[str]:
    """What in the database breaks the law, in words; nothing when all is well."""
    return [
        *_log(snapshot.rows["event"]),
        *_agents(snapshot),
        *_lease_ids(snapshot.rows["attempt"]),
        *_tasks(snapshot),
    ]


def _log(events: Sequence[Record]) -> Iterator[str]:
    for before, after in pairwise(events):
        if after["pos"] != before["pos"] + 1:
            yield f"the log jumps from {before['pos']} to {after['pos']}"


def _lease_ids(attempts: Sequence[Record]) -> Iterator[str]:
    if len({a["lease_id"] for a in attempts}) != len(attempts):
        yield "a lease id was used twice"


def _agents(snapshot: Snapshot) -> Iterator[str]:
    held: dict[UUID, int] = defaultdict(int)
    for lease in snapshot.rows["lease"]:
        held[lease["agent_id"]] += 1
    for agent in snapshot.rows["agent"]:
        n = held[agent["id"]]
        if n > agent["max_concurrent"]:
            yield f"agent {agent['name']} holds {n} leases, more than {agent['max_concurrent']}"
        if agent["status"] == "busy":
            yield f"agent {agent['name']} is stored as busy, which is counted and not stored"


def _tasks(snapshot: Snapshot) -> Iterator[str]:
    by_task = {name: snapshot.of_task(name) for name in snapshot.rows if name not in ("task", "agent")}
    for task in snapshot.rows["task"]:
        mine = {name: rows.get(task["id"], ()) for name, rows in by_task.items()}
        state = TaskState(task["state"])
        for check in (_leases, _attempts, _ends, _waits, _questions, _replay, _messages):
            for offence in check(task, state, mine):
                yield f"task {task['id']} ({state.wire}): {offence}"


def _leases(task: Record, state: TaskState, mine: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    leased = state in LEASED or (state in ASKING and task["held"])
    if task["held"] and state not in ASKING:
        yield "held, and not waiting for an answer"
    wanted = [task["lease_id"]] if leased else []
    if leased and task["lease_id"] is None:
        yield "has no lease"
    if not leased and task["lease_id"] is not None:
        yield "has a lease id"
    if [lease["lease_id"] for lease in mine["lease"]] != wanted:
        yield f"lease rows {[str(lease['lease_id']) for lease in mine['lease']]}, wanted {wanted}"
    running = [a for a in mine["attempt"] if a["ended_at"] is None]
    if [a["lease_id"] for a in running] != wanted:
        yield f"{len(running)} attempts run, wanted {len(wanted)}"
    for attempt in running:
        if leased and (attempt["n"], attempt["agent_id"]) != (task["attempt"], task["agent_id"]):
            yield "the running attempt is not the task's own"
    if state in (TaskState.PENDING, TaskState.READY) and task["agent_id"] is not None:
        yield "is assigned while it is queued"


def _attempts(task: Record, state: TaskState, mine: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    if [a["n"] for a in mine["attempt"]] != list(range(1, task["attempt"] + 1)):
        yield f"attempts {[a['n'] for a in mine['attempt']]}, the task counts {task['attempt']}"
    for attempt in mine["attempt"]:
        if (attempt["ended_at"] is None) != (attempt["outcome"] is None):
            yield f"attempt {attempt['n']} ended and has no outcome, or the reverse"
    completed = [a for a in mine["attempt"] if a["outcome"] == "completed"]
    reworked = task["rework_count"] or task["retry_count"]
    if len(completed) > 1 and not reworked:
        yield f"{len(completed)} attempts completed"


def _ends(task: Record, state: TaskState, mine: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    if (state in FINAL) != (task["finished_at"] is not None):
        yield "finished_at does not agree with the state"
    for name in ("timeout_at", "cancel_due_at"):
        if state in FINAL and task[name] is not None:
            yield f"{name} is armed though it is final"


def _waits(task: Record, state: TaskState, mine: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    undone = sum(not d["done"] for d in mine["dependency"])
    if state not in FINAL and task["waiting"] != undone:
        yield f"waits for {task['waiting']}, and {undone} dependencies are undone"
    if state is TaskState.READY and task["waiting"]:
        yield "is ready and waits"


def _questions(task: Record, state: TaskState, mine: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    inputs = [i for i in mine["input_request"] if i["status"] == "open"]
    if (state in ASKING) != bool(inputs):
        yield f"{len(inputs)} input requests are open"
    pending = [a["kind"] for a in mine["approval"] if a["status"] == "pending"]
    for kind, where in (
        (ApprovalKind.START, TaskState.AWAITING_APPROVAL),
        (ApprovalKind.OUTPUT, TaskState.OUTPUT_PENDING_ASSESSMENT),
    ):
        if pending.count(kind.value) != (state is where):
            yield f"{pending.count(kind.value)} approvals of kind {kind.value} are pending"
    asked = [k for k in pending if k in ("permission", "tool_call")]
    if asked and task["lease_id"] is None:
        yield "asks for permission, and nobody holds it"


def _replay(task: Record, state: TaskState, mine: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    events = mine["event"]
    if [e["version"] for e in events] != list(range(1, task["version"] + 1)):
        yield f"versions {[e['version'] for e in events]} in the log, the task is at {task['version']}"
        return
    replayed, moved = None, None
    for event in events:
        data = event["data"]
        if event["kind"] == "task.created":
            replayed = TaskState.of_wire(data["to_state"])
            if event["version"] != 1 or replayed not in BIRTH:
                yield f"born {replayed.wire} at version {event['version']}"
        elif event["kind"] == "task.state_changed":
            move = Move(data["move"])
            source, target = TaskState.of_wire(data["from_state"]), TaskState.of_wire(data["to_state"])
            arc = TRANSITIONS[move]
            if source is not replayed or source not in arc.sources or target is not arc.target:
                yield f"the log says {move.value} from {source.wire} to {target.wire}"
            if moved is not None and data["attempt"] != moved["attempt"] + (move is Move.CLAIM):
                yield f"{move.value} makes attempt {data['attempt']} of {moved['attempt']}"
            replayed, moved = target, data
    if replayed is not state:
        yield f"the log ends in {replayed.wire if replayed is not None else 'nothing'}"
    if moved is not None:
        for name in ("attempt", "retry_count", "rework_count", "left_queue"):
            if moved[name] != task[name]:
                yield f"the log says {name} {moved[name]}, the task {task[name]}"
        if moved["agent_id"] != (task["agent_id"] and str(task["agent_id"])):
            yield f"the log says agent {moved['agent_id']}, the task {task['agent_id']}"


def _messages(task: Record, state: TaskState, mine: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    told = {
        e["version"]
        for e in mine["event"]
        if e["kind"] in ("task.message_sent", "task.created") or "input_id" in e["data"]
    }
    kept = {message["n"] for message in mine["message"]}
    for n in sorted(kept - told):
        yield f"message {n} has no event"
    for n in sorted({e["version"] for e in mine["event"] if e["kind"] == "task.message_sent"} - kept):
        yield f"the message of event {n} is not there"


def verdict(offended: Iterable[str]) -> str:
    """The offences as one text, for an assertion's message."""
    return "\n".join(offended)
