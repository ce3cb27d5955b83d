"""What is a matter of one binding alone, by hand-made requests. Specification §9, §10.1, §11, §3.6."""

import json
from typing import Any
from uuid import uuid4

import grpc.aio  # type: ignore[import-untyped]
import httpx
import pytest
from a2a.types import a2a_pb2 as pb
from google.protobuf import message_factory  # type: ignore[import-untyped]

from tests.conformance.a2a.conftest import Card, MakeWire, Speaker
from tests.conformance.a2a.test_parameters import OPERATIONS
from tests.conformance.a2a.wires import BINDINGS, at_once, message, route_of

requirement = pytest.mark.requirement
JSONRPC, REST = "JSONRPC", "HTTP+JSON"


def rpc(method: str = "ListTasks", params: Any = None, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}, **more}


@requirement("9.1-content-type", on=JSONRPC)
def test_json_rpc_is_application_json(http: httpx.Client) -> None:
    assert http.post("/a2a", json=rpc()).headers["content-type"] == "application/json"
    with http.stream("POST", "/a2a", json=rpc("SendStreamingMessage", message())) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        stream.read()
    for media_type in ("text/plain", "application/xml", ""):
        body, headers = json.dumps(rpc()).encode(), {"Content-Type": media_type}
        refused = http.post("/a2a", content=body, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (415, -32600)


@requirement("9.3-envelope", "9.5-standard", "9.5-data", on=JSONRPC)
@pytest.mark.parametrize(
    ("body", "code", "id"),
    [
        (b"{", -32700, None),
        (b"", -32700, None),
        (b"[]", -32600, None),
        (b"1", -32600, None),
        (rpc(jsonrpc="1.0"), -32600, 1),
        ({"jsonrpc": "2.0", "id": 1}, -32600, 1),
        ({"jsonrpc": "2.0", "method": "ListTasks"}, -32600, None),
        (rpc(id={}), -32600, None),
        (rpc("NoSuchMethod"), -32601, 1),
        (rpc("message/send"), -32601, 1),
        (rpc(params=[1]), -32602, 1),
        (rpc(params="x"), -32600, 1),
        (rpc(params={"pageSize": "many"}), -32602, 1),
    ],
)
def test_what_is_no_request_has_its_standard_code(http: httpx.Client, body: Any, code: int, id: Any) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = http.post("/a2a", content=content, headers={"Content-Type": "application/json"}).json()
    assert (told["jsonrpc"], told["id"], told["error"]["code"]) == ("2.0", id, code)
    assert "result" not in told
    assert all("@type" in detail for detail in told["error"]["data"])


@requirement("9.3-envelope", on=JSONRPC)
@pytest.mark.parametrize("id", ["a", "", 0, -7, None])
def test_an_answer_has_the_id_of_its_request(http: httpx.Client, id: Any) -> None:
    told = http.post("/a2a", json=rpc(id=id)).json()
    assert told["id"] == id
    assert "result" in told


@requirement("9.4.2-events", on=JSONRPC)
def test_each_event_is_a_whole_answer(http: httpx.Client) -> None:
    body = rpc("SendStreamingMessage", message("stream 2"), id="s-1")
    with http.stream("POST", "/a2a", json=body) as stream:
        events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    assert events
    for event in events:
        assert (set(event), event["jsonrpc"], event["id"]) == ({"jsonrpc", "id", "result"}, "2.0", "s-1")


@requirement("3.6.2-empty", "3.6.2-semantics", on=JSONRPC)
@pytest.mark.parametrize("headers", [{}, {"A2A-Version": ""}, {"A2A-Version": "0.3"}])
def test_json_rpc_without_a_version_is_0_3(http: httpx.Client, headers: dict[str, str]) -> None:
    del http.headers["A2A-Version"]
    said = {"messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "echo x"}]}
    told = http.post("/a2a", json=rpc("message/send", {"message": said}), headers=headers).json()
    assert (told["result"]["kind"], told["result"]["status"]["state"]) == ("task", "completed")
    assert http.post("/a2a", json=rpc(), headers=headers).json()["error"]["code"] == -32601


@requirement("3.6.2-empty", "3.6.2-semantics", on=REST)
@pytest.mark.parametrize("headers", [{}, {"A2A-Version": ""}, {"A2A-Version": "0.3"}])
def test_http_json_without_a_version_is_0_3(http: httpx.Client, headers: dict[str, str]) -> None:
    del http.headers["A2A-Version"]
    said = {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "echo x"}]}
    body = {"request": said, "configuration": {"blocking": True}}
    told = http.post("/a2a/v1/message:send", json=body, headers=headers)
    assert told.json()["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert "content" in told.json()["task"]["history"][0]
    assert http.get("/a2a/v1/tasks", headers=headers).status_code == 404


@requirement("3.6.1-query", on=JSONRPC)
@pytest.mark.parametrize("query", ["A2A-Version=1.0", "a2a-version=1.0.3"])
def test_json_rpc_may_have_its_version_in_the_query(http: httpx.Client, query: str) -> None:
    del http.headers["A2A-Version"]
    assert "result" in http.post(f"/a2a?{query}", json=rpc()).json()
    assert http.post("/a2a?A2A-Version=9.0", json=rpc()).json()["error"]["code"] == -32009


@requirement("3.6.1-query", on=REST)
@pytest.mark.parametrize("query", ["A2A-Version=1.0", "a2a-version=1.0.3"])
def test_http_json_may_have_its_version_in_the_query(http: httpx.Client, query: str) -> None:
    del http.headers["A2A-Version"]
    assert http.get(f"/a2a/v1/tasks?{query}").status_code == 200
    assert http.get("/a2a/v1/tasks?A2A-Version=9.0").status_code == 400


@requirement("A-slash", on=JSONRPC)
def test_json_rpc_answers_behind_a_slash(http: httpx.Client) -> None:
    assert http.post("/a2a/", json=rpc()).json()["result"] == http.post("/a2a", json=rpc()).json()["result"]


@requirement("A-slash", on=REST)
def test_http_json_answers_behind_a_slash(http: httpx.Client) -> None:
    assert http.get("/a2a/v1/tasks/").json() == http.get("/a2a/v1/tasks").json()


@requirement("11.1-media-type", on=REST)
def test_http_json_is_a2a_json_unless_the_client_speaks_only_json(http: httpx.Client) -> None:
    def media_type(**headers: str) -> str:
        answer = http.get("/a2a/v1/tasks", headers={n.replace("_", "-"): v for n, v in headers.items()})
        return str(answer.headers["content-type"])

    assert media_type(Accept="*/*") == "application/a2a+json"
    assert media_type(Accept="application/a2a+json, application/json") == "application/a2a+json"
    assert media_type(Accept="application/json") == "application/json"
    for sent in ("application/a2a+json", "application/json"):
        headers = {"Content-Type": sent, "Accept": "*/*"}
        body = json.dumps(at_once("echo x")).encode()
        answer = http.post("/a2a/v1/message:send", content=body, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, sent)
    body = json.dumps(at_once()).encode()
    refused = http.post("/a2a/v1/message:send", content=body, headers={"Content-Type": "text/plain"})
    assert (refused.status_code, refused.headers["content-type"]) == (415, "application/a2a+json")


@requirement("11.3-paths", "5.3-mapping", on=REST)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_path_answers_its_methods_and_says_so(http: httpx.Client, operation: str) -> None:
    method, path, _, body = route_of(operation, OPERATIONS[operation])
    refused = http.request("PUT", f"/a2a/v1{path}", json=body)
    assert refused.status_code == 405
    assert method in refused.headers["allow"].split(", ")
    assert refused.json()["error"]["details"][0]["reason"] == "METHOD_NOT_ALLOWED"


@requirement("11.3-paths", on=REST)
def test_subscribing_is_a_get_too(http: httpx.Client) -> None:
    id = http.post("/a2a/v1/message:send", json=at_once("wait")).json()["task"]["id"]
    for method in ("GET", "POST"):
        with http.stream(method, f"/a2a/v1/tasks/{id}:subscribe") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert next(line for line in stream.iter_lines() if line.startswith("data: "))
    http.post(f"/a2a/v1/tasks/{id}:cancel", json={})


@requirement("11.5-query", on=REST)
def test_parameters_stand_in_a_camel_case_query(http: httpx.Client) -> None:
    context = f"a b&c/{uuid4().hex}"
    task = http.post("/a2a/v1/message:send", json=message(contextId=context)).json()["task"]
    query = {
        "contextId": context,
        "status": "TASK_STATE_COMPLETED",
        "pageSize": "1",
        "includeArtifacts": "true",
        "historyLength": "0",
        "statusTimestampAfter": task["status"]["timestamp"],
    }
    (listed,) = http.get("/a2a/v1/tasks", params=query).json()["tasks"]
    assert (listed["id"], "artifacts" in listed, "history" in listed) == (task["id"], True, False)
    for wrong in ({"includeArtifacts": "yes"}, {"pageSize": "1.5"}, {"status": "completed"}):
        assert http.get("/a2a/v1/tasks", params=wrong).status_code == 400


@requirement("11.7-events", on=REST)
def test_each_event_is_a_stream_response(http: httpx.Client) -> None:
    with http.stream("POST", "/a2a/v1/message:stream", json=message("stream 2")) as stream:
        events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    assert list(events[0]) == ["task"]
    assert {name for event in events[1:] for name in event} <= {"statusUpdate", "artifactUpdate"}


@requirement("10.1-service", "5.3-mapping", on="GRPC")
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_the_service_has_all_its_methods(card: Card, operation: str) -> None:
    address = next(i["url"] for i in card["supportedInterfaces"] if i["protocolBinding"] == "GRPC")
    method = pb.DESCRIPTOR.services_by_name["A2AService"].methods_by_name[operation]
    request = message_factory.GetMessageClass(method.input_type)()
    async with grpc.aio.insecure_channel(address) as channel:
        kind = channel.unary_stream if method.server_streaming else channel.unary_unary
        call = kind(f"/lf.a2a.v1.A2AService/{operation}", request_serializer=type(request).SerializeToString)
        called = call(request)
        assert await called.code() is grpc.StatusCode.UNAUTHENTICATED, "it is there, and asks who calls"


@requirement("5.3-mapping", on=JSONRPC)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_method_has_its_name(http: httpx.Client, operation: str) -> None:
    told = http.post("/a2a", json=rpc(operation, {"tenant": 1})).json()
    assert told["error"]["code"] != -32601


@requirement("5.1-equivalent")
async def test_what_one_binding_made_every_other_shows(ann: Speaker, make_wire: MakeWire) -> None:
    """The whole of it: `tests/conformance/test_same_conversation.py`."""
    task = await ann.send(message("hold Which?"))
    wires = [await make_wire("ann", binding) for binding in BINDINGS]
    assert [(await wire.told("GetTask", {"id": task["id"]})).result for wire in wires] == [task] * 3
    canceled = (await wires[-1].told("CancelTask", {"id": task["id"]})).result
    assert await ann.get(task["id"]) == canceled
