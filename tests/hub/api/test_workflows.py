"""Workflows over REST: made, watched, steered, decided, and removed."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import pytest

from core.store import open_store
from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Hub, running

REVIEW: Mapping[str, Any] = {
    "parameters": [{"slug": "change", "title": "Change", "required": True}],
    "stages": [
        {
            "name": "build",
            "tasks": [
                {"name": "code", "input": {"change": "{{ parameters.change }}", "hint": "{{ inputs.hint }}"}},
                {"name": "test", "depends_on": ["code"], "deliverable": True},
            ],
            "gate": {"summary": "merge?"},
        },
        {"name": "ship", "tasks": [{"name": "ship", "deliverable": True}]},
    ],
    "output": {"shipped": "{{ tasks.ship.output }}"},
}


class Show:
    """A hub with a workspace, a playbook and somebody who does the work."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.reached: dict[str, int] = {}

    async def open(self, definition: Mapping[str, Any] = REVIEW) -> "Show":
        hub = self.hub
        self.workspace = (await hub.post("/workspaces", {"name": "w", "slug": "w"})).data
        body = {"name": "p", "outcome": "o", "definition": definition}
        self.playbook = (await hub.post("/playbooks", body)).data
        self.agent = await hub.agent()
        return self

    async def start(self, **more: Any) -> Any:
        body = {
            "playbook_id": self.playbook["id"],
            "workspace_id": self.workspace["id"],
            "name": "run",
            "parameters": {"change": "c1"},
            "initial_input_packet": {"structured_inputs": {"hint": "h"}},
            **more,
        }
        return await self.hub.post("/workflows", body)

    async def do(self, workflow: Mapping[str, Any], times: int = 1, **report: Any) -> list[str]:
        """Do so many tasks of the workflow, as they come."""
        done = []
        for _ in range(times):
            claim = {"agent_id": self.agent["id"], "start": True, "wait_seconds": 10}
            answer = await self.hub.post(
                "/tasks/claim", {**claim, "workflow_id": workflow["id"]}, key=self.agent["api_key"]
            )
            held = answer.data
            body = {"lease_id": held["lease_id"], "output": held["title"].upper(), **report}
            await self.hub.post(f"/tasks/{held['id']}/complete", body, key=self.agent["api_key"])
            done.append(held["title"])
        return done

    async def until(self, workflow: Mapping[str, Any], kind: str) -> None:
        """Return once the workflow's log says so: once more with every call."""
        after = self.reached.get(kind, 0)
        query = f"after={after}&workflow_id={workflow['id']}&event_type={kind}"
        async with self.hub.stream(f"/events/stream?{query}") as stream:
            await stream.until(f"event: {kind}\n")
            await stream.until("\n\n")
            self.reached[kind] = stream.events()[0]["id"]


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    """A running hub, with its clockwork."""
    async with running(open_store(database_url)) as hub:
        yield hub


@pytest.fixture
async def show(hub: Hub) -> Show:
    """Everything that a workflow needs."""
    return await Show(hub).open()


