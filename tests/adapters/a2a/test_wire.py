"""A2A requests as they arrive: ProtoJSON, required members, limits. Specification §5.5 to §5.7."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from a2a.types import a2a_pb2
from hypothesis import given
from hypothesis import strategies as st

from adapters.a2a import wire
from adapters.a2a.errors import INVALID_PARAMS, A2AError
from tests.adapters.a2a.support import written


def message(**changes: Any) -> dict[str, Any]:
    return {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": "hi"}], **changes}


def refused(params: Any, read: Any = wire.send_message) -> set[str]:
    with pytest.raises(A2AError) as error:
        read(params)
    assert error.value.kind is INVALID_PARAMS
    return {violation.field for violation in error.value.violations}


def test_a_plain_message_is_read() -> None:
    read = wire.send_message({"message": message()})
    assert read.parts == [{"text": "hi"}]
    assert (read.message_id, read.task_id, read.context_id, read.tenant) == ("m1", None, None, None)
    assert (read.history_length, read.return_immediately, read.push) == (None, False, None)


def test_what_the_official_types_write_is_read_back() -> None:
    """The SDK's own protobuf types are the oracle for the shape of a request."""
    request = a2a_pb2.SendMessageRequest(
        tenant="t",
        message=a2a_pb2.Message(
            message_id="m",
            task_id="a",
            context_id="c",
            role=a2a_pb2.ROLE_USER,
            extensions=["urn:x"],
            reference_task_ids=["r"],
            parts=[
                a2a_pb2.Part(text="t", media_type="text/markdown"),
                a2a_pb2.Part(raw=b"\xff\x00", filename="f.bin"),
                a2a_pb2.Part(url="https://example.com/x"),
            ],
        ),
        configuration=a2a_pb2.SendMessageConfiguration(
            accepted_output_modes=["text/plain"], history_length=0, return_immediately=True
        ),
    )
    request.metadata.update({"k": 1.5})
    read = wire.send_message(written(request))
    assert read.parts == [
        {"text": "t", "media_type": "text/markdown"},
        {"raw": base64.b64encode(b"\xff\x00").decode(), "filename": "f.bin"},
        {"url": "https://example.com/x"},
    ]
    assert (read.tenant, read.task_id, read.context_id) == ("t", "a", "c")
    assert (read.history_length, read.return_immediately) == (0, True)
    assert read.message_metadata == {wire.CARRIED: {"extensions": ["urn:x"], "referenceTaskIds": ["r"]}}
    assert (read.metadata, read.accepted_output_modes) == ({"k": 1.5}, ["text/plain"])


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({}, "message"),
        ({"message": []}, "message"),
        ({"message": message(messageId="")}, "message.messageId"),
        ({"message": message(messageId=7)}, "message.messageId"),
        ({"message": message(messageId="x" * 256)}, "message.messageId"),
        ({"message": message(contextId="x" * 256)}, "message.contextId"),
        ({"message": message(role=None)}, "message.role"),
        ({"message": message(role="ROLE_UNSPECIFIED")}, "message.role"),
        ({"message": message(role="ROLE_AGENT")}, "message.role"),
        ({"message": message(role="user")}, "message.role"),
        ({"message": message(role=1)}, "message.role"),
        ({"message": message(parts=[])}, "message.parts"),
        ({"message": message(parts="hi")}, "message.parts"),
        ({"message": message(parts=[{"text": "x"}] * 1001)}, "message.parts"),
        ({"message": message(parts=["hi"])}, "message.parts[0]"),
        ({"message": message(parts=[{}])}, "message.parts[0]"),
        ({"message": message(parts=[{"text": "a", "url": "b"}])}, "message.parts[0]"),
        ({"message": message(parts=[{"text": "a"}, {"kind": "text"}])}, "message.parts[1]"),
        ({"message": message(parts=[{"text": 1}])}, "message.parts[0].text"),
        ({"message": message(parts=[{"url": ""}])}, "message.parts[0].url"),
        ({"message": message(parts=[{"url": "h" * 8193}])}, "message.parts[0].url"),
        ({"message": message(parts=[{"text": "", "filename": "f" * 1025}])}, "message.parts[0].filename"),
        ({"message": message(parts=[{"text": "", "mediaType": "t" * 256}])}, "message.parts[0].mediaType"),
        ({"message": message(parts=[{"raw": "!"}])}, "message.parts[0].raw"),
        ({"message": message(parts=[{"raw": "abcde"}])}, "message.parts[0].raw"),
        ({"message": message(parts=[{"text": "a", "mediaType": 1}])}, "message.parts[0].mediaType"),
        ({"message": message(parts=[{"text": "a", "metadata": []}])}, "message.parts[0].metadata"),
        ({"message": message(metadata="x")}, "message.metadata"),
        ({"message": message(extensions=[1])}, "message.extensions"),
        ({"message": message(referenceTaskIds="x")}, "message.referenceTaskIds"),
        ({"message": message(), "metadata": 1}, "metadata"),
        ({"message": message(), "tenant": 1}, "tenant"),
        ({"message": message(), "configuration": 1}, "configuration"),
        ({"message": message(), "configuration": {"historyLength": -1}}, "configuration.historyLength"),
        ({"message": message(), "configuration": {"historyLength": "x"}}, "configuration.historyLength"),
        ({"message": message(), "configuration": {"historyLength": True}}, "configuration.historyLength"),
        ({"message": message(), "configuration": {"historyLength": 2**31}}, "configuration.historyLength"),
        (
            {"message": message(), "configuration": {"returnImmediately": 1}},
            "configuration.returnImmediately",
        ),
        (
            {"message": message(), "configuration": {"acceptedOutputModes": "x"}},
            "configuration.acceptedOutputModes",
        ),
    ],
)
def test_a_member_that_is_wrong_is_named(sent: dict[str, Any], field: str) -> None:
    assert refused(sent) == {field}


