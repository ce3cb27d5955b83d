"""The contract's older A2A surface, and every fault that its first server had."""

import json
from typing import Any

import pytest

from core.bootstrap import DEFAULT_TENANT
from core.caller import SYSTEM
from hub.api.legacy_a2a import COVER, STATUSES
from hub.api.redaction import redacted
from schemas.vocabulary import Scope, TaskState
from tests.hub.api.hub import UNLIKELY, Hub
from tests.hub.api.test_events import forget_before, written


async def submitted(hub: Hub, key: str | None = None, **fields: Any) -> Any:
    options = {} if key is None else {"key": key}
    return (await hub.post("/a2a/tasks", {"task": {"title": "Read it", **fields}}, **options)).data


async def test_the_card_names_the_hubs_own_addresses_whatever_host_is_asked(hub: Hub) -> None:
    answer = await hub.send("GET", "/.well-known/agent.json", key=None, headers={"host": "localhost"})
    assert answer.status == 200
    assert answer.json == {
        "protocol": "a2a",
        "protocol_version": "0.1",
        "name": "Crossdock",
        "description": answer.json["description"],
        "authentication": {"type": "bearer_api_key", "header": "Authorization"},
        "capabilities": {"task_submission": True, "status_query": True, "streaming_updates": True},
        "endpoints": {
            "submit_task": "http://127.0.0.1:8080/api/v1/a2a/tasks",
            "get_task": "http://127.0.0.1:8080/api/v1/a2a/tasks/:id",
            "stream_task": "http://127.0.0.1:8080/api/v1/a2a/tasks/:id/events",
        },
    }


async def test_a_task_is_submitted_read_and_done(hub: Hub) -> None:
    made = await hub.post("/a2a/tasks", {"task": {"id": "their-1", "title": "Read it", "type": "docs"}})
    assert made.status == 201
    assert {**made.data, "created_at": "", "updated_at": ""} == {
        "id": made.data["id"],
        "status": "submitted",
        "title": "Read it",
        "created_at": "",
        "updated_at": "",
        "result": None,
        "metadata": {
            "protocol_ingress": {"protocol": "a2a", "external_task_id": "their-1"},
            "task_id": made.data["id"],
            "workflow_id": None,
            "workspace_id": None,
        },
    }
    agent = await hub.agent()
    claimed = (
        await hub.post("/tasks/claim", {"agent_id": agent["id"], "start": True}, key=agent["api_key"])
    ).data
    assert (claimed["id"], claimed["type"], claimed["origin"]["face"]) == (made.data["id"], "docs", "a2a")
    assert claimed["input"]["text"] == "Read it", "any worker finds the words"
    path = f"/a2a/tasks/{claimed['id']}"
    assert (await hub.get(path)).data["status"] == "working"
    done = {"lease_id": claimed["lease_id"], "output": {"text": "read", "api_key": "k-123", "tokens": 7}}
    await hub.post(f"/tasks/{claimed['id']}/complete", done, key=agent["api_key"])
    told = (await hub.get(path)).data
    assert (told["status"], told["result"]) == ("completed", {"text": "read", "api_key": COVER, "tokens": 7})
    kept = (await hub.get(f"/tasks/{claimed['id']}")).data["output"]
    assert kept["api_key"] == "k-123", "only the view is covered"


async def test_a_type_or_priority_that_nobody_knows_is_kept_or_normal(hub: Hub) -> None:
    odd = await submitted(hub, type="poem", priority="HIGH")
    task = (await hub.get(f"/tasks/{odd['id']}")).data
    assert (task["type"], task["priority"]) == ("custom", "high")
    assert odd["metadata"]["protocol_ingress"] == {"protocol": "a2a", "type": "poem"}
    plain = await submitted(hub, priority="whenever")
    assert (await hub.get(f"/tasks/{plain['id']}")).data["priority"] == "normal"


async def test_the_same_id_twice_is_one_task_and_another_task_under_it_is_refused(hub: Hub) -> None:
    first = await hub.post("/a2a/tasks", {"task": {"id": "their-1", "title": "Read it"}})
    again = await hub.post("/a2a/tasks", {"task": {"id": "their-1", "title": "Read it"}})
    assert (first.status, again.status) == (201, 200)
    assert again.data["id"] == first.data["id"]
    other = await hub.post("/a2a/tasks", {"task": {"id": "their-1", "title": "Burn it"}})
    assert (other.status, other.reason) == (409, "request_id_reused")
    ben = await hub.key(Scope.AGENT)
    theirs = await submitted(hub, key=ben, id="their-1")
    assert theirs["id"] != first.data["id"], "an id is its owner's"


async def test_the_header_is_a_replay_key_too(hub: Hub) -> None:
    body, headers = {"task": {"title": "Read it"}}, {"Idempotency-Key": "k"}
    first = await hub.post("/a2a/tasks", body, headers=headers)
    again = await hub.post("/a2a/tasks", body, headers=headers)
    assert (first.status, again.status, again.data["id"]) == (201, 200, first.data["id"])
    assert again.headers["idempotency-replayed"] == "true"