async def test_a_workflow_runs_through_its_gate_to_its_output(show: Show) -> None:
    hub = show.hub
    answer = await show.start()
    assert answer.status == 201
    made = answer.data
    assert (made["state"], made["current_stage"], made["active_stages"]) == ("active", "build", ["build"])
    assert [task["input"] for task in made["tasks"]] == [{"change": "c1", "hint": "h"}]
    assert made["tasks"][0]["origin"]["face"] == "workflow"
    path = f"/workflows/{made['id']}"
    assert await show.do(made, 2, metrics={"tokens_input": 5, "cost_usd": 0.5}) == ["code", "test"]
    await show.until(made, "stage.gate_requested")
    (gate,) = (await hub.get(f"{path}/gates")).data
    assert (gate["status"], gate["stage_name"], gate["request_summary"]) == (
        "awaiting_approval",
        "build",
        "merge?",
    )
    assert (await hub.get(f"{path}/gates/{gate['id']}")).data == gate
    feed = (await hub.get("/approvals")).data
    assert feed["stage_gates"] == [gate]
    assert feed["approvals"][0]["gate"] == gate
    assert [d["state"] for d in (await hub.get(f"{path}/deliverables")).data] == ["under_review"]
    refused = await hub.post(f"{path}/gates/{gate['id']}", {"action": "request_changes"})
    assert refused.status == 400
    again = {"action": "request_changes", "feedback": "no", "request_id": "once"}
    for _ in range(2):
        assert (await hub.post(f"{path}/gates/{gate['id']}", again)).data["status"] == "changes_requested"
    assert await show.do(made, 2) == ["code", "test"]
    await show.until(made, "stage.gate_requested")
    second = (await hub.get("/approvals")).data["stage_gates"][0]
    assert (await hub.post(f"/approvals/{second['id']}", {"action": "approve"})).data["status"] == "approved"
    assert await show.do(made) == ["ship"]
    await show.until(made, "workflow.completed")
    ended = (await hub.get(path)).data
    assert (ended["state"], ended["output"], ended["task_counts"]) == (
        "completed",
        {"shipped": "SHIP"},
        {"completed": 4},
    )
    assert [stage["status"] for stage in (await hub.get(f"{path}/stages")).data] == ["completed", "completed"]
    budget = (await hub.get(f"{path}/budget")).data
    assert (budget["tokens_used"], budget["cost_used_usd"]) == (5, 0.5)
    states = {d["descriptor_id"]: d["state"] for d in (await hub.get(f"{path}/deliverables")).data}
    assert states == {"test.1.0": "superseded", "test.2.0": "final", "ship.1.0": "final"}


async def test_what_is_wrong_with_a_start_is_told(show: Show) -> None:
    missing = await show.start(parameters={})
    assert (missing.status, missing.reason) == (400, "invalid_parameters")
    assert "parameters.change: is required" in missing.json["error"]["message"]
    unknown = await show.start(parameters={"change": "c", "chnage": "d"})
    assert "there is no such parameter" in unknown.json["error"]["message"]
    assert (await show.start(playbook_id=UNLIKELY)).status == 404
    assert (await show.start(workspace_id=UNLIKELY)).status == 404
    await show.hub.send("PATCH", f"/api/v1/playbooks/{show.playbook['id']}/archive", json={"archived": True})
    assert (await show.start()).reason == "playbook_inactive"


async def test_a_start_with_a_key_happens_once(show: Show) -> None:
    first, second = [(await show.start(request_id="once")).data["id"] for _ in range(2)]
    assert first == second
    assert len((await show.hub.get("/workflows")).data) == 1
    assert (await show.start(request_id="once", name="other")).reason == "request_id_reused"


async def test_a_workflow_is_held_let_go_and_stopped(show: Show) -> None:
    hub, made = show.hub, (await show.start()).data
    path = f"/workflows/{made['id']}"
    assert (await hub.post(f"{path}/resume")).status == 409
    paused = (await hub.post(f"{path}/pause", {"mode": "interrupt"})).data
    assert (paused["state"], paused["pause_mode"]) == ("paused", "interrupt")
    claim = {"agent_id": show.agent["id"]}
    assert (await hub.post("/tasks/claim", claim, key=show.agent["api_key"])).status == 204
    born = (
        await hub.post("/tasks", {"title": "more", "workflow_id": made["id"], "stage_name": "build"})
    ).data
    assert born["state"] == "pending"
    assert (await hub.post(f"{path}/resume")).data["state"] == "active"
    assert (await hub.post("/tasks/claim", claim, key=show.agent["api_key"])).status == 200
    assert (await hub.send("DELETE", f"/api/v1{path}")).reason == "workflow_not_over"
    cancelled = (await hub.post(f"{path}/cancel", {"reason": "enough"})).data
    assert cancelled["state"] == "cancelled"
    assert (await hub.post(f"{path}/cancel")).data == cancelled
    assert (await hub.post(f"{path}/pause")).code == "INVALID_STATE_TRANSITION"
    states = {task["state"] for task in (await hub.get(path)).data["tasks"]}
    assert states == {"cancelled"}