def test_everything_that_is_wrong_is_told_at_once() -> None:
    sent = {"message": {"parts": [{"text": 1}, {}]}, "configuration": {"historyLength": -1}}
    assert refused(sent) == {
        "message.messageId",
        "message.role",
        "message.parts[0].text",
        "message.parts[1]",
        "configuration.historyLength",
    }


def test_unknown_members_are_ignored_and_null_is_absent() -> None:
    read = wire.send_message(
        {
            "message": message(
                kind="message", taskId=None, contextId="", metadata=None, parts=[{"text": "", "x": 1}]
            ),
            "configuration": None,
            "new": 1,
        }
    )
    assert (read.task_id, read.context_id, read.parts) == (None, None, [{"text": ""}])


def test_a_null_data_part_is_a_value() -> None:
    """`data` is a google.protobuf.Value, of which null is one."""
    assert wire.send_message({"message": message(parts=[{"data": None}])}).parts == [{"data": None}]


@given(st.binary(max_size=60))
def test_every_form_of_base64_is_taken_and_kept_in_the_standard_one(content: bytes) -> None:
    standard = base64.b64encode(content).decode()
    for form in (standard, standard.rstrip("="), base64.urlsafe_b64encode(content).decode()):
        assert wire.send_message({"message": message(parts=[{"raw": form}])}).parts == [{"raw": standard}]


def test_one_task_is_named_by_a_required_id() -> None:
    assert wire.one_task({"id": "x", "historyLength": "3"}) == wire.OneTask(None, "x", 3)
    assert refused({}, wire.one_task) == {"id"}
    assert refused({"id": "x", "historyLength": -1}, wire.one_task) == {"historyLength"}
    assert refused({"id": 5, "metadata": []}, wire.one_task) == {"id", "metadata"}


def test_a_list_has_defaults() -> None:
    assert wire.list_tasks({}) == wire.ListTasks(None, None, None, 50, None, None, None, False)
    assert wire.list_tasks({"status": "TASK_STATE_UNSPECIFIED"}).state is None


def test_a_list_takes_query_strings_and_json_alike() -> None:
    after = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
    said = {
        "contextId": "c",
        "status": "TASK_STATE_WORKING",
        "pageToken": "p",
        "statusTimestampAfter": "2026-01-31T12:00:00.123456789Z",
    }
    typed = {**said, "pageSize": 7, "historyLength": 0, "includeArtifacts": True}
    texts = {**said, "pageSize": "7", "historyLength": "0", "includeArtifacts": "true"}
    wanted = wire.ListTasks(None, "c", "TASK_STATE_WORKING", 7, "p", 0, after, True)
    assert wire.list_tasks(typed) == wire.list_tasks(texts) == wanted


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"status": "TASK_STATE_RUNNING"}, "status"),
        ({"status": "working"}, "status"),
        ({"status": 2}, "status"),
        ({"pageSize": 0}, "pageSize"),
        ({"pageSize": 101}, "pageSize"),
        ({"pageSize": "-5"}, "pageSize"),
        ({"pageSize": 1.5}, "pageSize"),
        ({"historyLength": -1}, "historyLength"),
        ({"includeArtifacts": "yes"}, "includeArtifacts"),
        ({"statusTimestampAfter": "yesterday"}, "statusTimestampAfter"),
        ({"statusTimestampAfter": "2026-01-31T12:00:00+01:00"}, "statusTimestampAfter"),
        ({"statusTimestampAfter": "2026-02-31T12:00:00Z"}, "statusTimestampAfter"),
        ({"statusTimestampAfter": 1}, "statusTimestampAfter"),
    ],
)
def test_a_list_refuses_what_it_cannot_mean(sent: dict[str, Any], field: str) -> None:
    assert refused(sent, wire.list_tasks) == {field}


@pytest.mark.parametrize("params", [[], "x", 3])
def test_params_are_an_object(params: Any) -> None:
    refused(params, wire.params_of)


@pytest.mark.parametrize(
    ("media_type", "taken"),
    [
        ("text/plain", True),
        ("Text/Plain; charset=utf-8", True),
        ("text/markdown", True),
        ("application/json", True),
        ("image/png", False),
        ("textual", False),
        ("", False),
    ],
)
def test_media_types_match_modes_and_families(media_type: str, taken: bool) -> None:
    assert wire.accepts(["text/plain", "application/json", "text/*"], media_type) is taken
    assert wire.accepts(["*/*"], media_type)
