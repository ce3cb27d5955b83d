"""Execution logs and metering over REST."""

import asyncio
import csv
import io
import json
from collections.abc import Mapping
from typing import Any

import pytest

from hub.openapi import PATH
from schemas.vocabulary import Scope
from tests.fakes import FakeClock
from tests.hub.api.hub import UNLIKELY, Hub

Json = Mapping[str, Any]
LINE = {
    "trace_id": "t1",
    "span_id": "s1",
    "source": "runtime",
    "category": "tool",
    "level": "info",
    "operation": "tool.shell",
    "status": "completed",
}


async def written(hub: Hub, *lines: Json, key: str | None = None) -> Json:
    """What became of lines."""
    options = {} if key is None else {"key": key}
    answer = await hub.post("/logs/ingest", {"entries": [{**LINE, **line} for line in lines]}, **options)
    assert answer.status == 201, answer.body
    data: Json = answer.data
    return data


async def test_each_line_is_judged_by_itself_and_the_first_ten_refusals_are_told(hub: Hub) -> None:
    wrong: list[Json] = [{"level": "loud"}] * 11 + [{"task_id": UNLIKELY}, {"payload": {"x": "y" * 40_000}}]
    said = await written(hub, {}, *wrong, {"operation": "second"})
    assert (said["accepted"], said["rejected"], len(said["rejection_details"])) == (2, 13, 10)
    assert said["rejection_details"][0]["index"] == 1
    assert said["rejection_details"][0]["reason"].startswith("level")
    unknown = await written(hub, {"task_id": UNLIKELY})
    assert unknown["rejection_details"] == [{"index": 0, "trace_id": "t1", "reason": "no such task"}]
    assert [row["operation"] for row in (await hub.get("/logs")).data] == ["second", "tool.shell"]


@pytest.mark.parametrize("count", [0, 101])
async def test_a_call_brings_one_to_a_hundred_lines(hub: Hub, count: int) -> None:
    assert (await hub.post("/logs/ingest", {"entries": [LINE] * count})).status == 422


async def test_secrets_are_covered_wherever_they_stand(hub: Hub) -> None:
    payload = {"api_key": "k", "args": ["Bearer abcdefgh"], "tokens": 3, "note": "used sk-1234567890 twice"}
    error = {"message": "401 for https://me:pw@host/x", "stack": "at Bearer abcdefgh"}
    await written(hub, {"payload": payload, "error": error})
    answer = await hub.get("/logs")
    assert answer.data[0]["payload"]["tokens"] == 3
    assert answer.data[0]["payload"]["note"] == "used redacted://log-secret twice"
    for secret in (b"abcdefgh", b"sk-1234", b"me:pw", b'"k"'):
        assert secret not in answer.body


async def test_pages_follow_one_another_in_both_directions_without_a_gap(hub: Hub, clock: FakeClock) -> None:
    for number in range(7):
        await written(hub, {"operation": f"o{number}"})
        clock.advance(number % 2)
    for order, wanted in (("asc", list(range(7))), ("desc", list(range(6, -1, -1)))):
        seen: list[str] = []
        cursor = ""
        while True:
            answer = await hub.get(f"/logs?order={order}&per_page=3{cursor}")
            seen += [row["operation"] for row in answer.data]
            pagination = answer.json["pagination"]
            assert pagination["per_page"] == 3
            if not pagination["has_more"]:
                break
            cursor = f"&cursor={pagination['next_cursor']}"
        assert seen == [f"o{number}" for number in wanted]
    assert (await hub.get("/logs?cursor=bm90aGluZw")).status == 400


async def test_filters_narrow_and_search_looks_within(hub: Hub) -> None:
    await written(
        hub,
        {"operation": "a", "level": "error", "error": {"message": "no route to 100%"}},
        {"operation": "b", "source": "platform", "category": "api", "actor_type": "agent"},
        {"operation": "c", "payload": {"file": "Main.py"}, "status": "failed"},
    )

    async def found(query: str) -> list[str]:
        return sorted(row["operation"] for row in (await hub.get(f"/logs?{query}")).data)

    assert await found("level=error,debug") == ["a"]
    assert await found("source=platform&category=api") == ["b"]
    assert await found("status=failed,started") == ["c"]
    assert await found("actor_kind=agent") == ["b"]
    assert await found("search=main.PY") == ["c"]
    assert await found("search=0%25") == ["a"]
    assert await found("trace_id=t1&operation=a,c") == ["a", "c"]
    assert await found("until=2000-01-01T00:00:00Z") == []
    assert (await hub.get("/logs?level=loud")).status == 400


async def test_a_list_reaches_back_a_day_unless_it_says_since(hub: Hub, clock: FakeClock) -> None:
    await written(hub, {})
    clock.advance(2 * 86_400)
    assert (await hub.get("/logs")).data == []
    assert len((await hub.get("/logs?since=2020-01-01T00:00:00Z")).data) == 1


async def test_a_summary_leaves_out_payload_and_stack(hub: Hub) -> None:
    await written(hub, {"payload": {"a": 1}, "error": {"message": "m", "stack": "s"}})
    (short,) = (await hub.get("/logs?detail=summary")).data
    assert (short["payload"], short["error"]) == (None, {"message": "m"})
    whole = (await hub.get(f"/logs/{short['id']}")).data
    assert (whole["payload"], whole["error"]["stack"]) == ({"a": 1}, "s")
    assert (await hub.get(f"/logs/{UNLIKELY}")).status == 404


