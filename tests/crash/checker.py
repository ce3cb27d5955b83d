"""Whether a database kept what its clients were told, whatever was killed meanwhile. Pure.

A write without an answer counts as a maybe: it may have happened once or not at all, never twice.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from core.transitions import FINAL
from schemas.vocabulary import TaskState
from tests.crash.history import History, Reading, Write
from tests.properties import law

_FINAL = frozenset(state.wire for state in FINAL)


def faults(history: History, snapshot: law.Snapshot) -> list[str]:
    """Everything that is wrong, in words; nothing when the hub kept its promises."""
    found = _Found(snapshot)
    return [
        *law.offences(snapshot),
        *_first_position(snapshot),
        *_submits(history, found),
        *_claims(history, found),
        *_executions(history, found),
        *_cancels(history, found),
        *_ends(found),
        *_late(history, found),
        *_repeats(history),
        *(fault for reading in history.readings for fault in _reading(reading, snapshot.rows["event"])),
    ]


class _Found:
    """What the database holds, ready to be looked up."""

    def __init__(self, snapshot: law.Snapshot) -> None:
        self.tasks: Mapping[UUID, law.Record] = {task["id"]: task for task in snapshot.rows["task"]}
        self.tokens = Counter(_token(task) for task in snapshot.rows["task"])
        self.attempts = {attempt["lease_id"]: attempt for attempt in snapshot.rows["attempt"]}
        self.messages = {message["message_id"] for message in snapshot.rows["message"]}
        self.moves: Mapping[UUID, list[Mapping[str, Any]]] = defaultdict(list)
        for event in snapshot.rows["event"]:
            if event["kind"] == "task.state_changed":
                self.moves[event["task_id"]].append(event["data"])

    def moved(self, write: Write, move: str) -> bool:
        """Whether the log has that move of the attempt under the write's lease."""
        attempt = self.attempts.get(write.lease_id)
        moves = self.moves[write.task_id] if write.task_id else ()
        return attempt is not None and any(
            data["move"] == move and data["attempt"] == attempt["n"] for data in moves
        )


def _token(task: law.Record) -> str:
    said = task["input"]
    return str(said["text"]) if isinstance(said, dict) and "text" in said else str(task["title"])


def _first_position(snapshot: law.Snapshot) -> Iterator[str]:
    events = snapshot.rows["event"]
    if events and events[0]["pos"] != 1:
        yield f"the log begins at {events[0]['pos']}"


def _submits(history: History, found: _Found) -> Iterator[str]:
    for write in history.of("submit"):
        if found.tokens[write.token] > 1:
            yield f"submit {write.request_id} made {found.tokens[write.token]} tasks"
        if write.acknowledged and (write.task_id not in found.tasks or not found.tokens[write.token]):
            yield f"submit {write.request_id} was acknowledged, and its task is not there"


def _claims(history: History, found: _Found) -> Iterator[str]:
    for write in history.acknowledged("claim"):
        if write.lease_id is not None and write.lease_id not in found.attempts:
            yield f"claim {write.request_id} was acknowledged, and its attempt is not there"


def _executions(history: History, found: _Found) -> Iterator[str]:
    for write in history.acknowledged("start"):
        if not found.moved(write, "start"):
            yield f"start {write.request_id} was acknowledged, and is not in the log"
    for write in history.acknowledged("refuse"):
        if not found.moved(write, "requeue"):
            yield f"refuse {write.request_id} was acknowledged, and is not in the log"
    for write in history.acknowledged("say"):
        if write.token not in found.messages:
            yield f"say {write.request_id} was acknowledged, and its message is not there"
    for write in history.acknowledged("complete"):
        task = found.tasks.get(write.task_id) if write.task_id else None
        if task is None or task["state"] != TaskState.COMPLETED or task["output"] != write.token:
            yield f"complete {write.request_id} was acknowledged, and its output is not there"
        if not found.moved(write, "complete"):
            yield f"complete {write.request_id} was acknowledged, and is not in the log"


def _cancels(history: History, found: _Found) -> Iterator[str]:
    for write in history.acknowledged("cancel"):
        task = found.tasks.get(write.task_id) if write.task_id else None
        if task is None or TaskState(task["state"]).wire != write.answer["state"]:
            yield f"cancel {write.request_id} was told {write.answer['state']}, and that is not so"


def _ends(found: _Found) -> Iterator[str]:
    for task in found.tasks.values():
        ends = [data["move"] for data in found.moves[task["id"]] if data["to_state"] in _FINAL]
        if len(ends) != 1:
            yield f"task {task['id']} ended {len(ends)} times: {ends}"


def _late(history: History, found: _Found) -> Iterator[str]:
    for write in history.writes:
        if not write.late:
            continue
        attempt = found.attempts.get(write.lease_id)
        if write.acknowledged:
            yield f"{write.kind} {write.request_id} was accepted with a lease that had run out"
        if attempt is not None and attempt["outcome"] not in ("expired", "cancelled"):
            yield f"an attempt that ran out ended as {attempt['outcome']} ({write.request_id})"
        if write.kind == "say" and write.token in found.messages:
            yield f"say {write.request_id} was stored with a lease that had run out"


def _repeats(history: History) -> Iterator[str]:
    for write in history.writes:
        for status, answer in write.answers if write.acknowledged else ():
            if not 200 <= status < 300 or answer != write.answer:
                yield f"{write.kind} {write.request_id} was answered {write.answer}, then {answer}"


def _reading(reading: Reading, events: Sequence[law.Record]) -> Iterator[str]:
    expected = [
        (e["pos"], e["kind"], e["task_id"] and str(e["task_id"]), e["version"])
        for e in events
        if e["pos"] <= reading.cursor and reading.submitter_id in (None, e["submitter_id"])
    ]
    if reading.seen == expected:
        return
    times = Counter(event[0] for event in reading.seen)
    twice = [pos for pos, n in times.items() if n > 1]
    missed = sorted({event[0] for event in expected} - set(times))
    strange = sorted(set(times) - {event[0] for event in expected})
    ordered = [event[0] for event in reading.seen] == sorted(event[0] for event in reading.seen)
    yield (
        f"subscriber {reading.name} saw {len(reading.seen)} events of {len(expected)}: "
        f"{len(twice)} twice {twice[:5]}, {len(missed)} not {missed[:5]}, {len(strange)} of others "
        f"{strange[:5]}, {'in order' if ordered else 'out of order'}"
    )
