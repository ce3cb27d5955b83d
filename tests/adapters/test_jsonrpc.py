"""JSON-RPC 2.0 envelopes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import jsonrpc

IDS = st.none() | st.text(max_size=20).filter(lambda s: s.isascii()) | st.integers(-(2**63), 2**63 - 1)


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_request_is_read_with_its_id_method_and_params() -> None:
    read = jsonrpc.read_request(
        body({"jsonrpc": "2.0", "id": 7, "method": "m", "params": {"a": 1}, "more": 0})
    )
    assert read == jsonrpc.Request(7, "m", {"a": 1})


def test_a_request_without_an_id_is_a_notification_and_a_null_id_is_not() -> None:
    assert jsonrpc.request_of({"jsonrpc": "2.0", "method": "m"}).notification
    assert not jsonrpc.request_of({"jsonrpc": "2.0", "id": None, "method": "m"}).notification


@pytest.mark.parametrize(
    ("sent", "code", "id"),
    [
        (b"", jsonrpc.PARSE_ERROR, None),
        (b"{", jsonrpc.PARSE_ERROR, None),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}', jsonrpc.PARSE_ERROR, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"\\u0000"}', jsonrpc.PARSE_ERROR, None),
        (b"[" * 10_000, jsonrpc.PARSE_ERROR, None),
        (b"[]", jsonrpc.INVALID_REQUEST, None),
        (b"3", jsonrpc.INVALID_REQUEST, None),
        (body({"jsonrpc": "1.0", "id": 1, "method": "m"}), jsonrpc.INVALID_REQUEST, 1),
        (body({"id": "x", "method": "m"}), jsonrpc.INVALID_REQUEST, "x"),
        (body({"jsonrpc": "2.0", "id": True, "method": "m"}), jsonrpc.INVALID_REQUEST, None),
        (body({"jsonrpc": "2.0", "id": 1.5, "method": "m"}), jsonrpc.INVALID_REQUEST, None),
        (body({"jsonrpc": "2.0", "id": {}, "method": "m"}), jsonrpc.INVALID_REQUEST, None),
        (body({"jsonrpc": "2.0", "id": 1}), jsonrpc.INVALID_REQUEST, 1),
        (body({"jsonrpc": "2.0", "id": 1, "method": ""}), jsonrpc.INVALID_REQUEST, 1),
        (body({"jsonrpc": "2.0", "id": 1, "method": "m", "params": "no"}), jsonrpc.INVALID_REQUEST, 1),
    ],
)
def test_what_is_no_request_is_refused_with_the_id_that_could_be_read(
    sent: bytes, code: int, id: jsonrpc.Id
) -> None:
    with pytest.raises(jsonrpc.BadEnvelope) as refused:
        jsonrpc.read_request(sent)
    assert (refused.value.code, refused.value.id) == (code, id)


@given(IDS, st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_answers_are_whole_json_rpc_responses(id: jsonrpc.Id, value: Any) -> None:
    assert json.loads(jsonrpc.result(id, value)) == {"jsonrpc": "2.0", "id": id, "result": value}
    told = json.loads(jsonrpc.error(id, -32000, "no", [value]))
    assert told == {"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": "no", "data": [value]}}
    assert "data" not in json.loads(jsonrpc.error(id, -32000, "no"))["error"]
