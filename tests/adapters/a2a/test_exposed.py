"""Exposed agents: a card and endpoints for each, on every binding, and nobody else's tasks behind them."""

from typing import Any
from uuid import UUID

import httpx
import pytest
from a2a.compat.v0_3 import types as old
from starlette.types import ASGIApp

from adapters.a2a import is_public, owns, render_error
from core.agents import RegisterAgent, register
from core.caller import SYSTEM, Caller
from core.errors import NotFound, Unauthenticated
from core.exposures import (
    ChangeExposure,
    Expose,
    Exposure,
    ExposureId,
    Target,
    change_exposure,
    conceal,
    expose,
)
from core.platform import Platform
from core.tasks.claim import ClaimTasks, claim
from core.tasks.read import GetTask, get_task
from schemas.vocabulary import ExposureKind, Scope
from tests.adapters.a2a.support import (
    PUBLIC,
    ROOT,
    TENANT,
    Client,
    Executor,
    at_once,
    listen,
    message,
    official_card,
)

OPERATOR = SYSTEM(TENANT)
ROLE = Target(ExposureKind.ROLE, "translator")


async def exposed(platform: Platform, slug: str = "tr", target: Target = ROLE, **more: Any) -> Exposure:
    """An exposure."""
    return await platform.write(OPERATOR, expose, Expose(slug, target, **more))


HITL = "https://kagent.dev/extensions/hitl/v1"


async def test_an_exposure_may_insist_on_extensions(platform: Platform, ann: Client) -> None:
    made = await exposed(platform, required_extensions=[HITL, "urn:x:own"])
    card = (await ann.http.get("/agents/tr/.well-known/agent-card.json")).json()
    declared = card["capabilities"]["extensions"]
    assert {one["uri"] for one in declared if one.get("required")} == {HITL, "urn:x:own"}
    assert len({one["uri"] for one in declared}) == len(declared)
    at = At(ann, "tr")
    refused = await at.rpc("ListTasks", A2A_Extensions=HITL)
    assert refused["error"]["code"] == -32008
    assert "urn:x:own" in refused["error"]["message"]
    assert (await at.result("ListTasks", A2A_Extensions=f"{HITL}, urn:x:own"))["tasks"] == []
    await platform.write(OPERATOR, change_exposure, ChangeExposure(made.id, required_extensions=[]))
    assert (await at.result("ListTasks"))["tasks"] == []


class At:
    """A raw client of one exposed agent."""

    def __init__(self, client: Client, slug: str) -> None:
        self._client = client
        self._root = f"/agents/{slug}/a2a"

    async def rpc(self, method: str, params: Any = None, **headers: str) -> Any:
        """Call over JSON-RPC: the whole answer."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self._client.http.post(self._root, json=body, headers=self._client.headers(extra))
        return answer.json()

    async def result(self, method: str, params: Any = None, **headers: str) -> Any:
        """Call over JSON-RPC: the result, which must be one."""
        told = await self.rpc(method, params, **headers)
        assert "result" in told, told
        return told["result"]

    async def code(self, method: str, params: Any = None) -> int:
        """Call over JSON-RPC: the code of the error, which must be one."""
        told = await self.rpc(method, params)
        assert "error" in told, told
        return int(told["error"]["code"])

    async def rest(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call over HTTP+JSON."""
        options["headers"] = self._client.headers(options.get("headers"))
        return await self._client.http.request(method, f"{self._root}/v1{path}", **options)


@pytest.fixture
def there(ann: Client) -> At:
    """Ann, at the agent `tr`."""
    return At(ann, "tr")


