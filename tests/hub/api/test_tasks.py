"""Creating, reading, changing and counting tasks over REST."""

import asyncio
import re
from typing import Any

import pytest

from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Hub

MILLISECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

EVERYTHING: dict[str, Any] = {
    "title": "Summarise",
    "description": "In three sentences.",
    "type": "analysis",
    "task_kind": "delivery",
    "priority": "high",
    "input": {"token": "kept as it is"},
    "context": {"tone": "dry"},
    "metadata": {"ticket": 7},
    "context_id": "a conversation",
    "external_id": "job-1",
    "on_dependency_failure": "cancel",
    "required_tags": ["b", "a"],
    "required_tools": ["browser"],
    "role": "writer",
    "stage_name": "draft",
    "timeout_minutes": 5,
    "retry_policy": {
        "max_attempts": 4,
        "backoff_strategy": "fixed",
        "initial_backoff_seconds": 2.5,
        "retryable_categories": ["timeout"],
    },
    "output_schema": {"type": "object"},
    "workspace_id": UNLIKELY,
    "assessment_prompt": "Is it dry?",
    "role_config": {"system_prompt": "Be dry."},
    "environment": {"image": "slim"},
    "resource_bindings": [{"database": "main"}],
    "subject_task_id": UNLIKELY,
    "subject_revision": 2,
    "token_budget": 1000,
    "cost_cap_usd": 0.5,
    "max_iterations": 3,
    "llm_max_retries": 1,
}


async def test_a_task_is_created_claimed_and_completed(hub: Hub) -> None:
    agent = await hub.agent()
    created = await hub.post("/tasks", {"title": "say hello", "input": {"text": "hi"}})
    assert created.status == 201
    assert created.data["state"] == "ready"
    claimed = await hub.post("/tasks/claim", {"agent_id": agent["id"], "start": True}, key=agent["api_key"])
    assert claimed.status == 200
    done = await hub.post(
        f"/tasks/{claimed.data['id']}/complete",
        {"lease_id": claimed.data["lease_id"], "output": {"text": "hello"}},
        key=agent["api_key"],
    )
    assert done.data["state"] == "completed"
    assert done.data["output"] == {"text": "hello"}


async def test_every_field_of_a_task_comes_back_as_it_was_sent(hub: Hub) -> None:
    created = (await hub.post("/tasks", EVERYTHING)).data
    read = (await hub.get(f"/tasks/{created['id']}")).data
    assert read == created
    shown = {name: value for name, value in EVERYTHING.items() if name != "resource_bindings"}
    assert {name: read.get(name) for name in shown if name not in ("external_id", "required_tags")} == {
        name: value for name, value in shown.items() if name not in ("external_id", "required_tags")
    }
    assert read["required_tags"] == ["a", "b"]
    assert read["origin"]["face"] == "rest"
    assert read["origin"]["external_id"] == "job-1"
    assert "resource_bindings" not in read, "only its executor sees it"
    assert "lease_id" not in read, "only its executor has it"
    for name in ("created_at", "updated_at", "state_changed_at", "ready_at"):
        assert MILLISECONDS.fullmatch(read[name]), name


async def test_only_the_title_is_required(hub: Hub) -> None:
    task = (await hub.post("/tasks", {"title": "x"})).data
    assert (task["type"], task["priority"], task["state"]) == ("custom", "normal", "ready")
    assert task["execution_backend"] == "runtime_plus_task"
    assert task["retry_policy"]["retryable_categories"] == ["infrastructure"]


async def test_max_retries_without_a_policy_means_so_many_more_attempts(hub: Hub) -> None:
    task = (await hub.post("/tasks", {"title": "x", "auto_retry": True, "max_retries": 4})).data
    assert task["retry_policy"]["max_attempts"] == 5


async def test_parts_become_the_first_message_and_the_input(hub: Hub) -> None:
    parts = [{"text": "Look at this."}, {"data": None}, {"url": "https://example.com/a", "filename": None}]
    task = (await hub.post("/tasks", {"title": "x", "parts": parts})).data
    kept = [{"text": "Look at this."}, {"data": None}, {"url": "https://example.com/a"}]
    assert task["input"] == {"text": "Look at this.", "parts": kept}
    messages = (await hub.get(f"/tasks/{task['id']}/messages")).data
    assert [(message["role"], message["parts"]) for message in messages] == [("user", kept)]


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"text": "a", "data": 1},
        {"text": 1},
        {"raw": "no base64!"},
        {"media_type": "text/plain"},
        {"text": "a", "kind": "text"},
        "text",
    ],
)
async def test_a_part_that_is_none_answers_422(hub: Hub, part: Any) -> None:
    answer = await hub.post("/tasks", {"title": "x", "parts": [part]})
    assert answer.status == 422
    assert "parts" in answer.json["error"]["details"]["issues"]["fieldErrors"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "https://example.com/schema.json"},
        {"pattern": "(?<=a)b", "type": "string"},
    ],
)
async def test_an_output_schema_that_the_hub_cannot_check_answers_422(hub: Hub, schema: Any) -> None:
    assert (await hub.post("/tasks", {"title": "x", "output_schema": schema})).status == 422