async def test_another_attempt_and_a_child_know_where_they_come_from(show: Show) -> None:
    hub, made = show.hub, (await show.start()).data
    path = f"/workflows/{made['id']}"
    assert (await hub.post(f"{path}/redrives")).reason == "workflow_not_over"
    plain = {"name": "c", "outcome": "o", "definition": {"stages": [{"name": "s", "tasks": [{"name": "a"}]}]}}
    other = (await hub.post("/playbooks", plain)).data
    child = await hub.post(f"{path}/chain", {"playbook_id": other["id"]})
    assert child.status == 201
    assert (child.data["parent_workflow_id"], child.data["root_workflow_id"]) == (made["id"], made["id"])
    assert (await hub.post(f"/workflows/{child.data['id']}/cancel")).data["state"] == "cancelled"
    (told,) = (await hub.get(f"{path}/activations")).data
    assert (told["event_type"], told["state"]) == ("child_workflow.cancelled", "queued")
    await show.do(made)
    await hub.post(f"{path}/cancel")
    again = (await hub.post(f"{path}/redrives", {"reason": "better luck"})).data
    assert (again["attempt_number"], again["attempt_kind"]) == (2, "redrive")
    assert again["previous_attempt_workflow_id"] == again["attempt_group_id"] == made["id"]
    assert [task["title"] for task in again["tasks"]] == ["test"]
    listed = (await hub.get("/workflows?state=cancelled")).data
    assert {item["id"] for item in listed} == {made["id"], child.data["id"]}
    assert (await hub.send("DELETE", f"/api/v1{path}")).reason == "workflow_inherited"


async def test_documents_and_activations_belong_to_their_workflow(show: Show) -> None:
    hub, made = show.hub, (await show.start()).data
    path = f"/workflows/{made['id']}/documents"
    body = {"logical_name": "a b", "source": "external", "url": "https://example.com/x"}
    assert (await hub.post(path, body)).status == 201
    assert (await hub.post(path, body)).reason == "name_taken"
    assert (await hub.post(path, {"logical_name": "c", "source": "repository", "path": "x"})).status == 400
    bad = {"logical_name": "c", "source": "artifact", "task_id": UNLIKELY, "artifact_id": "a"}
    assert (await hub.post(path, bad)).status == 400
    changed = await hub.send(
        "PATCH", f"/api/v1{path}/a b", json={"title": "T", "url": "https://example.com/y"}
    )
    assert (changed.data["title"], changed.data["url"]) == ("T", "https://example.com/y")
    assert [item["logical_name"] for item in (await hub.get(path)).data] == ["a b"]
    assert (await hub.send("DELETE", f"/api/v1{path}/a b")).status == 204
    assert (await hub.get(path)).data == []
    wake = {"reason": "look", "event_type": "x", "request_id": "once"}
    woken = [(await hub.post(f"/workflows/{made['id']}/activations", wake)).data for _ in range(2)]
    assert woken[0] == woken[1]
    found = await hub.get(f"/workflows/{made['id']}/activations/{woken[0]['id']}")
    assert found.data == woken[0]
    await hub.post(f"/workflows/{made['id']}/cancel")
    assert (await hub.get(f"/workflows/{made['id']}/activations/{woken[0]['id']}")).data["state"] == "failed"
    assert (await hub.post(f"/workflows/{made['id']}/activations", {**wake, "request_id": "2"})).status == 409


