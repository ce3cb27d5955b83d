"""The error table and its forms. Specification §5.4, §9.5, §11.6."""

import json

import pytest
from a2a.utils.errors import A2A_ERROR_MAPPING, JSON_RPC_ERROR_CODE_MAP
from google.rpc import error_details_pb2  # type: ignore[import-untyped]

from adapters.a2a import errors
from adapters.a2a.errors import OF_CODE, A2AError, Kind, Violation, describe
from core.errors import (
    Conflict,
    Invalid,
    InvalidTransition,
    NotFound,
    TooMany,
    Unauthenticated,
    Unprocessable,
)
from schemas.errors import ErrorCode
from tests.adapters.a2a.support import official

KINDS = [value for value in vars(errors).values() if isinstance(value, Kind)]


def test_every_platform_error_has_its_a2a_error() -> None:
    assert set(OF_CODE) == set(ErrorCode)


def test_the_protocols_errors_are_those_of_the_official_sdk() -> None:
    official = {
        mapping.reason: (JSON_RPC_ERROR_CODE_MAP[kind], mapping.http_code, mapping.grpc_status)
        for kind, mapping in A2A_ERROR_MAPPING.items()
    }
    ours = {
        kind.reason: (kind.rpc, kind.http, kind.status) for kind in KINDS if kind.domain == errors.A2A_DOMAIN
    }
    ours.pop("PARSE_ERROR")
    assert ours == official


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.reason)
def test_details_are_well_formed_google_rpc_types(kind: Kind) -> None:
    error = A2AError(kind, "no", violations=[Violation("a.b", "wrong")], metadata={"k": "v"}, retry_after=2.5)
    info, bad, retry = error.details
    types = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)
    for told, type_ in zip((info, bad, retry), types, strict=True):
        name = type_.DESCRIPTOR.full_name
        assert told["@type"] == f"type.googleapis.com/{name}"
        official({key: value for key, value in told.items() if key != "@type"}, type_)
    assert (info["reason"], info["metadata"]) == (kind.reason, {"k": "v"})
    assert bad["fieldViolations"] == [{"field": "a.b", "description": "wrong"}]
    assert error.status["error"]["code"] == kind.http


def test_what_is_missing_says_nothing_about_why() -> None:
    told = describe(NotFound("no such parent task", details={"task_id": "secret"}))
    assert (told.kind, told.message, told.metadata) == (errors.TASK_NOT_FOUND, "No such task.", {})


def test_an_unexpected_fault_is_logged_and_leaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    told = describe(RuntimeError("password=hunter2"))
    assert told.kind is errors.INTERNAL
    assert "hunter2" not in json.dumps(told.status)
    assert "hunter2" in caplog.text


def test_platform_errors_keep_their_public_details() -> None:
    told = describe(
        Conflict("used", details={"reason_code": "request_id_reused", "n": 3}, hint="take another")
    )
    assert told.kind is errors.CONFLICT
    assert told.metadata == {"reason_code": "request_id_reused", "hint": "take another"}
    fields = describe(Unprocessable("no", fields={"data": ["too short", "too old"]})).violations
    assert fields == [Violation("data", "too short"), Violation("data", "too old")]
    assert describe(Invalid("no")).kind is errors.INVALID_PARAMS
    assert describe(InvalidTransition("no")).kind is errors.UNSUPPORTED_OPERATION


def test_http_headers_belong_to_their_errors() -> None:
    assert describe(Unauthenticated("no")).headers["WWW-Authenticate"].startswith("Bearer")
    assert describe(TooMany("slow down", retry_after=2.6)).headers == {"Retry-After": "3"}
    assert describe(NotFound("no")).headers == {}
