"""Work items over REST, what belongs to them, and what is done to tasks beside judging them."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest

from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Answer, Hub

Json = Mapping[str, Any]
ONGOING: Json = {"stages": [{"name": "work"}], "lifecycle": "ongoing"}
HELD: Json = {"type": "string"}
"""An output schema that no output of these tests fits."""


class Yard:
    """A hub with a workflow of work items, and somebody who does their tasks."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    async def open(self) -> "Yard":
        hub = self.hub
        workspace = (await hub.post("/workspaces", {"name": "w", "slug": "w"})).data
        body = {"name": "p", "outcome": "o", "definition": ONGOING}
        playbook = (await hub.post("/playbooks", body)).data
        run = {"playbook_id": playbook["id"], "workspace_id": workspace["id"], "name": "run"}
        self.workflow = (await hub.post("/workflows", run)).data
        self.items = f"/workflows/{self.workflow['id']}/work-items"
        self.agent = await hub.agent(max_concurrent=100)
        return self

    async def item(self, **fields: Any) -> Any:
        answer = await self.hub.post(self.items, {"title": "a thing", **fields})
        assert answer.status == 201, answer.body
        return answer.data

    async def task(self, item: Json, **fields: Any) -> Any:
        return (await self.hub.post("/tasks", {"title": "t", "work_item_id": item["id"], **fields})).data

    async def held(self, item: Json, **fields: Any) -> Any:
        """A task of the item that the agent works on."""
        task = await self.task(item, **fields)
        claim = {"agent_id": self.agent["id"], "start": True, "limit": 10}
        claims = (await self.hub.post("/tasks/claim", claim, key=self.agent["api_key"])).data
        return next(found for found in claims if found["id"] == task["id"])

    async def report(self, task: Json, what: str, **body: Any) -> Answer:
        body = {"lease_id": task["lease_id"], **body}
        return await self.hub.post(f"/tasks/{task['id']}/{what}", body, key=self.agent["api_key"])

    async def failed(self, item: Json) -> Any:
        task = await self.held(item)
        return (await self.report(task, "fail", error={"category": "x", "message": "y"})).data

    async def judged(self, item: Json) -> Any:
        task = await self.held(item, output_schema=HELD)
        return (await self.report(task, "complete", output=1)).data

    async def escalated(self, item: Json) -> Any:
        task = await self.held(item)
        return (await self.report(task, "agent-escalate", reason="r")).data

    async def waiting(self, item: Json) -> Any:
        return await self.task(item, requires_approval=True)

    async def patch(self, path: str, body: Json, **options: Any) -> Answer:
        return await self.hub.send("PATCH", f"/api/v1{path}", json=body, **options)


@pytest.fixture
async def yard(hub: Hub) -> Yard:
    return await Yard(hub).open()


async def test_an_item_is_made_read_moved_completed_and_seen_on_the_board(yard: Yard) -> None:
    hub = yard.hub
    packet = {"summary": "s", "structured_inputs": {"n": 1}}
    fields = {"goal": "g", "priority": "high", "notes": "n", "metadata": {"a": 1}}
    item = await yard.item(**fields, initial_input_packet=packet, request_id="r")
    again = await hub.post(
        yard.items, {"title": "a thing", **fields, "initial_input_packet": packet, "request_id": "r"}
    )
    assert (again.status, again.data["id"]) == (201, item["id"])
    assert (item["state"], item["column_id"], item["created_by"]) == ("open", "inbox", "api")
    assert item["initial_input_packet"] == {"summary": "s", "n": 1}
    child = await yard.item(parent_work_item_id=item["id"])
    path = f"{yard.items}/{item['id']}"
    agent = await hub.key(Scope.AGENT)
    seen = (await hub.get(f"{path}?include_children=true", key=agent)).data
    assert ([c["id"] for c in seen["children"]], seen["is_milestone"]) == ([child["id"]], True)
    grouped = (await hub.get(f"{yard.items}?grouped=true", key=agent)).data
    assert [(i["id"], [c["id"] for c in i["children"]]) for i in grouped] == [(item["id"], [child["id"]])]
    below = (await hub.get(f"{yard.items}?parent_work_item_id={item['id']}&column_id=inbox")).data
    assert [i["id"] for i in below] == [child["id"]]
    done = await yard.patch(path, {"column_id": "done", "metadata": {"b": 2}})
    assert (done.data["state"], done.data["metadata"]) == ("completed", {"a": 1, "b": 2})
    detail = (await hub.get(f"/workflows/{yard.workflow['id']}")).data
    assert [i["id"] for i in detail["work_items"]] == [item["id"], child["id"]]
    assert detail["work_item_summary"]["open_work_item_count"] == 1
    assert detail["workflow_stages"][0]["total_work_item_count"] == 2
    board = (await hub.get(f"/workflows/{yard.workflow['id']}/board")).data
    places = {i["id"]: (c["id"], i["kind"]) for c in board["columns"] for i in c["items"]}
    assert places == {item["id"]: ("done", "work_item"), child["id"]: ("inbox", "work_item")}


