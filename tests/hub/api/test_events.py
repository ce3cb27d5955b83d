"""The event log over REST: pages, and the stream."""

from typing import Any

import pytest
import sqlalchemy as sa

from core.bootstrap import DEFAULT_TENANT
from core.caller import SYSTEM
from core.store import Statement, Tx, open_store
from core.store import tables as t
from core.store.tables import records
from hub.api import rendering
from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Hub, running

_FLOOR = Statement(sa.insert(records.event_floor))
_FORGET = Statement(sa.delete(t.event).where(t.event.c.pos < sa.bindparam("p_pos", type_=sa.BigInteger())))


async def forget_before(tx: Tx, pos: int) -> None:
    """What retention does."""
    await tx.run(_FORGET, p_pos=pos)
    await tx.run(_FLOOR, tenant_id=tx.caller.tenant_id, pos=pos - 1)


async def written(hub: Hub, count: int) -> list[int]:
    """So many new tasks' events, once the log has them."""
    for n in range(count):
        await hub.post("/tasks", {"title": str(n)})
    async with hub.stream("/events/stream?event_type=task.created&after=0") as stream:
        while len(stream.events()) < count:
            await stream.until("\n\n")
            await stream.until(f'"title":"{count - 1}"')
    return [event["id"] for event in stream.events()]


async def test_the_log_is_read_forward_and_backward(hub: Hub) -> None:
    ids = await written(hub, 5)
    only = "event_type=task.created"
    newest = await hub.get(f"/events?{only}&limit=2")
    assert [event["id"] for event in newest.data] == [ids[4], ids[3]]
    assert newest.json["meta"]["has_more"] is True
    older = await hub.get(f"/events?{only}&per_page=2&before={newest.json['meta']['next_before']}")
    assert [event["id"] for event in older.data] == [ids[2], ids[1]]
    forward = await hub.get(f"/events?{only}&limit=2&after=0")
    assert [event["id"] for event in forward.data] == [ids[0], ids[1]]
    rest = await hub.get(f"/events?{only}&after={forward.json['meta']['next_after']}")
    assert [event["id"] for event in rest.data] == ids[2:]
    assert rest.json["meta"]["has_more"] is False
    empty = await hub.get(f"/events?{only}&after={ids[-1]}")
    assert (empty.data, empty.json["meta"]["next_after"]) == ([], ids[-1])


async def test_an_event_says_what_happened_to_what_and_by_whom(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    await written(hub, 1)
    found = (await hub.get(f"/events?after=0&entity_type=task&entity_id={task['id']}")).data
    assert [event["type"] for event in found] == [
        "task.created",
        "task.state_changed",
        "task.assigned",
        "task.state_changed",
    ]
    assert [event["version"] for event in found] == [1, 2, 3, 4]
    assert {event["task_id"] for event in found} == {task["id"]}
    assert {event["context_id"] for event in found} == {task["context_id"]}
    changed = found[-1]
    assert (changed["data"]["from_state"], changed["data"]["to_state"]) == ("claimed", "in_progress")
    assert (changed["actor_type"], changed["actor_id"]) == ("agent", agent["id"])
    assert task["lease_id"] not in str(found), "a fence that everybody can read is none"


@pytest.mark.parametrize(
    ("query", "some"),
    [
        ("entity_type=agent", True),
        ("entity_type=task,agent", True),
        ("entity_type=workflow", False),
        ("event_type=task.created,agent.registered", True),
        ("event_type=nothing", False),
        (f"entity_id={UNLIKELY}", False),
        (f"workflow_id={UNLIKELY}", False),
        (f"workspace_id={UNLIKELY}", False),
        ("context_id=nothing", False),
    ],
)
async def test_events_are_filtered(hub: Hub, query: str, some: bool) -> None:
    await hub.agent()
    await written(hub, 1)
    assert bool((await hub.get(f"/events?after=0&{query}")).data) is some


@pytest.mark.parametrize(
    "query", ["after=1&before=2", "limit=1&per_page=2", "limit=0", "limit=101", "after=-1", "entity_type=x"]
)
async def test_contradictory_queries_answer_400(hub: Hub, query: str) -> None:
    assert (await hub.get(f"/events?{query}")).status == 400


async def test_everybody_sees_the_events_of_their_own_tasks_alone(hub: Hub) -> None:
    mine = await hub.key(Scope.AGENT)
    await written(hub, 2)
    task = (await hub.post("/tasks", {"title": "mine"}, key=mine)).data
    async with hub.stream("/events/stream?after=0", key=mine) as stream:
        await stream.until('"title":"mine"')
    assert {event["task_id"] for event in stream.events()} == {task["id"]}
    listed = (await hub.get("/events?after=0", key=mine)).data
    assert [event["id"] for event in listed] == [event["id"] for event in stream.events()]


async def test_a_stream_replays_and_then_tails_each_event_once_in_order(hub: Hub) -> None:
    ids = await written(hub, 3)
    async with hub.stream(f"/events/stream?after={ids[0]}&event_type=task.created") as stream:
        await stream.until('"title":"2"')
        for n in range(3, 6):
            await hub.post("/tasks", {"title": str(n)})
        await stream.until('"title":"5"')
    assert stream.status == 200
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.text.startswith(": connected\n\n")
    assert [event["data"]["title"] for event in stream.events()] == ["1", "2", "3", "4", "5"]
    positions = [event["id"] for event in stream.events()]
    assert positions == sorted(set(positions))
    listed = (await hub.get(f"/events?after={ids[0]}&event_type=task.created")).data
    assert list(stream.events()) == listed


async def test_a_stream_without_a_cursor_begins_now(hub: Hub) -> None:
    await written(hub, 1)
    async with hub.stream("/events/stream") as stream:
        await stream.until(": pos ")
        await hub.post("/tasks", {"title": "later"})
        await stream.until('"title":"later"')
    assert [event["data"].get("title") for event in stream.events()] == ["later"]


async def test_the_last_event_id_is_stronger_than_after(hub: Hub) -> None:
    ids = await written(hub, 3)
    headers = {"last-event-id": str(ids[1])}
    only = "event_type=task.created"
    async with hub.stream(f"/events/stream?after=0&{only}", headers=headers) as stream:
        await stream.until('"title":"2"')
    assert [event["id"] for event in stream.events()] == [ids[2]]


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "99999999999999999999"])
async def test_a_last_event_id_that_is_none_answers_400(hub: Hub, value: str) -> None:
    answer = await hub.get("/events/stream", headers={"last-event-id": value})
    assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")


