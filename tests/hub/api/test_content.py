"""Messages, artifacts and input requests over REST."""

import base64
from typing import Any

import pytest

from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Hub

PARTS = [{"text": "hello", "media_type": "text/markdown"}, {"data": {"a": [1, None]}}, {"raw": "aGk="}]


async def test_both_sides_of_a_conversation_are_read_in_order(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    path = f"/tasks/{task['id']}/messages"
    asked = await hub.post(path, {"parts": [{"text": "How far?"}]})
    said = await hub.post(
        path,
        {"lease_id": task["lease_id"], "parts": PARTS, "message_id": "m2", "metadata": {"k": 1}},
        key=agent["api_key"],
    )
    assert (asked.status, said.status) == (201, 201)
    assert (asked.data["role"], said.data["role"]) == ("user", "agent")
    assert (said.data["message_id"], said.data["parts"], said.data["metadata"]) == ("m2", PARTS, {"k": 1})
    messages = (await hub.get(path)).data
    assert messages == [asked.data, said.data]
    assert (await hub.get(f"{path}?after={messages[0]['n']}")).data == messages[1:]
    assert (await hub.get(f"{path}?limit=1")).data == messages[:1]


async def test_a_message_that_is_sent_again_is_said_once(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    body = {"lease_id": task["lease_id"], "parts": PARTS, "request_id": "m"}
    first = await hub.post(f"/tasks/{task['id']}/messages", body, key=agent["api_key"])
    again = await hub.post(f"/tasks/{task['id']}/messages", body, key=agent["api_key"])
    assert (again.status, again.data) == (201, first.data)
    assert len((await hub.get(f"/tasks/{task['id']}/messages")).data) == 1


async def test_an_artifact_grows_by_chunks(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    path = f"/tasks/{task['id']}/artifacts"
    lease = {"lease_id": task["lease_id"]}
    first = await hub.post(
        path, {**lease, "name": "log", "parts": [{"text": "a"}], "last_chunk": False}, key=agent["api_key"]
    )
    assert first.status == 201
    assert first.data["complete"] is False
    chunk = {**lease, "artifact_id": first.data["artifact_id"], "append": True, "parts": [{"text": "b"}]}
    whole = (await hub.post(path, chunk, key=agent["api_key"])).data
    assert whole["complete"] is True
    read = (await hub.get(f"{path}/{first.data['artifact_id']}")).data
    assert read["parts"] == [{"text": "a"}, {"text": "b"}]
    assert (await hub.get(path)).data == [read]
    missing = await hub.post(path, {**chunk, "artifact_id": "none"}, key=agent["api_key"])
    assert (missing.status, missing.code) == (404, "NOT_FOUND")


async def test_a_file_is_an_artifact_of_one_part(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    path = f"/tasks/{task['id']}/artifacts"
    content = base64.b64encode(b"\x00\xffbytes").decode()
    body = {"path": "out/report.bin", "content_base64": content, "content_type": "application/x-report"}
    made = await hub.post(path, {"lease_id": task["lease_id"], **body}, key=agent["api_key"])
    read = (await hub.get(f"{path}/{made.data['artifact_id']}")).data
    assert read["parts"] == [{"raw": content, "media_type": body["content_type"], "filename": "report.bin"}]
    assert (read["logical_path"], read["size_bytes"]) == ("out/report.bin", 7)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"parts": [{"text": "a"}], "content_base64": "aGk=", "path": "a"},
        {"content_base64": "aGk="},
        {"content_base64": "not base64", "path": "a"},
        {"content_base64": "aGk=", "path": "/etc/passwd"},
        {"content_base64": "aGk=", "path": "a/../../b"},
        {"content_base64": "aGk=", "path": "a\\b"},
    ],
)
async def test_an_artifact_that_is_none_answers_422(hub: Hub, body: dict[str, Any]) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    body = {"lease_id": task["lease_id"], **body}
    answer = await hub.post(f"/tasks/{task['id']}/artifacts", body, key=agent["api_key"])
    assert (answer.status, answer.code) == (422, "SCHEMA_VALIDATION_FAILED")


async def test_an_artifact_of_more_than_the_ordinary_limit_is_taken(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    body = {"lease_id": task["lease_id"], "parts": [{"text": "x" * (2 * 1024 * 1024)}]}
    answer = await hub.post(f"/tasks/{task['id']}/artifacts", body, key=agent["api_key"])
    assert answer.status == 201
    said = await hub.post(f"/tasks/{task['id']}/messages", body, key=agent["api_key"])
    assert (said.status, said.code) == (413, "PAYLOAD_TOO_LARGE")


async def test_an_artifact_is_deleted_by_its_executor_or_an_operator(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    path = f"/tasks/{task['id']}/artifacts"
    for name in ("one", "two"):
        body = {"lease_id": task["lease_id"], "artifact_id": name, "parts": [{"text": name}]}
        await hub.post(path, body, key=agent["api_key"])
    one = f"/api/v1{path}/one?lease_id={task['lease_id']}"
    assert (await hub.send("DELETE", one, key=agent["api_key"])).status == 204
    assert (await hub.send("DELETE", f"/api/v1{path}/two")).status == 204
    assert (await hub.get(path)).data == []
    assert (await hub.send("DELETE", f"/api/v1{path}/two")).status == 404


@pytest.mark.parametrize("hold", [False, True])
async def test_input_is_asked_for_and_answered(hub: Hub, hold: bool) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    schema = {"type": "object", "required": ["report"], "properties": {"report": {"enum": [1, 2]}}}
    ask = {"lease_id": task["lease_id"], "parts": [{"text": "Which?"}], "schema": schema, "hold": hold}
    waiting = (await hub.post(f"/tasks/{task['id']}/request-input", ask, key=agent["api_key"])).data
    assert (waiting["state"], waiting["held"]) == ("input_required", hold)
    path = f"/tasks/{task['id']}/input"
    wrong = await hub.post(path, {"data": {"report": 3}, "input_id": waiting["input_id"]})
    assert (wrong.status, wrong.code) == (422, "SCHEMA_VALIDATION_FAILED")
    assert (await hub.post(path, {"data": {"report": 1}}, key=await hub.key(Scope.AGENT))).status == 404
    answered = await hub.post(path, {"data": {"report": 2}, "request_id": "a1"})
    assert answered.data["state"] == ("in_progress" if hold else "ready")
    again = await hub.post(path, {"data": {"report": 2}, "request_id": "a1"})
    assert again.data == answered.data
    late = await hub.post(path, {"data": {"report": 2}})
    assert (late.status, late.reason) == (409, "nothing_asked")
    assert (await hub.get(f"/tasks/{task['id']}/messages")).data[-1]["role"] == "user"


async def test_a_null_is_an_answer_and_silence_is_none(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    ask = {"lease_id": task["lease_id"], "parts": [{"text": "Anything?"}]}
    await hub.post(f"/tasks/{task['id']}/request-input", ask, key=agent["api_key"])
    assert (await hub.post(f"/tasks/{task['id']}/input", {})).status == 422
    assert (await hub.post(f"/tasks/{task['id']}/input", {"data": None})).status == 200


async def test_an_answer_to_another_question_answers_404(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    ask = {"lease_id": task["lease_id"], "kind": "auth", "parts": [{"text": "Log in."}]}
    waiting = await hub.post(f"/tasks/{task['id']}/request-input", ask, key=agent["api_key"])
    assert waiting.data["state"] == "auth_required"
    answer = await hub.post(f"/tasks/{task['id']}/input", {"data": 1, "input_id": UNLIKELY})
    assert (answer.status, answer.code) == (404, "NOT_FOUND")


async def test_much_is_reported_at_once_and_a_repeat_reports_nothing_more(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    path = f"/tasks/{task['id']}"
    chunk = {"kind": "artifact", "artifact_id": "log", "parts": [{"text": "x"}], "last_chunk": False}
    items = [chunk, *({**chunk, "append": True} for _ in range(9)), {"kind": "message", "parts": PARTS}]
    body = {"lease_id": task["lease_id"], "items": items, "request_id": "p"}
    first = await hub.post(f"{path}/progress", body, key=agent["api_key"])
    again = await hub.post(f"{path}/progress", body, key=agent["api_key"])
    assert (first.status, again.data) == (201, first.data)
    assert first.data["ids"][:10] == ["log"] * 10
    assert (await hub.get(f"{path}/artifacts/log")).data["parts"] == [{"text": "x"}] * 10
    assert [said["parts"] for said in (await hub.get(f"{path}/messages")).data] == [PARTS]
    assert (await hub.get(path)).data["version"] == first.data["version"]


async def test_a_report_of_nothing_or_of_no_known_kind_is_refused(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    for items in ([], [{"kind": "song"}], [{"kind": "artifact"}]):
        body = {"lease_id": task["lease_id"], "items": items}
        refused = await hub.post(f"/tasks/{task['id']}/progress", body, key=agent["api_key"])
        assert (refused.status, refused.code) == (422, "SCHEMA_VALIDATION_FAILED")