async def test_the_card_says_what_the_exposure_says(platform: Platform, http: httpx.AsyncClient) -> None:
    skill = {"id": "t", "name": "T", "description": "Translates.", "tags": ["text"], "examples": ["Hallo?"]}
    said: dict[str, Any] = {"name": "Tra", "description": "Words.", "skills": [skill]}
    await exposed(platform, **said, input_modes=["text/plain"], output_modes=["a/b"])
    answer = await http.get("/agents/tr/.well-known/agent-card.json")
    assert answer.headers["content-type"] == "application/json"
    card = official_card(answer.json())
    assert (card.name, card.description) == ("Tra", "Words.")
    assert [(s.id, s.description, list(s.tags), list(s.examples)) for s in card.skills] == [
        ("t", "Translates.", ["text"], ["Hallo?"])
    ]
    assert (list(card.default_input_modes), list(card.default_output_modes)) == (["text/plain"], ["a/b"])
    assert [(i.url, i.protocol_binding, i.protocol_version) for i in card.supported_interfaces] == [
        (f"{PUBLIC}/agents/tr/a2a", "JSONRPC", "1.0"),
        (f"{PUBLIC}/agents/tr/a2a/v1", "HTTP+JSON", "1.0"),
        (f"{PUBLIC}/agents/tr/a2a", "JSONRPC", "0.3"),
        (f"{PUBLIC}/agents/tr/a2a", "HTTP+JSON", "0.3"),
    ]
    assert card.security_schemes["bearer"].http_auth_security_scheme.scheme == "Bearer"
    old.AgentCard.model_validate(answer.json())
    tag = answer.headers["ETag"]
    again = await http.get("/agents/tr/.well-known/agent-card.json", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


async def test_a_change_is_on_the_card_at_once(platform: Platform, http: httpx.AsyncClient) -> None:
    made = await exposed(platform)
    first = await http.get("/agents/tr/.well-known/agent-card.json")
    assert [skill["id"] for skill in first.json()["skills"]] == ["tr"], "one skill, without any said"
    await platform.write(OPERATOR, change_exposure, ChangeExposure(made.id, name="Other"))
    known = {"If-None-Match": first.headers["ETag"]}
    second = await http.get("/agents/tr/.well-known/agent-card.json", headers=known)
    assert (second.status_code, second.json()["name"]) == (200, "Other")


async def test_what_is_sent_to_a_role_is_done_by_who_offers_it(
    platform: Platform, there: At, executor: Executor
) -> None:
    await exposed(platform)
    task = (await there.result("SendMessage", at_once("hello")))["task"]
    nothing = await executor.do(claim, ClaimTasks(executor.caller.principal_id))
    assert not nothing.items, "an agent without the role gets nothing"
    other = await platform.write(OPERATOR, register, RegisterAgent("tr", routing_tags=["role:translator"]))
    able = Executor(platform, Caller(other.id, TENANT, Scope.AGENT, "agent", str(other.id)))
    held = await able.finish("bonjour")
    assert str(held.task.id) == task["id"]
    done = await there.result("GetTask", {"id": task["id"]})
    assert done["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_what_is_sent_to_an_agent_is_done_by_that_one(
    platform: Platform, ann: Client, executor: Executor
) -> None:
    await exposed(platform, "one", Target(ExposureKind.AGENT, str(executor.caller.principal_id)))
    sent = await At(ann, "one").rest("POST", "/message:send", json=at_once())
    assert sent.status_code == 200
    other = await platform.write(OPERATOR, register, RegisterAgent("other"))
    stranger = Caller(other.id, TENANT, Scope.AGENT, "agent", str(other.id))
    assert not (await platform.write(stranger, claim, ClaimTasks(other.id))).items
    held = await executor.take()
    assert str(held.task.id) == sent.json()["task"]["id"]


async def test_a_task_is_seen_where_it_was_sent_and_through_the_hub_and_nowhere_else(
    platform: Platform, ann: Client, there: At
) -> None:
    await exposed(platform)
    await exposed(platform, "two")
    elsewhere = At(ann, "two")
    task = (await there.result("SendMessage", at_once()))["task"]["id"]
    other = (await elsewhere.result("SendMessage", at_once()))["task"]["id"]
    own = (await ann.result("SendMessage", at_once()))["task"]["id"]
    assert (await there.result("GetTask", {"id": task}))["id"] == task
    assert (await ann.result("GetTask", {"id": task}))["id"] == task
    for lost in (other, own):
        for method in ("GetTask", "CancelTask", "SubscribeToTask", "ListTaskPushNotificationConfigs"):
            name = "taskId" if method.startswith("List") else "id"
            told = await there.code(method, {name: lost})
            assert told in (-32001, -32003), (method, told)
        assert await there.code("SendMessage", message(taskId=lost)) == -32001
        assert (await there.rest("GET", f"/tasks/{lost}")).status_code == 404
    listed = await there.result("ListTasks")
    assert ([t["id"] for t in listed["tasks"]], listed["totalSize"]) == ([task], 1)
    everything = await ann.result("ListTasks")
    assert {t["id"] for t in everything["tasks"]} == {task, other, own}
    assert (await there.result("CancelTask", {"id": task}))["status"]["state"] == "TASK_STATE_CANCELED"


async def test_nobody_sees_what_another_sent_to_the_same_agent(
    platform: Platform, there: At, http: httpx.AsyncClient
) -> None:
    await exposed(platform)
    task = (await there.result("SendMessage", at_once()))["task"]["id"]
    for name in ("ben", "root"):
        other = At(Client(http, name=name), "tr")
        assert await other.code("GetTask", {"id": task}) == -32001
        assert (await other.result("ListTasks"))["totalSize"] == 0


async def test_0_3_reaches_it_too(platform: Platform, http: httpx.AsyncClient) -> None:
    await exposed(platform)
    there = At(Client(http, version=None), "tr")
    said = {"kind": "message", "messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "hi"}]}
    sent = await there.result("message/send", {"message": said, "configuration": {"blocking": False}})
    assert (sent["kind"], sent["status"]["state"]) == ("task", "submitted")
    found = await there.rest("GET", f"/tasks/{sent['id']}")
    assert found.json()["id"] == sent["id"]


async def test_what_is_unknown_switched_off_or_of_another_tenant_looks_missing(
    platform: Platform, there: At, http: httpx.AsyncClient
) -> None:
    made = await exposed(platform)
    stranger = At(Client(http, name="eve"), "tr")
    foreign = await stranger.rpc("GetTask", {"id": "x"})
    await platform.write(OPERATOR, change_exposure, ChangeExposure(made.id, is_active=False))
    off = await there.rpc("GetTask", {"id": "x"})
    off_card = await http.get("/agents/tr/.well-known/agent-card.json")
    off_rest = await there.rest("GET", "/tasks")
    await platform.write(OPERATOR, conceal, ExposureId(made.id))
    gone = await there.rpc("GetTask", {"id": "x"})
    gone_card = await http.get("/agents/tr/.well-known/agent-card.json")
    gone_rest = await there.rest("GET", "/tasks")
    assert foreign == off == gone
    assert gone["error"]["data"][0]["reason"] == "AGENT_NOT_FOUND"
    odd = await http.get("/agents/t%00r/.well-known/agent-card.json")
    assert (odd.status_code, odd.json()) == (404, gone_card.json())
    for one, other in ((off_card, gone_card), (off_rest, gone_rest)):
        assert (one.status_code, one.json()) == (404, other.json())
        assert other.json()["error"]["details"][0]["reason"] == "AGENT_NOT_FOUND"


async def test_a_part_outside_its_input_modes_is_refused(platform: Platform, there: At) -> None:
    await exposed(platform, input_modes=["image/png"])
    said = {"parts": [{"text": "x", "mediaType": "text/plain"}]}
    assert await there.code("SendMessage", {"message": {**message()["message"], **said}}) == -32005


async def test_one_idempotency_key_at_two_agents_makes_two_tasks(platform: Platform, ann: Client) -> None:
    await exposed(platform, "one")
    await exposed(platform, "two")
    first = await At(ann, "one").result("SendMessage", at_once(), Idempotency_Key="k")
    again = await At(ann, "one").result("SendMessage", at_once(), Idempotency_Key="k")
    second = await At(ann, "two").result("SendMessage", at_once(), Idempotency_Key="k")
    assert first["task"]["id"] == again["task"]["id"] != second["task"]["id"]


async def test_the_slug_as_tenant_addresses_the_agent_at_the_hubs_own_endpoints(
    platform: Platform, ann: Client, there: At
) -> None:
    await exposed(platform)
    await exposed(platform, "two")
    task = (await ann.result("SendMessage", {**at_once(), "tenant": "tr"}))["task"]["id"]
    assert (await there.result("GetTask", {"id": task, "tenant": "tr"}))["id"] == task
    assert (await ann.rest("GET", f"/tr/tasks/{task}")).json()["id"] == task
    assert (await ann.rest("GET", f"/two/tasks/{task}")).status_code == 404
    assert await there.code("GetTask", {"id": task, "tenant": "two"}) == -31403
    stored = await platform.read(ROOT, get_task, GetTask(UUID(task)))
    assert stored.required_tags == ["role:translator"]


async def test_a_stream_of_an_exposed_agent_goes_to_the_end(
    platform: Platform, app: ASGIApp, executor: Executor
) -> None:
    await exposed(platform, "one", Target(ExposureKind.AGENT, str(executor.caller.principal_id)))
    stream = listen(app, "SendStreamingMessage", message(), path="/agents/one/a2a")
    await stream.frame()
    await executor.finish()
    frames = await stream.rest()
    assert frames[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


def test_its_paths_are_a2as_and_only_its_card_is_public() -> None:
    for path in ("/a2a", "/a2a/", "/a2a/v1/tasks"):
        assert owns(f"/agents/x{path}")
        assert not is_public(f"/agents/x{path}")
    assert is_public("/agents/x/.well-known/agent-card.json")
    assert is_public("/.well-known/agent-card.json")
    card = "/.well-known/agent-card.json"
    for path in ("/agents/x", "/agents/", "/agents/x/y/a2a", "/agents//a2a", f"/agents/x/y{card}"):
        assert not owns(path)
        assert not is_public(path)


def test_refusals_made_before_a_binding_have_the_form_of_its_path() -> None:
    def told(path: str, error: Exception) -> bytes:
        return bytes(render_error({"path": path, "headers": [], "query_string": b""}, error).body)

    for path in ("/a2a", "/a2a/v1/tasks"):
        for error in (Unauthenticated("no"), NotFound("no")):
            assert told(f"/agents/x{path}", error) == told(path, error)