async def test_it_may_belong_to_a_workspace(hub: Hub) -> None:
    made = await submitted(hub, workspace_id=UNLIKELY)
    assert made["metadata"]["workspace_id"] == UNLIKELY


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"task": {}}, 422),
        ({"task": {"title": ""}}, 422),
        ({"task": {"title": "x", "unknown": 1}}, 422),
        ({"task": {"title": "x"}, "unknown": 1}, 422),
        ({"task": {"title": "x", "workflow_id": "x"}}, 422),
        ({"task": {"title": "x", "id": "x" * 256}}, 422),
        ([], 422),
    ],
)
async def test_a_body_that_is_none_makes_nothing(hub: Hub, body: Any, status: int) -> None:
    assert (await hub.post("/a2a/tasks", body)).status == status
    assert (await hub.get("/tasks")).json["meta"]["total"] == 0


async def test_a_task_without_a_role_is_in_nobodys_way(hub: Hub) -> None:
    await submitted(hub)
    await hub.post("/tasks", {"title": "for a writer", "role": "writer"})
    agent = await hub.agent(routing_tags=["role:writer"], max_concurrent=2)
    request = {"agent_id": agent["id"], "limit": 2, "routing_tags": ["role:writer"]}
    claimed = (await hub.post("/tasks/claim", request, key=agent["api_key"])).data
    assert sorted(task["title"] for task in claimed) == ["Read it", "for a writer"]


async def test_foreign_tasks_look_missing(hub: Hub) -> None:
    ann, ben = await hub.key(Scope.AGENT), await hub.key(Scope.AGENT)
    made = await submitted(hub, key=ann)
    for path in ("/a2a/tasks/{}", "/a2a/tasks/{}/events"):
        foreign = await hub.get(path.format(made["id"]), key=ben)
        missing = await hub.get(path.format(UNLIKELY), key=ben)
        assert (foreign.status, missing.status) == (404, 404)
        assert foreign.json["error"] == missing.json["error"]
    assert (await hub.get("/a2a/tasks/nonsense", key=ann)).status in (400, 404, 422)
    assert (await hub.get(f"/a2a/tasks/{made['id']}", key=None)).status == 401


async def test_a_stream_tells_everything_from_birth_to_end_and_goes_on_after_a_cursor(hub: Hub) -> None:
    made = await submitted(hub)
    path = f"/a2a/tasks/{made['id']}/events"
    async with hub.stream(path) as stream:
        text = await stream.until("event: task.created")
        assert text.startswith(": connected\n\n")
        agent = await hub.agent()
        request = {"agent_id": agent["id"], "start": True}
        claimed = (await hub.post("/tasks/claim", request, key=agent["api_key"])).data
        lease = {"lease_id": claimed["lease_id"]}
        await hub.post(f"/tasks/{made['id']}/messages", {**lease, "parts": [{"text": "half"}]})
        done = {**lease, "output": "x"}
        await hub.post(f"/tasks/{made['id']}/complete", done, key=agent["api_key"])
        await stream.end()
        seen = told(stream.text)
    assert [(event["event_type"], event["status"]) for event in seen] == [
        ("task.created", "submitted"),
        ("task.state_changed", "working"),
        ("task.assigned", "working"),
        ("task.state_changed", "working"),
        ("task.message_sent", "working"),
        ("task.state_changed", "completed"),
    ]
    assert {event["task_id"] for event in seen} == {made["id"]}
    for n, known in enumerate(seen):
        async with hub.stream(path, headers={"Last-Event-ID": str(known["id"])}) as again:
            await again.end()
            assert told(again.text) == seen[n + 1 :]


def told(text: str) -> list[Any]:
    """The events of a stream."""
    blocks = [block for block in text.split("\n\n") if block.startswith("id: ")]
    return [json.loads(block.split("data: ", 1)[1]) for block in blocks]


async def test_a_stream_of_a_task_whose_beginning_is_forgotten_begins_with_what_is_kept(hub: Hub) -> None:
    made = await submitted(hub)
    other = (await written(hub, 1))[-1]
    await hub.platform.write(SYSTEM(DEFAULT_TENANT), forget_before, other)
    async with hub.stream(f"/a2a/tasks/{made['id']}/events") as stream:
        await stream.until(": connected\n\n")
        await hub.post(f"/tasks/{made['id']}/cancel", {})
        await stream.end()
        assert [event["status"] for event in told(stream.text)] == ["canceled"]


async def test_a_cursor_is_the_id_of_an_event(hub: Hub) -> None:
    made = await submitted(hub)
    for cursor in ("x", "-1", "9" * 30):
        answer = await hub.get(f"/a2a/tasks/{made['id']}/events", headers={"Last-Event-ID": cursor})
        assert answer.status in (400, 422)


def test_every_state_has_its_status() -> None:
    assert set(STATUSES) == set(TaskState)


@pytest.mark.parametrize(
    "secret",
    [
        "Bearer abc",
        "sk-abcdefgh1234",
        "enc:v2:kid:nonce",
        "xd_admin_" + "a" * 40,
        "eyJhbGciOiJ.eyJzdWIiOiIx.c2lnbmF0dXJl",
        "https://user:pass@host/path",
    ],
)
def test_what_looks_like_a_secret_is_covered_wherever_it_stands(secret: str) -> None:
    covered = redacted({"a": [{"b": secret}], "password": "x", "max_tokens": 5, "c": "plain."}, "***")
    assert covered == {"a": [{"b": "***"}], "password": "***", "max_tokens": 5, "c": "plain."}
