"""A2A 0.3 over JSON-RPC and HTTP+JSON. The official 0.3 types judge every answer."""

import base64
import json
from typing import Any

import httpx
import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2 as pb
from a2a.compat.v0_3 import types as old
from starlette.types import ASGIApp

from core.tasks.input import RequestInput, request_input
from core.tasks.report import CompleteTask, complete
from tests.adapters.a2a.support import Client, Executor, listen, listen_rest, official

PNG = base64.b64encode(b"\x89PNG").decode()


@pytest.fixture
def bob(http: httpx.AsyncClient) -> Client:
    """Ann, with a client that names no version."""
    return Client(http, version=None)


def said(text: str = "hi", **members: Any) -> dict[str, Any]:
    """A message of 0.3."""
    parts = [{"kind": "text", "text": text}]
    return {"kind": "message", "messageId": "m1", "role": "user", "parts": parts, **members}


def sending(text: str = "hi", *, blocking: bool = False, **members: Any) -> dict[str, Any]:
    """The parameters of `message/send`."""
    return {"message": said(text, **members), "configuration": {"blocking": blocking}}


def written(text: str = "hi", *, blocking: bool = False, **members: Any) -> dict[str, Any]:
    """The body of `/v1/message:send`."""
    message = {"messageId": "m1", "role": "ROLE_USER", "content": [{"text": text}], **members}
    return {"message": message, "configuration": {"blocking": blocking}}


@pytest.mark.parametrize("version", [None, "0.3", "0.3.0"])
async def test_a_task_is_sent_and_read_in_the_words_of_0_3(http: httpx.AsyncClient, version: str) -> None:
    client = Client(http, version=version)
    task = await client.result("message/send", sending("echo"))
    assert (task["kind"], task["status"]["state"]) == ("task", "submitted")
    read = await client.result("tasks/get", {"id": task["id"], "historyLength": 0})
    old.Task.model_validate(read)
    assert read["history"][0]["parts"] == [{"kind": "text", "text": "echo"}]
    assert (read["history"][0]["kind"], read["history"][0]["role"]) == ("message", "user")
    gone = await client.result("tasks/cancel", {"id": task["id"]})
    assert gone["status"]["state"] == "canceled"
    assert (await client.error("tasks/cancel", {"id": task["id"]}))["code"] == -32002


async def test_parts_of_every_kind_come_back_as_they_were(bob: Client) -> None:
    parts = [
        {"kind": "text", "text": "a", "metadata": {"n": 1}},
        {"kind": "data", "data": {"x": [1, None]}},
        {"kind": "data", "data": {"value": 7}, "metadata": {"data_part_compat": True}},
        {"kind": "file", "file": {"uri": "https://example.com/a", "name": "a", "mimeType": "text/plain"}},
        {"kind": "file", "file": {"bytes": PNG, "name": "p"}},
    ]
    task = await bob.result("message/send", sending(parts=parts))
    assert task["history"][0]["parts"] == parts
    answer = await bob.rest("GET", f"/tasks/{task['id']}")
    content = answer.json()["history"][0]["content"]
    official(answer.json(), pb.Task)
    assert content == [
        {"text": "a", "metadata": {"n": 1}},
        {"data": {"data": {"x": [1, None]}}},
        {"data": {"data": {"value": 7}}, "metadata": {"data_part_compat": True}},
        {"file": {"fileWithUri": "https://example.com/a", "name": "a", "mimeType": "text/plain"}},
        {"file": {"fileWithBytes": PNG, "name": "p"}},
    ]
    again = await bob.rest("POST", "/message:send", json=written(content=content))
    assert again.json()["task"]["history"][0]["content"] == content
    newer = await Client(bob.http).result("GetTask", {"id": task["id"]})
    assert newer["history"][0]["parts"][2] == {"data": 7, "metadata": {}}


async def test_a_stream_ends_with_a_final_status(app: ASGIApp, executor: Executor) -> None:
    stream = listen(app, "message/stream", sending("x"), headers={"a2a-version": ""})
    first = json.loads((await stream.next() or {})["data"])["result"]
    assert first["kind"] == "task"
    held = await executor.take()
    await executor.do(complete, CompleteTask(held.task.id, output={"a": 1}, lease_id=held.lease_id))
    seen = []
    while (event := await stream.next()) is not None:
        seen.append(json.loads(event["data"])["result"])
    for frame in seen:
        old.SendStreamingMessageSuccessResponse.model_validate({"id": 1, "jsonrpc": "2.0", "result": frame})
    assert [(f["kind"], f.get("final")) for f in seen] == [
        ("status-update", False),
        ("artifact-update", None),
        ("status-update", True),
    ]
    assert seen[1]["artifact"]["parts"] == [{"kind": "data", "data": {"a": 1}}]


