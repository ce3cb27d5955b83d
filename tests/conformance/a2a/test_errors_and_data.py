"""How errors and values are told, over each binding. Specification §3.3.2, §5.4 to §5.7, §13.4."""

import re
from typing import Any
from uuid import uuid4

import pytest
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict  # type: ignore[import-untyped]

from adapters.a2a import errors, jsonrpc_binding, rest_binding
from adapters.a2a.errors import A2AError
from tests.conformance.a2a.conftest import Speaker, refusal_of
from tests.conformance.a2a.wires import BINDINGS, at_once, message

requirement = pytest.mark.requirement
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
HOOK = "https://93.184.216.34/hook"


@requirement("3.3.2-payload", "3.3.2-well-known", "10.6-info", "11.6-info", "11.6-status", "9.5-data")
async def test_every_error_has_a_code_a_message_and_typed_details(ann: Speaker) -> None:
    done = await ann.send(message())
    refusals = [
        await ann.refused("GetTask", {"id": str(uuid4())}),
        await ann.refused("GetTask", {"id": ""} if ann.binding != "HTTP+JSON" else {"id": "x"}),
        await ann.refused("CancelTask", {"id": done["id"]}),
        await ann.refused("SubscribeToTask", {"id": done["id"]}),
        await ann.refused("SendMessage", message(parts=[])),
        await ann.refused("ListTasks", {"pageSize": 1000}),
        await ann.refused("ListTasks", A2A_Version="7.0"),
        await ann.refused("ListTasks", Authorization=None),
    ]
    for refusal in refusals:
        assert refusal.code
        assert refusal.message
        assert all(
            detail["@type"].startswith("type.googleapis.com/google.rpc.") for detail in refusal.details
        )
        assert re.fullmatch(r"[A-Z_]+", refusal.reason)
        protocols_own = refusal.reason not in ("UNAUTHENTICATED",)
        assert refusal.info["domain"] == ("a2a-protocol.org" if protocols_own else "crossdock")
        if ann.binding == "HTTP+JSON":
            assert set(refusal.whole["error"]) == {"code", "status", "message", "details"}


@requirement("5.4-table")
@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize(
    ("kind", "code", "http", "grpc"),
    [
        (errors.INVALID_AGENT_RESPONSE, -32006, 500, "INTERNAL"),
        (errors.EXTENDED_CARD_NOT_CONFIGURED, -32007, 400, "FAILED_PRECONDITION"),
    ],
)
def test_what_nobody_can_provoke_is_told_as_the_table_has_it(
    binding: str, kind: errors.Kind, code: int, http: int, grpc: str
) -> None:
    error = A2AError(kind, "why")
    if binding == "JSONRPC":
        answer = jsonrpc_binding.render(error, "one")
        assert f'"code":{code}'.encode() in bytes(answer.body)
    elif binding == "HTTP+JSON":
        scope = {"headers": [(b"a2a-version", b"1.0")], "query_string": b""}
        assert rest_binding.render(error, scope).status_code == http
    else:
        assert kind.status == grpc


@requirement("3.3.2-hidden", "3.3.2-alike", "3.1.8-missing", "13.1-every")
async def test_anothers_task_is_refused_like_a_missing_one(ann: Speaker) -> None:
    task = await ann.send(at_once("wait"))
    mine = {"taskId": task["id"], "id": "mine"}
    await ann.ask("CreateTaskPushNotificationConfig", {**mine, "url": HOOK})
    before = await ann.get(task["id"])

    def about(id: str) -> dict[str, dict[str, Any]]:
        config = {"taskId": id, "id": "mine"}
        return {
            "GetTask": {"id": id},
            "CancelTask": {"id": id},
            "SubscribeToTask": {"id": id},
            "SendMessage": message("x", taskId=id, messageId="m"),
            "SendStreamingMessage": message("x", taskId=id, messageId="m"),
            "CreateTaskPushNotificationConfig": {**config, "url": HOOK},
            "GetTaskPushNotificationConfig": config,
            "ListTaskPushNotificationConfigs": {"taskId": id},
            "DeleteTaskPushNotificationConfig": config,
        }

    foreign, missing = about(task["id"]), about(str(uuid4()))
    for operation in foreign:
        theirs = await refusal_of(ann.other, operation, foreign[operation], {})
        nothing = await refusal_of(ann.other, operation, missing[operation], {})
        assert theirs.reason == "TASK_NOT_FOUND"
        assert theirs.whole == nothing.whole, operation
    assert await ann.get(task["id"]) == before
    await ann.ask("CancelTask", {"id": task["id"]})


