"""A fuzzer reads `openapi.json` and calls a running hub with keys of each scope, with good data and bad.

It must never see a 5xx, a status or a media type that is not documented, or an answer that does not fit its
schema. Half of the calls are aimed at objects that exist, so that they get behind the 404.
"""

import asyncio
import json
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from hub.app import build
from hub.openapi import PATH
from hub.server import Serving
from hub.settings import Settings
from schemas.vocabulary import Scope
from tests.hub.api.hub import ADMIN_KEY, SECRET, Hub

# The hub runs in a thread of this process, and draws random numbers of its own while a strategy draws some.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

EXAMPLES = 8
"""Per operation, scope and kind of data: most calls are aimed, and there are many operations."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
STREAMS = {"events_stream", "legacy_a2a_events", "logs_stream", "tasks_stream"}
"""Never end by themselves; tested by hand."""
SCOPES = [None, *Scope]
POOLS = ("working", "judged", "asking", "failed", "working", "judged", "permission", "done", "asking")
FITTING = {
    "tasks_input": "asking",
    "tasks_retry": "failed",
    "tasks_approve_output": "judged",
    "tasks_rework": "judged",
    "tasks_request_changes": "judged",
    "tasks_reject": "judged",
    "tasks_output_override": "failed",
}
"""Where a task should stand for an operation to succeed."""
FITTING_ITEM = {
    "approve": "awaiting_approval",
    "approve-output": "output_pending_assessment",
    "reject": "output_pending_assessment",
    "rework": "output_pending_assessment",
    "request-changes": "output_pending_assessment",
    "escalate": "in_progress",
    "agent-escalate": "in_progress",
    "escalation-response": "escalated",
    "resolve-escalation": "escalated",
    "output-override": "failed",
    "retry": "failed",
}
"""Where a task of a work item should stand for an operation to succeed, by the last part of its path."""
RATIONED = {"auth_login", "auth_token", "auth_refresh", "api_keys_create", "api_keys_revoke"}
"""So few calls a minute that none of them needs to hit."""


ELSEWHERE = ("remote_", "mcp_", "turns_", "acp_", "push_configs_", "hooks_")
"""Operations that need a server outside, an editor or an A2A client: their own tests bring them."""


@dataclass
class Target:
    """A hub on a socket, its keys, and things in it to aim at."""

    url: str
    keys: Mapping[Scope, str]
    tasks: Sequence[Mapping[str, Any]]
    pools: Mapping[str, Sequence[Mapping[str, Any]]]
    """The same by where they stood at first."""
    agents: Sequence[Mapping[str, Any]]
    approvals: Sequence[Mapping[str, Any]]
    things: Mapping[str, Sequence[Mapping[str, Any]]]
    """What else there is, by the first part of its path."""


def example_of(path: str) -> dict[str, Any]:
    """The body that the description gives as the example of making one of these."""
    operation = json.loads(PATH.read_text())["paths"][f"/api/v1{path}"]["post"]
    example: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["example"]
    return example


async def things_in(hub: Hub) -> dict[str, list[Mapping[str, Any]]]:
    """Some of everything that operators make, each from the example of its description."""
    made: dict[str, list[Mapping[str, Any]]] = {}
    for kind, path, own in (
        ("workspaces", "/workspaces", ("name", "slug")),
        ("playbooks", "/playbooks", ("slug",)),
        ("config", "/config/roles", ("name",)),
        ("exposures", "/exposures", ("slug",)),
        ("webhooks", "/webhooks", ()),
        ("tools", "/tools", ("id",)),
        ("schedules", "/schedules", ("name",)),
        ("triggers", "/triggers", ("name",)),
        ("workflows", "/workflows", ("name",)),
    ):
        for number in range(MADE):
            body = example_of(path) | dict.fromkeys(own, f"fuzzed-{number}")
            if kind == "webhooks":
                body["url"] = RECEIVER
            for name in ("workspace", "playbook"):
                if f"{name}_id" in body:
                    body[f"{name}_id"] = made[f"{name}s"][number]["id"]
            answer = await hub.post(path, body)
            assert answer.status == 201, answer.body
            made.setdefault(kind, []).append(answer.data)
    agent = await hub.agent(max_concurrent=100)
    made["item_tasks"] = [
        task for flow in made["workflows"] for task in await tasks_of_items(hub, flow["id"], agent["id"])
    ]
    return made


async def tasks_of_items(hub: Hub, workflow_id: str, agent_id: str) -> list[Mapping[str, Any]]:
    """Tasks of work items, one for each state that an operation on such a task wants."""
    path = f"/workflows/{workflow_id}/work-items"
    found: list[Mapping[str, Any]] = []
    for state in ("awaiting_approval", "in_progress", "output_pending_assessment", "failed", "escalated"):
        item = (await hub.post(path, example_of("/workflows/{id}/work-items"))).data
        fields = {
            "title": "t",
            "work_item_id": item["id"],
            "priority": "critical",
            "required_tags": [f"agent:{agent_id}"],
        }
        fields |= {"requires_approval": state == "awaiting_approval", "output_schema": {"type": "object"}}
        task = (await hub.post("/tasks", fields)).data
        if state != "awaiting_approval":
            claim = {"agent_id": agent_id, "start": True, "lease_seconds": 3600, "limit": 1}
            (task,) = (await hub.post("/tasks/claim", claim)).data
        path_of_task, lease = f"/tasks/{task['id']}", {"lease_id": task.get("lease_id")}
        match state:
            case "output_pending_assessment":
                await hub.post(f"{path_of_task}/complete", {**lease, "output": 1})
            case "failed":
                await hub.post(f"{path_of_task}/fail", {**lease, "error": {"category": "x", "message": "y"}})
            case "escalated":
                await hub.post(f"{path_of_task}/escalate", {"reason": "r"})
        found.append({**task, "stands": state})
    return found


async def furnished(hub: Hub, url: str) -> Target:
    """Tasks in many states, so that there is something to find, to change and to refuse."""
    keys = {scope: await hub.key(scope, f"fuzzer-{scope}") for scope in Scope}
    agents = [await hub.agent(max_concurrent=100, key=keys[Scope.WORKER]) for _ in range(2)]
    worker, agent = agents[0]["api_key"], agents[0]
    new = [{"title": str(number), "output_schema": {"type": "object"}} for number in range(80)]
    await hub.post("/tasks/batch", {"tasks": new})
    request = {"agent_id": agent["id"], "limit": 80, "start": True, "lease_seconds": 3600}
    tasks = list((await hub.post("/tasks/claim", request, key=worker)).data)
    pools: dict[str, list[Any]] = {name: [] for name in POOLS}
    for number, task in enumerate(tasks):
        pools[POOLS[number % len(POOLS)]].append(task)
    for number, task in enumerate(tasks):
        lease = {"lease_id": task["lease_id"]}
        path = f"/tasks/{task['id']}"
        await hub.post(f"{path}/messages", {**lease, "parts": [{"text": "hi"}]}, key=worker)
        artifact = {**lease, "artifact_id": "a", "parts": [{"data": 1}]}
        await hub.post(f"{path}/artifacts", artifact, key=worker)
        match POOLS[number % len(POOLS)]:
            case "done":
                await hub.post(f"{path}/complete", {**lease, "output": {}}, key=worker)
            case "judged":
                await hub.post(f"{path}/complete", {**lease, "output": 1}, key=worker)
            case "failed":
                error = {"category": "x", "message": "y"}
                await hub.post(f"{path}/fail", {**lease, "error": error}, key=worker)
            case "asking":
                ask = {**lease, "parts": [{"text": "?"}], "hold": number % 2 == 0}
                await hub.post(f"{path}/request-input", ask, key=worker)
            case "permission":
                await hub.post(f"{path}/approvals", {**lease, "title": "?", "kind": "permission"}, key=worker)
    for scope, key in keys.items():
        for fields in ({}, {"requires_approval": True}, {"ready_at": "2099-01-01T00:00:00Z"}):
            tasks.append((await hub.post("/tasks", {"title": f"of {scope}", **fields}, key=key)).data)
    approvals = (await hub.get("/approvals")).data["approvals"]
    things = await things_in(hub)
    return Target(url, {**keys, Scope.AGENT: worker}, tasks, pools, agents, approvals, things)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A furnished hub in a thread of its own, since the fuzzer blocks."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    database = tmp_path_factory.mktemp("fuzzed") / "hub.db"

    async def start() -> tuple[Serving, Target]:
        app = build(Settings(admin_api_key=ADMIN_KEY, database_url=f"sqlite:///{database}"), SECRET)
        serving = Serving(app.asgi, stopping=app.stopping)
        await serving.start()
        return serving, await furnished(Hub(app), serving.url)

    serving, found = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    yield found
    asyncio.run_coroutine_threadsafe(serving.stop(0), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def described() -> Iterator[Any]:
    """The operations that the fuzzer reads."""
    for result in schemathesis.openapi.from_path(PATH).get_all_operations():
        operation: Any = result
        yield operation.ok()


OPERATIONS: list[Any] = [
    operation for operation in described() if operation.definition.raw["operationId"] not in STREAMS
]
CASES = [
    pytest.param(operation, mode, id=f"{operation.definition.raw['operationId']}-{mode.value}")
    for operation in OPERATIONS
    for mode in GenerationMode
    # Where nothing is taken, nothing can be wrong.
    if mode is GenerationMode.POSITIVE or {"parameters", "requestBody"} & set(operation.definition.raw)
]
MADE = 12
"""Of each kind of thing, since the fuzzer removes some."""
RECEIVER = "https://93.184.216.34/hook"
"""An address that needs no look-up."""
KNOWN = {"entity_type": "task", "tool_id": "fuzzed-1", "key": "k"}
"""Names in paths that may be there."""
SEEN: dict[str, set[int]] = {}
"""The statuses of each operation in this run."""


def aimed(case: Any, target: Target, chance: random.Random) -> None:
    """Point some calls at what exists, and let none wait for long."""
    parameters = case.path_parameters
    if "id" in (parameters or {}) and chance.random() < 0.8:
        kind = case.operation.path.split("/")[3]
        found = {"tasks": target.tasks, "agents": target.agents, "approvals": target.approvals}
        found["a2a"] = found["governance"] = target.tasks
        pool = {**target.things, **found}.get(kind)
        wanted = FITTING.get(case.operation.definition.raw["operationId"])
        if wanted is not None and chance.random() < 0.7:
            pool = target.pools[wanted]
        if pool:
            chosen = chance.choice(pool)
            parameters["id"] = chosen["id"]
            if isinstance(case.body, dict) and "lease_id" in chosen and chance.random() < 0.8:
                case.body["lease_id"] = chosen["lease_id"]
    if "work_item_id" in (parameters or {}) and chance.random() < 0.8:
        stands = FITTING_ITEM.get(case.operation.path.rsplit("/", 1)[-1])
        of_item = chance.choice(
            [task for task in target.things["item_tasks"] if stands in (None, task["stands"])]
        )
        names = {"id": "workflow_id", "work_item_id": "work_item_id", "task_id": "id"}
        parameters |= {name: of_item[key] for name, key in names.items() if name in parameters}
        if isinstance(case.body, dict) and "lease_id" in case.body and "lease_id" in of_item:
            case.body["lease_id"] = of_item["lease_id"]
    if "artifact_id" in (parameters or {}) and chance.random() < 0.5:
        parameters["artifact_id"] = "a"
    for name, known in KNOWN.items():
        if name in (parameters or {}) and chance.random() < 0.5:
            parameters[name] = known
    if isinstance(case.body, dict):
        for name in ("workspace", "playbook"):
            if f"{name}_id" in case.body:
                case.body[f"{name}_id"] = chance.choice(target.things[f"{name}s"])["id"]
        for name in ("request_id", "input_id"):
            if chance.random() < 0.7:  # another key than the header's, or a question that nobody asked
                case.body.pop(name, None)
        if case.operation.definition.raw["operationId"].startswith("webhooks_") and chance.random() < 0.8:
            if "url" in case.body:
                case.body["url"] = RECEIVER
            case.body.pop("secret", None)
        if "agent_id" in case.body and chance.random() < 0.8:
            case.body["agent_id"] = chance.choice(target.agents)["id"]
        wait = case.body.get("wait_seconds")
        if isinstance(wait, int) and wait > 0:
            case.body["wait_seconds"] = 0
    if case.query and "wait_seconds" in case.query:
        case.query["wait_seconds"] = 0


@pytest.mark.parametrize(("operation", "mode"), CASES)
def test_no_call_is_answered_other_than_documented(
    target: Target, operation: Any, mode: GenerationMode
) -> None:
    chance = random.Random(operation.path)
    seen = SEEN.setdefault(operation.definition.raw["operationId"], set())

    with requests.Session() as session:

        @seed(1)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def fuzz(case: Any) -> None:
            aimed(case, target, chance)
            for scope in SCOPES:
                headers = {} if scope is None else {"Authorization": f"Bearer {target.keys[scope]}"}
                answer = case.call_and_validate(target.url, session, headers, CHECKS)
                seen.add(answer.status_code)

        fuzz()


def test_the_fuzzer_got_behind_the_refusals() -> None:
    if len(SEEN) < len(OPERATIONS):
        pytest.skip("only a part of the operations was fuzzed")
    tried = {name for name in SEEN if not name.startswith(ELSEWHERE)} - RATIONED
    succeeded = {name for name in tried if any(status < 300 for status in SEEN[name])}
    assert len(succeeded) > 0.8 * len(tried), " ".join(sorted(tried - succeeded))
