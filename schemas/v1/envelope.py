"""The one envelope around everything that `/api/v1` answers, and the one shape of an error."""

from typing import Any, NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from schemas.errors import ErrorCode
from schemas.v1.fields import Instant, answer


@answer
class Meta(TypedDict):
    """About the answer itself."""

    request_id: str
    """Correlation id: what `X-Request-Id` said, else made by the hub."""
    timestamp: Instant


@answer
class PageMeta(Meta):
    """About one page of a list."""

    total: int
    page: int
    per_page: int
    pages: int
    """At least 1."""


@answer
class CursorMeta(Meta):
    """About one stretch of the event log."""

    has_more: bool
    """Whether the log goes on in the direction of reading."""
    next_after: int | None
    """Read on forward from here."""
    next_before: int | None
    """Read on backward from here."""


@answer
class Issues(TypedDict):
    """What is wrong with a body, by its top-level fields."""

    fieldErrors: dict[str, list[str]]
    formErrors: list[str]


@with_config(ConfigDict(use_attribute_docstrings=True, extra="allow"))
class ErrorDetails(TypedDict, total=False):
    """What a program may act on. More keys may appear."""

    reason_code: str
    """Why exactly, for example `task_ownership_moved`, `lease_expired`, `request_id_reused`."""
    issues: Issues
    task_id: str
    current_state: str
    requested_state: str


@answer
class ErrorBody(TypedDict):
    """What went wrong. Branch on `code`; `message` is for people."""

    code: ErrorCode
    message: str
    recovery_hint: NotRequired[str]
    """What to do about it."""
    details: NotRequired[ErrorDetails]


@answer
class ErrorAnswer(TypedDict):
    """Every refusal, on every route, looks like this."""

    error: ErrorBody
    meta: Meta


@answer
class ItemError(TypedDict):
    """An item of a batch that was refused; the others stand."""

    error: ErrorBody


def error_body(code: ErrorCode, message: str, details: dict[str, Any], hint: str | None) -> dict[str, Any]:
    """The error as it goes out, without empty keys."""
    body: dict[str, Any] = {"code": code, "message": message}
    if hint is not None:
        body["recovery_hint"] = hint
    if details:
        body["details"] = details
    return body