@pytest.mark.parametrize("how", ["body", "header", "both"])
async def test_a_repeated_create_answers_200_with_the_first_task(hub: Hub, how: str) -> None:
    body = {"title": "once", **({} if how == "header" else {"request_id": "k1"})}
    headers = {} if how == "body" else {"idempotency-key": "k1"}
    first = await hub.post("/tasks", body, headers=headers)
    again = await hub.post("/tasks", body, headers=headers)
    assert (first.status, again.status) == (201, 200)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.data == first.data
    assert first.data["request_id"] == "k1"
    assert (await hub.get("/tasks")).json["meta"]["total"] == 1


async def test_the_header_and_the_field_are_one_key(hub: Hub) -> None:
    first = await hub.post("/tasks", {"title": "once", "request_id": "k1"})
    again = await hub.post("/tasks", {"title": "once"}, headers={"idempotency-key": "k1"})
    assert again.data["id"] == first.data["id"]
    both = await hub.post("/tasks", {"title": "x", "request_id": "a"}, headers={"idempotency-key": "b"})
    assert (both.status, both.code) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_replay_key_has_1_to_255_characters(hub: Hub, key: str) -> None:
    assert (await hub.post("/tasks", {"title": "x"}, headers={"idempotency-key": key})).status == 400
    assert (await hub.post("/tasks", {"title": "x", "request_id": key})).status == 422
    assert (await hub.get("/tasks")).json["meta"]["total"] == 0


async def test_a_replay_key_with_another_body_answers_409_and_makes_nothing(hub: Hub) -> None:
    await hub.post("/tasks", {"title": "one", "request_id": "k1"})
    answer = await hub.post("/tasks", {"title": "two", "request_id": "k1"})
    assert (answer.status, answer.code, answer.reason) == (409, "CONFLICT", "request_id_reused")
    assert (await hub.get("/tasks")).json["meta"]["total"] == 1


async def test_a_replay_key_belongs_to_its_principal(hub: Hub) -> None:
    mine = await hub.post("/tasks", {"title": "one", "request_id": "k1"})
    other = await hub.post("/tasks", {"title": "two", "request_id": "k1"}, key=await hub.key(Scope.AGENT))
    assert other.status == 201
    assert other.data["id"] != mine.data["id"]


async def test_concurrent_creates_with_one_key_make_one_task(hub: Hub) -> None:
    sends = [hub.post("/tasks", {"title": "once", "request_id": "k1"}) for _ in range(20)]
    answers = await asyncio.gather(*sends)
    assert len({answer.data["id"] for answer in answers}) == 1
    assert sorted(answer.status for answer in answers) == [200] * 19 + [201]


async def test_lists_are_paged_newest_first(hub: Hub) -> None:
    made = [(await hub.post("/tasks", {"title": str(n)})).data["id"] for n in range(5)]
    page = await hub.get("/tasks?page=2&per_page=2")
    assert [task["id"] for task in page.data] == [made[2], made[1]]
    meta = {name: page.json["meta"][name] for name in ("total", "page", "per_page", "pages")}
    assert meta == {"total": 5, "page": 2, "per_page": 2, "pages": 3}
    assert (await hub.get("/tasks?state=failed")).json["meta"]["pages"] == 1


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=ready", ["tagged", "plain"]),
        ("state=pending", ["waiting"]),
        ("context_id=talk", ["tagged"]),
        ("origin=rest", ["waiting", "tagged", "plain"]),
        ("origin=a2a", []),
        (f"workspace_id={UNLIKELY}", ["tagged"]),
        (f"workflow_id={UNLIKELY}", []),
        ("stage_name=draft&state=ready", ["tagged"]),
        ("is_orchestrator_task=true", []),
        (f"parent_id={UNLIKELY}", []),
        (f"assigned_agent_id={UNLIKELY}", []),
    ],
)
async def test_filters_are_joined(hub: Hub, query: str, found: list[str]) -> None:
    await hub.post("/tasks", {"title": "plain"})
    tagged = {"title": "tagged", "context_id": "talk", "stage_name": "draft", "workspace_id": UNLIKELY}
    first = (await hub.post("/tasks", tagged)).data["id"]
    await hub.post("/tasks", {"title": "waiting", "depends_on": [first]})
    assert [task["title"] for task in (await hub.get(f"/tasks?{query}")).data] == found