async def test_a_question_ends_the_stream_and_a_message_answers_it(
    app: ASGIApp, bob: Client, executor: Executor
) -> None:
    task = (await bob.rest("POST", "/message:send", json=written("ask"))).json()["task"]
    stream = listen_rest(app, "GET", f"/tasks/{task['id']}:subscribe", headers={"a2a-version": "0.3"})
    held = await executor.take()
    ask = RequestInput(held.task.id, parts=[{"text": "Which?"}], lease_id=held.lease_id)
    await executor.do(request_input, ask)
    frames = []
    while (event := await stream.next()) is not None:
        frames.append(official(json.loads(event["data"]), pb.StreamResponse))
    assert frames[0].WhichOneof("payload") == "task"
    last = frames[-1].status_update
    assert (last.final, last.status.state) == (True, pb.TASK_STATE_INPUT_REQUIRED)
    assert last.status.update.content[0].text == "Which?"
    told = await bob.result("message/send", sending("this", taskId=task["id"]))
    assert told["status"]["state"] == "working"


async def test_a_resubscriber_gets_the_task_first(app: ASGIApp, bob: Client) -> None:
    task = await bob.result("message/send", sending())
    stream = listen(app, "tasks/resubscribe", {"id": task["id"]}, headers={"a2a-version": "0.3"})
    first = json.loads((await stream.next() or {})["data"])["result"]
    assert (first["kind"], first["id"]) == ("task", task["id"])
    await stream.hang_up()


async def test_a_member_may_have_its_name_in_the_proto_file(bob: Client) -> None:
    task = await bob.result("message/send", sending())
    message = {"message_id": "m", "role": "ROLE_USER", "content": [{"text": "b"}], "task_id": task["id"]}
    body = {"request": message, "configuration": {"accepted_output_modes": ["text/plain"]}}
    answer = await bob.rest("POST", "/message:send", json=body)
    assert [m["content"][0]["text"] for m in answer.json()["task"]["history"]] == ["hi", "b"]
    gone = (await bob.rest("POST", f"/tasks/{task['id']}:cancel")).json()
    assert gone["status"]["state"] == "TASK_STATE_CANCELLED"


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("tasks/get", {"id": "x"}, -32001),
        ("tasks/get", {}, -32602),
        ("tasks/get", {"id": 5}, -32602),
        ("tasks/get", {"id": "x", "historyLength": -1}, -32602),
        ("tasks/list", {}, -32601),
        ("GetTask", {"id": "x"}, -32601),
        ("message/send", {}, -32602),
        ("message/send", {"message": 5}, -32602),
        ("message/send", {"message": said(role="agent")}, -32602),
        ("message/send", {"message": said(role=[])}, -32602),
        ("message/send", {"message": said(parts=5)}, -32602),
        ("message/send", {"message": said(parts=[5])}, -32602),
        ("message/send", {"message": said(parts=[{"kind": "video"}])}, -32602),
        ("message/send", {"message": said(parts=[{"kind": []}])}, -32602),
        ("message/send", {"message": said(parts=[{"kind": "data", "data": 5}])}, -32602),
        ("message/send", {"message": said(parts=[{"kind": "file", "file": {}}])}, -32602),
        ("message/send", {"message": said(), "configuration": []}, -32602),
        ("message/send", {"message": said(), "configuration": {"blocking": "no"}}, -32602),
        ("message/send", {"message": said(taskId="x")}, -32001),
        ("tasks/pushNotificationConfig/set", {}, -32602),
        ("tasks/pushNotificationConfig/set", {"taskId": "x"}, -32602),
        ("tasks/pushNotificationConfig/get", {"id": "x"}, -32003),
        ("tasks/pushNotificationConfig/list", {"id": "x"}, -32003),
        ("tasks/pushNotificationConfig/delete", {"id": "x", "pushNotificationConfigId": "y"}, -32003),
    ],
)
async def test_what_cannot_be_done_has_the_error_of_1_0(
    http: httpx.AsyncClient, method: str, params: dict[str, Any], code: int
) -> None:
    assert (await Client(http, version="0.3").error(method, params))["code"] == code


@pytest.mark.parametrize(
    ("method", "path", "status", "name"),
    [
        ("GET", "/tasks/x", 404, "TaskNotFoundError"),
        ("GET", "/tasks", 404, "MethodNotFoundError"),
        ("GET", "/nothing", 404, "MethodNotFoundError"),
        ("POST", "/card", 405, "MethodNotAllowedError"),
        ("POST", "/message:send", 400, "InvalidParamsError"),
        ("GET", "/other/tasks/x", 403, "ForbiddenError"),
    ],
)
async def test_errors_over_http_have_their_old_names_beside_the_new_form(
    bob: Client, method: str, path: str, status: int, name: str
) -> None:
    answer = await bob.rest(method, path)
    told = answer.json()
    assert (answer.status_code, told["type"], told["error"]["code"]) == (status, name, status)
    assert isinstance(told["code"], int)
    assert answer.headers["content-type"] == "application/json"


async def test_a_body_of_1_0_without_its_version_is_explained(bob: Client) -> None:
    body = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}}
    told = (await bob.rest("POST", "/message:send", json=body)).json()
    assert 'add "A2A-Version: 1.0"' in told["message"]


async def test_extensions_have_their_old_header(bob: Client) -> None:
    await bob.result("message/send", sending(), X_A2A_Extensions="https://example.com/x")
