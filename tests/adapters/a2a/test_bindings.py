"""The two HTTP bindings and the card: envelopes, media types, refusals. Specification §8, §9, §11."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from adapters.a2a import A2AConfig, owns, render_error
from core.errors import Forbidden, NotFound, TooLarge, TooMany, Unauthenticated
from tests.adapters.a2a.support import (
    PUBLIC,
    TENANT,
    Client,
    Executor,
    Listening,
    at_once,
    message,
    official_card,
)


async def rpc(http: httpx.AsyncClient, content: Any, **headers: str) -> httpx.Response:
    """A hand-made JSON-RPC exchange."""
    known = {"Authorization": "Bearer ann", "A2A-Version": "1.0", "Content-Type": "application/json"}
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return await http.post("/a2a", content=body, headers={**known, **headers})


def call(method: str = "ListTasks", **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": "x", "method": method, **more}


@pytest.mark.parametrize("path", ["/a2a", "/a2a/"])
async def test_json_rpc_answers_with_and_without_a_trailing_slash(http: httpx.AsyncClient, path: str) -> None:
    headers = {"Authorization": "Bearer ann", "A2A-Version": "1.0"}
    answer = await http.post(path, json=call(), headers=headers)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["id"] == "x"
    assert answer.json()["result"]["totalSize"] == 0


@pytest.mark.parametrize("id", [None, 0, -5, "", "é"])
async def test_an_answer_carries_the_id_of_its_request(http: httpx.AsyncClient, id: Any) -> None:
    assert (await rpc(http, {**call(), "id": id})).json()["id"] == id


@pytest.mark.parametrize(
    ("body", "code", "id"),
    [
        (b"{not json", -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"ListTasks","params":{"a":NaN}}', -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"ListTasks","params":{"a":"\\ud800"}}', -32700, None),
        (b"[" * 5000, -32700, None),
        ([call()], -32600, None),
        ({**call(), "jsonrpc": "1.1"}, -32600, "x"),
        ({"jsonrpc": "2.0", "method": "ListTasks"}, -32600, None),
        (call("NoSuchMethod"), -32601, "x"),
        (call("message/send"), -32601, "x"),
        (call("list_tasks"), -32601, "x"),
        (call(params=[1]), -32602, "x"),
        (call("GetTask"), -32602, "x"),
    ],
)
async def test_a_bad_request_gets_its_json_rpc_error(
    http: httpx.AsyncClient, body: Any, code: int, id: Any
) -> None:
    answer = await rpc(http, body)
    told = answer.json()
    assert (answer.status_code, told["error"]["code"], told["id"]) == (200, code, id)
    assert told["error"]["data"][0]["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"


async def test_a_forgotten_version_is_explained(http: httpx.AsyncClient) -> None:
    told = (await http.post("/a2a", json=call(), headers={"Authorization": "Bearer ann"})).json()
    assert told["error"]["code"] == -32601
    assert 'Add "A2A-Version: 1.0"' in told["error"]["message"]
    old = await http.post("/a2a", json=call("message/send"), headers={"Authorization": "Bearer ann"})
    assert old.json()["error"]["code"] == -32602


@pytest.mark.parametrize(
    ("version", "code"), [("0.2", -32009), ("1.1", -32009), ("2.0", -32009), ("x", -32009)]
)
async def test_an_unsupported_version_is_refused_on_both_bindings(
    http: httpx.AsyncClient, version: str, code: int
) -> None:
    client = Client(http, version=version)
    assert (await client.error("ListTasks"))["code"] == code
    answer = await client.rest("GET", "/tasks")
    assert (answer.status_code, answer.json()["error"]["details"][0]["reason"]) == (
        400,
        "VERSION_NOT_SUPPORTED",
    )


async def test_a_version_may_stand_in_the_query(http: httpx.AsyncClient) -> None:
    headers = {"Authorization": "Bearer ann"}
    assert (await http.get("/a2a/v1/tasks?A2A-Version=1.0", headers=headers)).status_code == 200
    assert (await http.get("/a2a/v1/tasks?A2A-Version=9.9", headers=headers)).status_code == 400
    assert (await http.get("/a2a/v1/tasks", headers=headers)).status_code == 404
    answer = await http.post("/a2a?a2a-version=1.0.2", json=call(), headers=headers)
    assert answer.json()["result"]["totalSize"] == 0


async def test_unknown_extensions_are_harmless(ann: Client) -> None:
    await ann.result("ListTasks", {}, A2A_Extensions="https://example.com/unknown, urn:more")


async def test_without_a_credential_nothing_is_told(http: httpx.AsyncClient) -> None:
    for name in ("", "nobody"):
        answer = await rpc(http, call(), Authorization=f"Bearer {name}")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.json()["error"]["code"] == -31401
        rest = await Client(http, name).rest("GET", "/tasks")
        assert (rest.status_code, rest.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
        assert (await Client(http, name).rest("GET", "/nothing")).status_code == 401


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_must_be_declared_as_json(http: httpx.AsyncClient, content_type: str) -> None:
    answer = await rpc(http, call(), **{"Content-Type": content_type})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, -32600)
    rest = await Client(http).rest(
        "POST", "/message:send", content=json.dumps(at_once()), headers={"Content-Type": content_type}
    )
    assert rest.status_code == 415
    compressed = await rpc(http, call(), **{"Content-Encoding": "gzip"})
    assert compressed.status_code == 415


async def test_a_body_beyond_the_limit_is_refused_declared_or_not(
    app: ASGIApp, http: httpx.AsyncClient, config: A2AConfig
) -> None:
    object.__setattr__(config, "max_body_bytes", 1000)
    large = json.dumps(call(params={"x": "y" * 2000})).encode()
    answer = await rpc(http, large)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, -32600)
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/a2a/v1/message:send",
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer ann"), (b"a2a-version", b"1.0")],
    }
    streamed = Listening(app, scope, large)
    assert (await streamed.body())["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert streamed.status == 413


async def test_json_rpc_is_sent_by_post(http: httpx.AsyncClient) -> None:
    answer = await http.get("/a2a", headers={"Authorization": "Bearer ann"})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


async def test_a_rest_resource_names_the_methods_that_it_answers(ann: Client) -> None:
    answer = await ann.rest("DELETE", "/tasks")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
    assert (await ann.rest("GET", "/message:send")).headers["Allow"] == "POST"
    missing = await ann.rest("GET", "/nothing/here")
    assert (missing.status_code, missing.json()["error"]["details"][0]["reason"]) == (404, "METHOD_NOT_FOUND")


async def test_rest_serves_the_same_operations(ann: Client, executor: Executor) -> None:
    sent = await ann.rest("POST", "/message:send", json=at_once("hi", contextId="c"))
    assert sent.status_code == 200
    task = sent.json()["task"]
    assert (await ann.rest("GET", f"/tasks/{task['id']}")).json() == task
    assert (await ann.result("GetTask", {"id": task["id"]})) == task
    listed = await ann.rest(
        "GET", "/tasks", params={"contextId": "c", "pageSize": "1", "includeArtifacts": "true"}
    )
    assert listed.json()["tasks"] == [task]
    cut = await ann.rest("GET", f"/tasks/{task['id']}?historyLength=0")
    assert "history" not in cut.json()
    cancelled = await ann.rest("POST", f"/tasks/{task['id']}:cancel")
    assert cancelled.json()["status"]["state"] == "TASK_STATE_CANCELED"
    again = await ann.rest("POST", f"/tasks/{task['id']}:cancel", json={"id": task["id"], "metadata": {}})
    assert again.status_code == 400
    assert again.json()["error"] == {
        "code": 400,
        "status": "FAILED_PRECONDITION",
        "message": "The task cannot be cancelled: the task is cancelled already.",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "TASK_NOT_CANCELABLE",
                "domain": "a2a-protocol.org",
            }
        ],
    }


async def test_rest_errors_have_their_status(ann: Client) -> None:
    assert (await ann.rest("GET", "/tasks/nonsense")).status_code == 404
    bad = await ann.rest("GET", "/tasks?pageSize=0&status=working")
    assert bad.status_code == 400
    fields = bad.json()["error"]["details"][1]["fieldViolations"]
    assert [field["field"] for field in fields] == ["status", "pageSize"]
    assert (await ann.rest("GET", "/tasks?contextId=%00")).status_code == 400
    assert (await ann.rest("GET", "/tasks?contextId=%ff")).status_code == 400
    broken = await ann.rest(
        "POST", "/message:send", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert (broken.status_code, broken.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    array = await ann.rest("POST", "/message:send", json=[1])
    assert array.status_code == 400
    for method, path in (
        ("POST", "/tasks/x/pushNotificationConfigs"),
        ("GET", "/tasks/x/pushNotificationConfigs"),
        ("GET", "/tasks/x/pushNotificationConfigs/y"),
        ("DELETE", "/tasks/x/pushNotificationConfigs/y"),
    ):
        told = (await ann.rest(method, path)).json()["error"]
        assert told["details"][0]["reason"] == "PUSH_NOTIFICATION_NOT_SUPPORTED"


async def test_a_path_and_a_body_that_differ_are_refused(ann: Client) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    told = await ann.rest("POST", f"/tasks/{task['id']}:cancel", json={"id": "other"})
    assert told.status_code == 400
    assert (await ann.result("GetTask", {"id": task["id"]}))["status"]["state"] == "TASK_STATE_SUBMITTED"


async def test_a_tenant_must_be_the_credentials_own(ann: Client, http: httpx.AsyncClient) -> None:
    own, foreign = str(TENANT), "0190f000-0000-7000-8000-000000000002"
    assert (await ann.rest("GET", f"/{own}/tasks")).status_code == 200
    sent = await ann.rest("POST", f"/{own}/message:send", json={**at_once(), "tenant": own})
    assert sent.status_code == 200
    assert (await ann.rest("GET", f"/{own}/tasks/{sent.json()['task']['id']}")).status_code == 200
    for tenant in (foreign, "default", "x"):
        told = await ann.rest("GET", f"/{tenant}/tasks")
        assert (told.status_code, told.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
        for method in ("ListTasks", "GetExtendedAgentCard", "ListTaskPushNotificationConfigs"):
            assert (await ann.error(method, {"tenant": tenant}))["code"] == -31403
        assert (await ann.error("SendMessage", {**message(), "tenant": tenant}))["code"] == -31403
    mixed = await ann.rest("POST", f"/{own}/message:send", json={**at_once(), "tenant": foreign})
    assert mixed.status_code == 400


@pytest.mark.parametrize(
    ("accept", "sent", "answered"),
    [
        ("*/*", None, "application/a2a+json"),
        ("application/a2a+json, application/json", "application/json", "application/a2a+json"),
        ("application/json", None, "application/json"),
        ("*/*", "application/json", "application/json"),
        ("*/*", "application/a2a+json", "application/a2a+json"),
    ],
)
async def test_rest_answers_in_the_type_that_the_client_knows(
    ann: Client, accept: str, sent: str | None, answered: str
) -> None:
    headers = {"Accept": accept, **({"Content-Type": sent} if sent else {})}
    if sent:
        answer = await ann.rest("POST", "/message:send", content=json.dumps(at_once()), headers=headers)
    else:
        answer = await ann.rest("GET", "/tasks", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, answered)


async def test_the_card_says_where_and_what(http: httpx.AsyncClient) -> None:
    answer = await http.get("/.well-known/agent-card.json")
    assert answer.headers["content-type"] == "application/json"
    card = official_card(answer.json())
    interfaces = [(i.url, i.protocol_binding, i.protocol_version) for i in card.supported_interfaces]
    assert interfaces == [
        (f"{PUBLIC}/a2a", "JSONRPC", "1.0"),
        (f"{PUBLIC}/a2a/v1", "HTTP+JSON", "1.0"),
        (f"{PUBLIC}/a2a", "JSONRPC", "0.3"),
        (f"{PUBLIC}/a2a", "HTTP+JSON", "0.3"),
    ]
    assert [skill.id for skill in card.skills] == ["task"]
    assert list(card.default_input_modes) == ["text/plain", "application/json"]
    assert card.capabilities.streaming
    assert not card.capabilities.push_notifications
    assert card.security_schemes["bearer"].http_auth_security_scheme.scheme == "Bearer"
    assert card.version == "9.9"


async def test_a_known_card_is_not_sent_again(http: httpx.AsyncClient) -> None:
    first = await http.get("/.well-known/agent-card.json")
    assert "max-age" in first.headers["Cache-Control"]
    assert first.headers["Last-Modified"].endswith("GMT")
    tag = first.headers["ETag"]
    for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        again = await http.get("/.well-known/agent-card.json", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    other = await http.get("/.well-known/agent-card.json", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200
    assert (await http.head("/.well-known/agent-card.json")).content == b""
    assert (await http.post("/.well-known/agent-card.json")).status_code == 405


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Unauthenticated("no"), 401, -31401),
        (Forbidden("no"), 403, -31403),
        (TooLarge("no"), 413, -32600),
        (TooMany("no", retry_after=7), 429, -31429),
    ],
)
def test_refusals_made_before_a_binding_have_the_form_of_the_path(
    error: Exception, status: int, code: int
) -> None:
    told = render_error({"path": "/a2a", "headers": [], "query_string": b""}, error)
    body = json.loads(bytes(told.body))
    assert (told.status_code, body["error"]["code"], body["id"]) == (status, code, None)
    rest = render_error({"path": "/a2a/v1/tasks", "headers": [], "query_string": b""}, error)
    assert (rest.status_code, json.loads(bytes(rest.body))["error"]["code"]) == (status, status)
    assert rest.headers.get("retry-after") == ("7" if status == 429 else None)


def test_a_path_that_is_none_is_no_missing_task() -> None:
    told = json.loads(
        bytes(
            render_error(
                {"path": "/a2a/v2", "headers": [], "query_string": b""}, NotFound("no such route")
            ).body
        )
    )
    assert told["error"]["details"][0]["reason"] == "METHOD_NOT_FOUND"


def test_a2a_owns_its_paths_and_no_others() -> None:
    for path in ("/a2a", "/a2a/", "/a2a/v1", "/a2a/v1/tasks/x:cancel", "/.well-known/agent-card.json"):
        assert owns(path)
    for path in ("/", "/a2ab", "/api/v1/a2a/tasks", "/.well-known/agent.json"):
        assert not owns(path)


async def test_a_fault_of_the_hub_is_told_without_its_cause(
    ann: Client, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise RuntimeError("secret path")

    monkeypatch.setattr(type(executor.platform), "read", broken)
    error = await ann.error("ListTasks")
    assert error["code"] == -32603
    assert "secret" not in json.dumps(error)
    rest = await ann.rest("GET", "/tasks")
    assert rest.status_code == 500
    assert "secret" not in rest.text


def test_the_agent_of_the_hub_can_be_told_other_modes(config: A2AConfig) -> None:
    widened = replace(config, hub=replace(config.hub, also_accepts=["*/*"]))
    assert widened.hub.also_accepts == ["*/*"]