async def test_settings_change_only_as_they_were_read(show: Show) -> None:
    hub, made = show.hub, (await show.start()).data
    path = f"/api/v1/workflows/{made['id']}/settings"
    body = {"settings_revision": 1, "live_visibility_mode": "enhanced"}
    assert (await hub.send("PATCH", path, json=body)).data["settings_revision"] == 2
    assert (await hub.send("PATCH", path, json=body)).reason == "stale_revision"
    assert (await hub.get(f"/workflows/{made['id']}/settings")).data["live_visibility_mode"] == "enhanced"


async def test_what_is_over_is_removed_with_its_tasks(show: Show) -> None:
    hub, made = show.hub, (await show.start()).data
    await hub.post(f"/workflows/{made['id']}/cancel")
    other = (await show.start()).data
    ids = [made["id"], other["id"], UNLIKELY]
    gone = (await hub.post("/workflows/bulk-delete", {"workflow_ids": ids})).data
    assert (gone["deleted"], gone["failed"]) == (1, 2)
    assert [result["deleted"] for result in gone["results"]] == [True, False, False]
    assert (await hub.get(f"/tasks/{made['tasks'][0]['id']}")).status == 404
    in_use = await hub.send("DELETE", f"/api/v1/workspaces/{show.workspace['id']}?cascade=true")
    assert in_use.reason == "workspace_in_use"
    await hub.post(f"/workflows/{other['id']}/cancel")
    assert (await hub.send("DELETE", f"/api/v1/playbooks/{show.playbook['id']}")).reason == "playbook_in_use"
    await hub.send("DELETE", f"/api/v1/workspaces/{show.workspace['id']}?cascade=true")
    assert (await hub.get("/workflows")).data == []


async def test_agents_of_the_tenant_watch_and_strangers_see_nothing(show: Show) -> None:
    hub, made = show.hub, (await show.start()).data
    agent, elsewhere = await hub.key(Scope.AGENT), await hub.key(Scope.ADMIN, tenant_id=UUID(int=7))
    path = f"/workflows/{made['id']}"
    for below in (
        "",
        "/board",
        "/stages",
        "/gates",
        "/documents",
        "/activations",
        "/deliverables",
        "/budget",
    ):
        assert (await hub.get(f"{path}{below}", key=agent)).status == 200
        assert (await hub.get(f"{path}{below}", key=elsewhere)).status == 404
    await show.until(made, "task.created")  # the log has it all before it is read
    kinds = [event["type"] for event in (await hub.get(f"{path}/events?after=0", key=agent)).data]
    assert {"workflow.created", "stage.started", "task.created"} <= {*kinds}
    assert (await hub.get(f"{path}/events", key=elsewhere)).status == 404
    assert (await hub.get("/workflows", key=elsewhere)).data == []
    board = (await hub.get(f"{path}/board", key=agent)).data
    placed = {item["id"]: column["id"] for column in board["columns"] for item in column["items"]}
    assert placed == {"code": "active", "test": "inbox", "ship": "inbox"}


async def test_a_task_joins_only_a_stage_that_is_there(show: Show) -> None:
    hub, made = show.hub, (await show.start()).data
    task = {"title": "t", "workflow_id": made["id"], "stage_name": "bulid"}
    assert (await hub.post("/tasks", task)).reason == "unknown_stage_name"
    assert (await hub.post("/tasks", {**task, "workflow_id": UNLIKELY})).status == 400
    await hub.post(f"/workflows/{made['id']}/cancel")
    assert (await hub.post("/tasks", {**task, "stage_name": "build"})).reason == "workflow_over"


async def test_lists_are_read_on_from_the_last_one_of_a_page(show: Show) -> None:
    made = [(await show.start()).data["id"] for _ in range(3)]
    for path, ids in (("/workflows", made), ("/tasks", None)):
        everything = [item["id"] for item in (await show.hub.get(f"{path}?per_page=100")).data]
        assert ids is None or everything == made[::-1]
        found: list[str] = []
        before = ""
        while page := (await show.hub.get(f"{path}?per_page=1{before}")).data:
            found += [item["id"] for item in page]
            before = f"&before={found[-1]}"
        assert found == everything