async def test_an_item_is_held_let_go_and_stopped(yard: Yard) -> None:
    path = f"{yard.items}/{(await yard.item())['id']}"
    for what, state in (("pause", "paused"), ("resume", "open"), ("cancel", "cancelled")):
        answer = await yard.hub.post(f"{path}/{what}")
        assert (answer.status, answer.data["state"]) == (200, state)
    for what in ("pause", "resume"):
        assert (await yard.hub.post(f"{path}/{what}")).status == 409
    assert (await yard.patch(path, {"column_id": "inbox"})).status == 409
    done = f"{yard.items}/{(await yard.item())['id']}"
    assert (await yard.patch(done, {"column_id": "done"})).status == 200
    assert (await yard.hub.post(f"{done}/cancel")).status == 409
    await yard.hub.post(f"/workflows/{yard.workflow['id']}/cancel")
    late = await yard.hub.post(yard.items, {"title": "late"})
    assert (late.status, late.reason) == (409, "workflow_over")


async def test_a_foreign_or_missing_item_is_not_found_on_any_path(yard: Yard) -> None:
    hub, item = yard.hub, await yard.item()
    elsewhere = await hub.key(Scope.ADMIN, tenant_id=UUID(UNLIKELY))
    gets = ("", "/tasks", "/events", "/handoffs", "/handoffs/latest", "/memory", "/memory/history")
    for base, key in ((f"{yard.items}/{UNLIKELY}", None), (f"{yard.items}/{item['id']}", elsewhere)):
        options = {} if key is None else {"key": key}
        for below in gets:
            assert (await hub.get(f"{base}{below}", **options)).status == 404, below
        assert (await yard.patch(base, {"notes": "n"}, **options)).status == 404
        for what, body in OF_ITEM:
            assert (await hub.post(f"{base}/{what}", body, **options)).status == 404, what
    nowhere = f"/workflows/{UNLIKELY}/work-items"
    assert (await hub.get(nowhere)).status == 404
    assert (await hub.post(nowhere, {"title": "t"})).status == 404


OF_ITEM: list[tuple[str, Json]] = [
    ("pause", {}),
    ("resume", {}),
    ("cancel", {}),
    ("retry", {}),
    ("skip", {"reason": "r"}),
    ("resolve-escalation", {"action": "dismiss"}),
]
SAID: Json = {
    "cancel": {},
    "retry": {},
    "approve": {},
    "approve-output": {},
    "reject": {"feedback": "f"},
    "rework": {"feedback": "f"},
    "request-changes": {"feedback": "f"},
    "skip": {"reason": "r"},
    "reassign": {"reason": "r"},
    "escalate": {"reason": "r"},
    "escalation-response": {"instructions": "i"},
    "agent-escalate": {"reason": "r"},
    "resolve-escalation": {"instructions": "i"},
    "output-override": {"output": 2, "reason": "r"},
}
FITS: Mapping[str, tuple[str, str]] = {
    "cancel": ("held", "cancelled"),
    "retry": ("failed", "ready"),
    "approve": ("waiting", "ready"),
    "approve-output": ("judged", "completed"),
    "reject": ("judged", "failed"),
    "rework": ("judged", "ready"),
    "request-changes": ("failed", "ready"),
    "skip": ("waiting", "completed"),
    "reassign": ("held", "ready"),
    "escalate": ("held", "escalated"),
    "escalation-response": ("escalated", "escalated"),
    "agent-escalate": ("held", "escalated"),
    "resolve-escalation": ("escalated", "ready"),
    "output-override": ("failed", "completed"),
}
"""Where a task has to stand for an operation, and where it stands then."""
MISFITS: Mapping[str, str] = {
    "retry": "held",
    "approve": "held",
    "skip": "held",
    "reassign": "escalated",
    "output-override": "held",
}
"""Where it may not stand; else it may not wait for leave to start."""


