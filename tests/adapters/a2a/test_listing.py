"""ListTasks: filters, pages, order. Specification §3.1.4."""

import asyncio
from typing import Any

import pytest
from a2a.types import a2a_pb2

from adapters.a2a import wire
from core.tasks.input import RequestInput, request_input
from core.tasks.report import FailTask, RefuseTask, ReportedError, fail, refuse
from schemas.vocabulary import InputKind
from tests.adapters.a2a.support import Client, Executor, at_once, message, official


async def send(ann: Client, *texts: str, **members: Any) -> list[str]:
    return [(await ann.result("SendMessage", at_once(text, **members)))["task"]["id"] for text in texts]


async def listed(ann: Client, **params: Any) -> list[str]:
    answer = await ann.result("ListTasks", params)
    official(answer, a2a_pb2.ListTasksResponse)
    return [task["id"] for task in answer["tasks"]]


async def test_an_empty_list_has_all_its_members(ann: Client) -> None:
    assert await ann.result("ListTasks") == {
        "tasks": [],
        "nextPageToken": "",
        "pageSize": 50,
        "totalSize": 0,
    }


async def test_the_newest_status_comes_first(ann: Client, executor: Executor) -> None:
    a, b, c = await send(ann, "a", "b", "c")
    assert await listed(ann) == [c, b, a]
    await executor.finish()
    assert await listed(ann) == [a, c, b]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_pages_hold_every_task_once(ann: Client, size: int) -> None:
    sent = await send(ann, *"abcdefg")
    seen: list[str] = []
    token = ""
    while True:
        answer = await ann.result("ListTasks", {"pageSize": size, "pageToken": token})
        assert (answer["pageSize"], answer["totalSize"]) == (size, 7)
        assert 0 < len(answer["tasks"]) <= size
        seen += [task["id"] for task in answer["tasks"]]
        token = answer["nextPageToken"]
        if not token:
            break
    assert seen == sent[::-1]


async def test_filters_are_joined(ann: Client, executor: Executor) -> None:
    mine, _ = await send(ann, "a", contextId="c"), await send(ann, "b", contextId="d")
    assert await listed(ann, contextId="c") == mine
    assert await listed(ann, contextId="c", status="TASK_STATE_SUBMITTED") == mine
    assert await listed(ann, contextId="c", status="TASK_STATE_WORKING") == []
    assert await listed(ann, contextId="unknown") == []


async def test_a_time_bound_is_inclusive(ann: Client) -> None:
    first, second = await send(ann, "a", "b")
    at = (await ann.result("GetTask", {"id": first}))["status"]["timestamp"]
    assert await listed(ann, statusTimestampAfter=at) == [second, first]
    assert await listed(ann, statusTimestampAfter="2999-01-01T00:00:00Z") == []


async def test_history_and_artifacts_are_as_wanted(ann: Client, executor: Executor) -> None:
    await send(ann, "a")
    await executor.finish("x")
    (plain,) = (await ann.result("ListTasks"))["tasks"]
    assert "artifacts" not in plain
    assert len(plain["history"]) == 1
    (full,) = (await ann.result("ListTasks", {"includeArtifacts": True, "historyLength": 0}))["tasks"]
    assert full["artifacts"][0]["parts"] == [{"text": "x"}]
    assert "history" not in full


async def test_every_state_finds_exactly_the_tasks_that_show_it(ann: Client, executor: Executor) -> None:
    """The filter in SQL is the inverse of what a task shows."""

    async def ask(kind: InputKind) -> None:
        held = await executor.take()
        asked = RequestInput(held.task.id, held.lease_id, [{"text": "?"}], kind=kind)
        await executor.do(request_input, asked)

    async def lose(error: ReportedError) -> None:
        held = await executor.take()
        await executor.do(fail, FailTask(held.task.id, error, lease_id=held.lease_id))

    for work in (
        executor.finish(),
        lose(ReportedError("bug", "no", recoverable=False)),
        lose(ReportedError("infrastructure", "waits to be tried again")),
        ask(InputKind.INPUT),
        ask(InputKind.AUTH),
        executor.take(),
    ):
        await asyncio.gather(ann.result("SendMessage", at_once()), work)
    await ann.result("SendMessage", at_once())
    held = await executor.take()
    await executor.do(refuse, RefuseTask(held.task.id, held.lease_id, "no"))
    cancelled = (await ann.result("SendMessage", at_once()))["task"]
    await ann.result("CancelTask", {"id": cancelled["id"]})
    await ann.result("SendMessage", at_once())
    everything = (await ann.result("ListTasks"))["tasks"]
    shown = {task["id"]: task["status"]["state"] for task in everything}
    assert set(shown.values()) == set(wire.STATES)
    for state in wire.STATES:
        wanted = {id for id, its in shown.items() if its == state}
        assert set(await listed(ann, status=state)) == wanted, state


@pytest.mark.parametrize(
    "params",
    [
        {"pageSize": 0},
        {"pageSize": 101},
        {"pageToken": "x"},
        {"status": "TASK_STATE_RUNNING"},
        {"historyLength": -1},
    ],
)
async def test_bad_parameters_are_refused(ann: Client, params: dict[str, Any]) -> None:
    error = await ann.error("ListTasks", params)
    assert (error["code"], error["data"][1]["fieldViolations"][0]["field"]) == (-32602, next(iter(params)))


async def test_a_list_shows_only_the_callers_own(ann: Client, http: Any) -> None:
    await send(ann, "a")
    for other in ("ben", "root", "eve"):
        assert (await Client(http, other).result("ListTasks"))["totalSize"] == 0
    assert (await ann.result("SendMessage", message("x", configuration={"returnImmediately": True})))["task"]