async def test_a_cursor_that_retention_has_passed_answers_410_with_the_oldest(hub: Hub) -> None:
    ids = await written(hub, 4)
    await hub.platform.write(SYSTEM(DEFAULT_TENANT), forget_before, ids[2])
    stream = await hub.get("/events/stream?after=0")
    answer = await hub.get("/events?after=0")
    for refused in (stream, answer):
        assert (refused.status, refused.code) == (410, "GONE")
    oldest = answer.json["error"]["details"]["oldest"]
    again = await hub.get(f"/events?after={oldest}&event_type=task.created")
    assert [event["id"] for event in again.data] == ids[2:]


async def test_a_revoked_key_ends_its_streams_with_the_reason(hub: Hub) -> None:
    made = (await hub.post("/api-keys", {"scope": "agent", "owner_type": "user", "owner_id": "u"})).data
    async with hub.stream("/events/stream", key=made["api_key"]) as stream:
        await stream.until(": connected")
        assert (await hub.send("DELETE", f"/api/v1/api-keys/{made['id']}")).status == 200
        await stream.end()
    assert 'event: error\ndata: {"error":{"code":"UNAUTHORIZED"' in stream.text


async def test_a_stopping_hub_ends_its_streams_with_the_reason(hub: Hub) -> None:
    async with hub.stream("/events/stream") as stream:
        await stream.until(": connected")
        hub.app.stopping.set()
        await stream.end()
    assert 'event: error\ndata: {"error":{"code":"SERVICE_UNAVAILABLE"' in stream.text


async def test_a_principal_has_a_bounded_number_of_streams(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.app.STREAMS", 1)
    async with running(open_store(database_url)) as hub:
        async with hub.stream("/events/stream") as first:
            await first.until(": connected")
            second = await hub.get("/events/stream")
            assert (second.status, second.code) == (429, "RATE_LIMITED")
            assert "retry-after" in second.headers
        async with hub.stream("/events/stream") as third:
            await third.until(": connected")


async def test_an_event_is_encoded_once_for_all_streams(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    render = rendering.event

    def counted(event: Any) -> Any:
        encoded.append(event.pos)
        return render(event)

    async with hub.stream("/events/stream") as one, hub.stream("/events/stream") as two:
        await one.until(": pos ")
        await two.until(": pos ")
        monkeypatch.setattr(rendering, "event", counted)
        await hub.post("/tasks", {"title": "seen by both"})
        await one.until('"title":"seen by both"')
        await two.until('"title":"seen by both"')
    assert len(encoded) == len(set(encoded)) >= 1