@pytest.mark.parametrize("what", list(SAID))
async def test_an_operation_on_a_task_is_the_same_under_its_item(yard: Yard, what: str) -> None:
    hub, item = yard.hub, await yard.item()
    made, wanted = FITS[what]
    key = {"key": yard.agent["api_key"]} if what == "agent-escalate" else {}
    for base in ("/tasks", f"{yard.items}/{item['id']}/tasks"):
        task = await getattr(yard, made)(item)
        body = dict(SAID[what])
        if what == "agent-escalate":
            body["lease_id"] = task["lease_id"]
        for replayed in (None, "true"):
            answer = await hub.post(f"{base}/{task['id']}/{what}", {**body, "request_id": base}, **key)
            assert (answer.status, answer.data["state"]) == (200, wanted), answer.body
            assert answer.headers.get("idempotency-replayed") == replayed
        assert (await hub.post(f"{base}/{UNLIKELY}/{what}", body)).status == 404
        if what in ("reject", "rework", "request-changes"):
            other = await yard.held(item)
            await yard.report(other, "refuse", reason="r")
        elif what == "cancel":
            other = await yard.held(item)
            body = {"lease_id": UNLIKELY}
        else:
            other = await getattr(yard, MISFITS.get(what, "waiting"))(item)
        refused = await hub.post(f"{base}/{other['id']}/{what}", body)
        assert refused.status == 409, (refused.status, refused.body)


@pytest.mark.parametrize("what", ["retry", "rework", "request-changes"])
async def test_a_task_born_in_a_conversation_is_done_again_by_a_new_one(yard: Yard, what: str) -> None:
    made = await yard.hub.post("/a2a/tasks", {"task": {"title": "x"}})
    claim = {"agent_id": yard.agent["id"], "start": True}
    task = (await yard.hub.post("/tasks/claim", claim, key=yard.agent["api_key"])).data
    await yard.report(task, "fail", error={"category": "x", "message": "y"})
    again = await yard.hub.post(f"/tasks/{task['id']}/{what}", SAID[what])
    assert (again.status, again.data["previous_task_id"]) == (201, task["id"]), made.body


async def test_a_task_under_the_wrong_item_is_not_found(yard: Yard) -> None:
    item, other = await yard.item(), await yard.item()
    task = await yard.task(item)
    wrong = f"{yard.items}/{other['id']}/tasks/{task['id']}/skip"
    assert (await yard.hub.post(wrong, {"reason": "r"})).status == 404
    right = f"{yard.items}/{item['id']}/tasks/{task['id']}/skip"
    assert (await yard.hub.post(right, {"reason": "r"}, key=await yard.hub.key(Scope.AGENT))).status == 403


async def test_an_item_speaks_for_its_tasks(yard: Yard) -> None:
    hub, item = yard.hub, await yard.item()
    path = f"{yard.items}/{item['id']}"
    for what, body in OF_ITEM[3:]:
        refused = await hub.post(f"{path}/{what}", body)
        assert refused.status == 409, what
    failed = await yard.failed(item)
    tried = await hub.post(f"{path}/retry", {"override_input": {"n": 1}})
    assert (tried.status, tried.data["task_counts"]) == (200, {"ready": 1})
    skipped = await hub.post(f"{path}/skip", {"reason": "r"})
    assert (skipped.status, skipped.data["task_counts"]) == (200, {"completed": 1})
    task = await yard.escalated(item)
    assert (await hub.get(path)).data["escalation_task_id"] == task["id"]
    decision = {"action": "unblock_subject", "feedback": "go on"}
    decided = await hub.post(f"{path}/resolve-escalation", decision)
    assert (decided.status, decided.data["escalation_status"]) == (200, None)
    assert [t["id"] for t in (await hub.get(f"{path}/tasks?limit=5")).data] == [task["id"], failed["id"]]