@pytest.mark.parametrize(
    "query", ["page=0", "per_page=0", "per_page=101", "page=x", "state=done", "origin=x", "workflow_id=x"]
)
async def test_unsuitable_filters_answer_400(hub: Hub, query: str) -> None:
    answer = await hub.get(f"/tasks?{query}")
    assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")
    assert query.split("=")[0] in answer.json["error"]["details"]["issues"]["fieldErrors"]


async def test_a_task_is_described_anew_but_never_moved_by_patch(hub: Hub) -> None:
    task = (await hub.post("/tasks", {"title": "old", "metadata": {"a": 1}})).data
    path = f"/api/v1/tasks/{task['id']}"
    changed = await hub.send("PATCH", path, json={"title": "new", "priority": "low", "metadata": {"b": 2}})
    assert (changed.data["title"], changed.data["priority"]) == ("new", "low")
    assert changed.data["metadata"] == {"a": 1, "b": 2}
    assert changed.data["version"] == task["version"] + 1
    assert (await hub.send("PATCH", path, json={"state": "completed"})).status == 422
    await hub.post(f"/tasks/{task['id']}/cancel")
    late = await hub.send("PATCH", path, json={"title": "later"})
    assert (late.status, late.code) == (409, "INVALID_STATE_TRANSITION")


async def test_a_batch_answers_each_item_in_its_place(hub: Hub) -> None:
    batch = {
        "tasks": [{"title": "one"}, {"title": "two", "preferred_agent_id": UNLIKELY}, {"title": "three"}]
    }
    answer = await hub.post("/tasks/batch", batch)
    assert answer.status == 200
    one, two, three = answer.data
    assert (one["data"]["title"], three["data"]["title"]) == ("one", "three")
    assert set(two) == {"error"}
    assert two["error"]["code"] == "VALIDATION_ERROR"
    assert (await hub.get("/tasks")).json["meta"]["total"] == 2


async def test_a_repeated_batch_makes_nothing_new(hub: Hub) -> None:
    batch = {"tasks": [{"title": str(n)} for n in range(50)], "request_id": "b1"}
    first, again = await hub.post("/tasks/batch", batch), await hub.post("/tasks/batch", batch)
    assert first.data == again.data
    assert again.headers["idempotency-replayed"] == "true"
    assert (await hub.get("/tasks")).json["meta"]["total"] == 50


async def test_an_item_of_a_batch_may_bring_its_own_replay_key(hub: Hub) -> None:
    first = (await hub.post("/tasks", {"title": "one", "request_id": "k1"})).data
    batch = {"tasks": [{"title": "one", "request_id": "k1"}, {"title": "other", "request_id": "k1"}]}
    same, other = (await hub.post("/tasks/batch", batch)).data
    assert same["data"] == first
    assert other["error"]["details"]["reason_code"] == "request_id_reused"
    unnamed = (await hub.post("/tasks/batch", {"tasks": [{"title": "two"}], "request_id": "b1"})).data
    assert unnamed[0]["data"]["request_id"] is None


async def test_a_batch_has_1_to_1000_tasks(hub: Hub) -> None:
    assert (await hub.post("/tasks/batch", {"tasks": []})).status == 422
    assert (await hub.post("/tasks/batch", {"tasks": [{"title": "x"}] * 1001})).status == 422
    nested = await hub.post("/tasks/batch", {"tasks": [{"title": "x"}, {"titel": "y"}]})
    assert nested.status == 422
    messages = nested.json["error"]["details"]["issues"]["fieldErrors"]["tasks"]
    assert any(message.startswith("1.titel") for message in messages)


async def test_queue_depth_counts_what_could_be_claimed_now(hub: Hub) -> None:
    first = (await hub.post("/tasks", {"title": "a", "priority": "high"})).data
    await hub.post("/tasks", {"title": "b", "required_tags": ["x"]})
    await hub.post("/tasks", {"title": "c", "depends_on": [first["id"]]})
    depth = (await hub.get("/tasks/queue-depth")).data
    assert depth["ready"] == 2
    assert depth["by_priority"] == {"critical": 0, "high": 1, "normal": 1, "low": 0}
    assert {"required_tags": ["x"], "ready": 1} in depth["by_tags"]
    assert (await hub.get("/tasks/queue-depth", key=await hub.key(Scope.AGENT))).status == 403


async def test_a_head_request_is_answered_like_a_get(hub: Hub) -> None:
    task = (await hub.post("/tasks", {"title": "x"})).data
    answer = await hub.send("HEAD", f"/api/v1/tasks/{task['id']}")
    assert answer.status == 200


async def test_the_correlation_id_of_the_caller_is_kept(hub: Hub) -> None:
    answer = await hub.get("/tasks", headers={"x-request-id": "abc-1"})
    assert answer.json["meta"]["request_id"] == answer.headers["x-request-id"] == "abc-1"