async def test_a_log_of_a_foreign_task_is_as_if_it_were_not_there(hub: Hub) -> None:
    mine, other = [await hub.key(Scope.WORKER) for _ in range(2)]
    task = (await hub.post("/tasks", {"title": "x"}, key=mine)).data
    assert (await written(hub, {"task_id": task["id"]}, key=mine))["accepted"] == 1
    assert (await written(hub, {"task_id": task["id"]}, key=other))["rejected"] == 1
    (row,) = (await hub.get(f"/logs?task_id={task['id']}", key=mine)).data
    assert (await hub.get("/logs", key=other)).data == []
    assert (await hub.get(f"/logs/{row['id']}", key=other)).status == 404
    assert (await hub.get("/logs/stats", key=other)).data["totals"]["count"] == 0
    assert (await hub.post("/logs/ingest", {"entries": [LINE]}, key=await hub.key(Scope.AGENT))).status == 403
    assert (await hub.get("/logs/export", key=mine)).status == 403


async def test_logs_are_followed_as_they_come(hub: Hub) -> None:
    await written(hub, {"operation": "before"})
    async with hub.stream("/logs/stream?operation=wanted") as stream:
        await stream.until("event: heartbeat")
        await written(hub, {"operation": "wanted", "level": "warn"}, {"operation": "unwanted"})
        text = await stream.until('"operation":"wanted"')
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert "access-control-allow-origin" not in stream.headers
    assert text.count("event: log") == 1
    assert "before" not in text


async def test_no_origin_but_the_hubs_own_follows_logs(hub: Hub) -> None:
    answer = await hub.get("/logs/stream", headers={"origin": "https://evil.example"})
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers


async def test_logs_are_counted_by_a_field(hub: Hub) -> None:
    await written(
        hub,
        {"level": "error", "duration_ms": 10},
        {"category": "llm", "duration_ms": 20},
        {"category": "llm", "duration_ms": 40},
    )
    stats = (await hub.get("/logs/stats?group_by=category")).data
    assert stats["groups"] == [
        {"group": "llm", "count": 2, "error_count": 0, "total_duration_ms": 60, "avg_duration_ms": 30},
        {"group": "tool", "count": 1, "error_count": 1, "total_duration_ms": 10, "avg_duration_ms": 10},
    ]
    assert stats["totals"] == {"count": 3, "error_count": 1, "total_duration_ms": 70}
    assert (await hub.get("/logs/stats?group_by=is_orchestrator_task")).data["groups"][0]["group"] == "false"
    assert (await hub.get("/logs/stats?group_by=payload")).status == 400


async def test_an_export_holds_everything_and_no_formula(hub: Hub) -> None:
    for start in range(0, 600, 100):
        await written(hub, *({"operation": f"=o{number}"} for number in range(start, start + 100)))
    as_json = json.loads((await hub.get("/logs/export?format=json")).body)
    assert [row["operation"] for row in as_json] == [f"=o{number}" for number in range(600)]
    answer = await hub.get("/logs/export?format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [row["operation"] for row in rows] == [f"'=o{number}" for number in range(600)]
    assert json.loads((await hub.get("/logs/export?level=debug")).body) == []


async def test_a_workflows_budget_counts_what_was_metered(hub: Hub) -> None:
    paths = json.loads(PATH.read_text())["paths"]
    made: dict[str, Any] = {}
    for kind in ("workspaces", "playbooks", "workflows"):
        operation = paths[f"/api/v1/{kind}"]["post"]
        body = operation["requestBody"]["content"]["application/json"]["example"]
        for name in ("workspace", "playbook"):
            if f"{name}_id" in body:
                body[f"{name}_id"] = made[f"{name}s"]["id"]
        made[kind] = (await hub.post(f"/{kind}", body)).data
    path = f"/workflows/{made['workflows']['id']}"
    async with asyncio.timeout(10):
        while not (tasks := (await hub.get(path)).data["tasks"]):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)
    metered = {"task_id": tasks[0]["id"], "tokens_input": 30, "tokens_output": 12, "cost_usd": 0.25}
    assert (await hub.post("/metering/events", metered)).data["workflow_id"] == made["workflows"]["id"]
    budget = (await hub.get(f"{path}/budget")).data
    assert (budget["tokens_used"], budget["cost_used_usd"]) == (42, 0.25)


async def test_what_was_used_is_written_read_and_summed_up(hub: Hub) -> None:
    worker = await hub.key(Scope.WORKER)
    task = (await hub.post("/tasks", {"title": "x"}, key=worker)).data
    camel = {"taskId": task["id"], "tokensInput": 10, "costUsd": 0.5, "memoryPeakBytes": 7}
    snake = {"task_id": task["id"], "tokens_output": 5, "cost_usd": 1, "memory_peak_bytes": 3}
    for body in (camel, snake):
        made = await hub.post("/metering/events", {**body, "request_id": json.dumps(body)[:100]}, key=worker)
        assert made.status == 201, made.body
    again = await hub.post("/metering/events", {**camel, "request_id": json.dumps(camel)[:100]}, key=worker)
    assert again.headers["idempotency-replayed"] == "true"
    listed = await hub.get(f"/metering/events?task_id={task['id']}")
    assert [(row["tokens_input"], row["cost_usd"]) for row in listed.data] == [(0, 1.0), (10, 0.5)]
    assert listed.json["meta"]["total"] == 2
    summary = (await hub.get(f"/metering/summary?task_id={task['id']}")).data
    assert (summary["events"], summary["tokens_input"], summary["tokens_output"]) == (2, 10, 5)
    assert (summary["cost_usd"], summary["memory_peak_bytes"]) == (1.5, 7)
    other = await hub.key(Scope.WORKER)
    assert (await hub.post("/metering/events", camel, key=other)).status == 404
    assert (await hub.get("/metering/summary", key=worker)).status == 403
