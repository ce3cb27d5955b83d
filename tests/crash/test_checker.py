"""The checker has teeth: an honest history passes, and each way of doctoring it is noticed."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.platform import Platform
from core.tasks import messages
from tests.core.tasks.stage import Stage
from tests.crash.checker import faults
from tests.crash.history import History, Reading, Write
from tests.fakes import FakeClock
from tests.properties import law

Doctor = Callable[[History, dict[str, list[dict[str, Any]]]], object]


def _acknowledged(history: History, kind: str, **more: Any) -> Write:
    write = history.mean(kind, "ann", **more)
    write.status = 200
    return write


@pytest.fixture
async def honest(platform: Platform, clock: FakeClock) -> tuple[History, law.Snapshot]:
    """Three tasks: one completed by its second executor, one cancelled, one completed at once."""
    stage, history = Stage(platform, clock), History()
    agent = await stage.agent()
    tasks = [await stage.submit(title) for title in ("one", "two", "three")]
    for task in tasks:
        _acknowledged(history, "submit", token=task.title, task_id=task.id)
    history.mean("submit", "ann", token="never answered")
    slow = await stage.take(agent)
    await stage.later(60)
    history.mean("complete", "ann", task_id=slow.task.id, lease_id=slow.lease_id, token="late", late=True)
    await stage.cancel(tasks[1].id)
    _acknowledged(history, "cancel", task_id=tasks[1].id).answer = {"state": "cancelled"}
    await stage.later(60)
    for _ in range(2):
        held = await stage.take(agent)
        under: dict[str, Any] = {"task_id": held.task.id, "lease_id": held.lease_id}
        _acknowledged(history, "claim", **under)
        _acknowledged(history, "start", **under)
        token = str(uuid4())
        said = messages.AddMessage(held.task.id, [{"text": "half"}], lease_id=held.lease_id, message_id=token)
        await platform.write(agent, messages.add_message, said)
        _acknowledged(history, "say", token=token, **under)
        output = str(uuid4())
        await stage.complete(agent, held.task.id, held.lease_id, output)
        write = _acknowledged(history, "complete", token=output, **under)
        write.answers.append((200, {}))
    snapshot = await stage.numbered()
    for name, sees in (("all", None), ("own", stage.user.principal_id), ("stranger", uuid4())):
        history.readings.append(Reading(name, sees, list(_stream(snapshot, sees))))
    return history, snapshot


def _stream(snapshot: law.Snapshot, sees: UUID | None) -> Iterator[tuple[int, str, str | None, int | None]]:
    for event in snapshot.rows["event"]:
        if sees in (None, event["submitter_id"]):
            task_id = event["task_id"]
            yield event["pos"], event["kind"], task_id and str(task_id), event["version"]


def test_an_honest_history_passes(honest: tuple[History, law.Snapshot]) -> None:
    assert faults(*honest) == []


def _drop(table: str, n: int = -1) -> Doctor:
    return lambda history, rows: rows[table].pop(n)


def _set(table: str, n: int, **columns: Any) -> Doctor:
    return lambda history, rows: rows[table][n].update(columns)


def _duplicate_task(history: History, rows: dict[str, list[dict[str, Any]]]) -> None:
    twin = rows["task"][0] | {"id": uuid4()}
    rows["task"].append(twin)


def _second_end(history: History, rows: dict[str, list[dict[str, Any]]]) -> None:
    end = next(e for e in rows["event"] if e["data"].get("to_state") == "completed")
    rows["event"].append(end | {"pos": rows["event"][-1]["pos"] + 1})


def _accepted_late(history: History, rows: dict[str, list[dict[str, Any]]]) -> None:
    next(w for w in history.writes if w.late).status = 200


def _late_outcome(history: History, rows: dict[str, list[dict[str, Any]]]) -> None:
    lost = next(a for a in rows["attempt"] if a["outcome"] == "expired")
    lost["outcome"] = "completed"


def _other_answer(history: History, rows: dict[str, list[dict[str, Any]]]) -> None:
    next(w for w in history.writes if w.answers).answers.append((200, {"id": "another"}))


def _see(change: Callable[[list[Any]], object]) -> Doctor:
    return lambda history, rows: change(history.readings[0].seen)


DOCTORED: dict[str, tuple[Doctor, str]] = {
    "a lost task": (_drop("task"), "its task is not there"),
    "a task made twice": (_duplicate_task, "made 2 tasks"),
    "a lost claim": (_drop("attempt"), "its attempt is not there"),
    "a lost message": (_drop("message"), "its message is not there"),
    "another output": (_set("task", 2, output="other"), "its output is not there"),
    "an undone cancellation": (_set("task", 1, state=1), "that is not so"),
    "a second end": (_second_end, "ended 2 times"),
    "a late write accepted": (_accepted_late, "accepted with a lease that had run out"),
    "a late write that counted": (_late_outcome, "ended as completed"),
    "another answer to one request": (_other_answer, "then {'id': 'another'}"),
    "a log with a hole": (_drop("event", 3), "the log jumps"),
    "a log that lost its beginning": (_drop("event", 0), "the log begins at"),
    "a lease left behind": (_set("task", 0, lease_id=uuid4()), "has a lease id"),
    "an event seen twice": (_see(lambda seen: seen.insert(3, seen[3])), "1 twice"),
    "an event not seen": (_see(lambda seen: seen.pop(3)), "1 not"),
    "events out of order": (_see(lambda seen: seen.insert(2, seen.pop(5))), "out of order"),
    "an event of somebody else": (
        lambda history, rows: history.readings[2].seen.extend(history.readings[0].seen[:1]),
        "1 of others",
    ),
}


@pytest.mark.parametrize("name", DOCTORED)
def test_the_checker_notices(honest: tuple[History, law.Snapshot], name: str) -> None:
    history, snapshot = honest
    rows: dict[str, list[dict[str, Any]]] = {
        table: [dict(row) for row in deepcopy(list(of_table))] for table, of_table in snapshot.rows.items()
    }
    doctor, complaint = DOCTORED[name]
    doctor(history, rows)
    found = faults(history, replace(snapshot, rows=rows))
    assert any(complaint in fault for fault in found), found