@requirement("5.5-camel-case", "5.5-enums", "5.6.1-utc", "5.6.1-milliseconds", "5.7-present")
async def test_values_are_written_as_protojson_has_them(ann: Speaker) -> None:
    asked = await ann.send(message("hold Which?"))
    task = await ann.send(message("blue", taskId=asked["id"]))
    ParseDict(task, pb.Task())  # it refuses what it does not know
    assert "_" not in "".join(names_in(task))
    assert TIME.fullmatch(task["status"]["timestamp"])
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert {m["role"] for m in task["history"]} == {"ROLE_USER", "ROLE_AGENT"}
    assert all({"messageId", "role", "parts"} <= set(m) and m["parts"] for m in task["history"])
    assert all({"artifactId", "parts"} <= set(a) and a["parts"] for a in task["artifacts"])


def names_in(value: Any) -> list[str]:
    """Every member's name in a value, but for metadata, whose names are free."""
    if isinstance(value, list):
        return [name for inner in value for name in names_in(inner)]
    if not isinstance(value, dict):
        return []
    inner = [name for key, v in value.items() if key != "metadata" for name in names_in(v)]
    return [*value, *inner]


@requirement("5.5-enums", "3.3.2-validated")
@pytest.mark.parametrize("state", ["TASK_STATE_RUNNING", "working", "completed", "99"])
async def test_a_state_that_is_none_is_refused(ann: Speaker, state: str) -> None:
    if ann.binding == "GRPC":
        refusal = await ann.refused("ListTasks", {"status": 99})
    else:
        refusal = await ann.refused("ListTasks", {"status": state})
    assert (refusal.reason, refusal.fields) == ("INVALID_PARAMS", ["status"])


@requirement("5.5-enums", "3.3.2-validated")
@pytest.mark.parametrize("role", ["user", "ROLE_BOSS", 7])
async def test_a_role_that_is_none_is_refused(ann: Speaker, role: Any) -> None:
    refusal = await ann.refused("SendMessage", message(role=7 if ann.binding == "GRPC" else role))
    assert (refusal.reason, refusal.fields) == ("INVALID_PARAMS", ["message.role"])


@requirement("5.6.1-offsets", "5.6.1-utc")
@pytest.mark.parametrize(
    "time", ["2026-01-31T12:00:00+01:00", "2026-01-31", "yesterday", "2026-13-01T00:00:00Z"]
)
@pytest.mark.parametrize("ann", ["JSONRPC", "HTTP+JSON"], indirect=True)
async def test_a_time_that_is_not_utc_is_refused(ann: Speaker, time: str) -> None:
    refusal = await ann.refused("ListTasks", {"statusTimestampAfter": time})
    assert (refusal.reason, refusal.fields) == ("INVALID_PARAMS", ["statusTimestampAfter"])


@requirement("5.7-unknown")
async def test_members_that_nobody_knows_are_ignored(ann: Speaker) -> None:
    sent = message(future="x")
    sent["configuration"] = {"soon": {"deep": 1}, "historyLength": 1}
    assert (await ann.send({**sent, "later": True}))["status"]["state"] == "TASK_STATE_COMPLETED"


@requirement("13.4-sizes", "3.3.2-validated")
async def test_what_is_too_large_is_refused_and_leaves_nothing(ann: Speaker) -> None:
    context = uuid4().hex
    large = message("x" * (10 * 1024 * 1024), contextId=context)
    if ann.binding == "GRPC":  # the transport itself refuses, without a word of the protocol
        import grpc.aio  # type: ignore[import-untyped]

        with pytest.raises((grpc.aio.AioRpcError, AssertionError)) as refused:
            await ann.wire.told("SendMessage", large)
        assert "RESOURCE_EXHAUSTED" in str(refused.value)
    else:
        refusal = await ann.refused("SendMessage", large)
        assert (refusal.reason, refusal.code) in (("PAYLOAD_TOO_LARGE", 413), ("PAYLOAD_TOO_LARGE", -32600))
    assert (await ann.ask("ListTasks", {"contextId": context})).get("tasks", []) == []
    many = await ann.refused("SendMessage", message(contextId=context, parts=[{"text": "x"}] * 1001))
    assert many.fields == ["message.parts"]