async def test_what_was_handed_on_and_remembered_is_read_by_whoever_comes_next(yard: Yard) -> None:
    hub, item = yard.hub, await yard.item()
    path, key = f"{yard.items}/{item['id']}", yard.agent["api_key"]
    assert (await hub.get(f"{path}/handoffs/latest")).data is None
    task = await yard.held(item)
    assert (await hub.get(f"/tasks/{task['id']}/predecessor-handoff")).data is None
    said = {"summary": "half", "changes": ["a"], "decision_state": "approved", "known_risks": ["rain"]}
    given = await yard.report(task, "handoff", **said)
    assert (given.status, given.data["resolution"], given.data["known_risks"]) == (200, "approved", ["rain"])
    assert (await yard.report(task, "handoff", **{**said, "summary": "whole"})).reason == "handoff_exists"
    assert (await yard.report(task, "handoff", **said, resolution="rejected")).status == 422
    missing = await hub.post(f"/tasks/{UNLIKELY}/handoff", {"summary": "s"})
    assert missing.status == 404
    lease = {"lease_id": task["lease_id"]}
    memory = f"/tasks/{task['id']}/memory"
    kept = await yard.patch(memory, {**lease, "updates": {"Plan": {"x": "Bees"}, "y": 1}}, key=key)
    assert [entry["key"] for entry in kept.data] == ["Plan", "y"]
    left = await yard.patch(memory, {**lease, "updates": {"y": None}}, key=key)
    assert [entry["key"] for entry in left.data] == ["Plan"]
    assert [e["value"] for e in (await hub.get(f"{memory}/search?q=bees", key=key)).data] == [{"x": "Bees"}]
    assert (await hub.get(f"{memory}?key=y", key=key)).data == []
    past = (await hub.get(f"{path}/memory/history")).data
    assert [(e["key"], e["removed"]) for e in past] == [("y", True), ("y", False), ("Plan", False)]
    assert [e["key"] for e in (await hub.get(f"{path}/memory")).data] == ["Plan"]
    await yard.report(task, "complete", output={"done": True})
    assert (await yard.patch(memory, {**lease, "updates": {"z": 1}}, key=key)).status == 409
    stranger = await hub.agent()
    for read in (memory, f"{memory}/search?q=a"):
        assert (await hub.get(read, key=stranger["api_key"])).status == 403
    follower = await yard.task(item, depends_on=[task["id"]])
    found = (await hub.get(f"/tasks/{follower['id']}/predecessor-handoff")).data
    assert (found["id"], (await hub.get(f"{path}/handoffs")).data[0]["id"]) == (given.data["id"],) * 2
    packet = (await hub.get(f"/tasks/{follower['id']}/context?agent_id={yard.agent['id']}", key=key)).data
    assert packet["work_item"]["id"] == item["id"]
    assert packet["dependencies"][0]["output"] == {"done": True}
    assert packet["predecessor_handoff"]["summary"] == "half"
    assert packet["memory"] == {"Plan": {"x": "Bees"}}
    assert packet["agent"]["id"] == yard.agent["id"]
    for below in ("memory", "memory/search?q=a", "context", "predecessor-handoff"):
        assert (await hub.get(f"/tasks/{UNLIKELY}/{below}")).status == 404
    assert (await yard.patch(f"/tasks/{UNLIKELY}/memory", {"updates": {"a": 1}})).status == 404


async def test_the_events_of_an_item_are_its_own_and_those_of_its_tasks(yard: Yard) -> None:
    item, other = await yard.item(), await yard.item()
    task, _ = await yard.task(item), await yard.task(other)
    async with yard.hub.stream(f"/events/stream?work_item_id={item['id']}&after=0") as stream:
        await stream.until("task.created")
    events = (await yard.hub.get(f"{yard.items}/{item['id']}/events")).data
    kinds = [event["type"] for event in events]
    assert {"work_item.created", "work_item.moved", "task.created"} == {*kinds}
    assert {event["entity_id"] for event in events} == {item["id"], task["id"]}


async def test_too_large_a_memory_is_refused_whole(yard: Yard) -> None:
    task = await yard.held(await yard.item())
    lease = {"lease_id": task["lease_id"]}
    path, key = f"/tasks/{task['id']}/memory", yard.agent["api_key"]
    half = {"a": "x" * 600_000}
    assert (await yard.patch(path, {**lease, "updates": half}, key=key)).status == 200
    refused = await yard.patch(path, {**lease, "updates": {"b": "x" * 600_000}}, key=key)
    assert refused.status == 400
    assert [e["key"] for e in (await yard.hub.get(path, key=key)).data] == ["a"]


async def test_tasks_are_found_by_the_backend_that_they_are_for(yard: Yard) -> None:
    steering = (await yard.hub.post("/tasks", {"title": "s", "is_orchestrator_task": True})).data
    plain = (await yard.hub.post("/tasks", {"title": "p"})).data
    for query, found in (
        ("execution_backend=runtime_only", [steering["id"]]),
        ("execution_backend=runtime_plus_task", [plain["id"]]),
        ("execution_backend=runtime_only&is_orchestrator_task=false", []),
    ):
        assert [task["id"] for task in (await yard.hub.get(f"/tasks?{query}")).data] == found
