"""The field types that the models of `/api/v1` share, and the two model forms.

What comes in is a `Body` or a `Query`: strict, and closed to unknown fields. What goes out is a `TypedDict`,
built by a plain function and written by pydantic's serializer: mypy checks that no field is missing, and
nothing is validated twice on the way out.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    with_config,
)

from schemas.validation import check_schema
from schemas.vocabulary import TaskState

T = TypeVar("T")

MAX_REQUEST_ID: Final = 255
"""Longest replay key, in the body or in the header."""


class Body(BaseModel):
    """A request body: no coercion, no unknown field."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )


class Replayable(Body):
    """The body of a mutation."""

    request_id: Annotated[str, StringConstraints(min_length=1, max_length=MAX_REQUEST_ID)] | None = None
    """Replay key of the caller: the same call with the same key happens once. Same as `Idempotency-Key`."""


class Query(BaseModel):
    """Query parameters, read from text. An unknown one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _canonical(value: object) -> object:
    if isinstance(value, UUID) or (isinstance(value, str) and len(value) == 36):
        return value
    raise ValueError("should be a UUID in its canonical form")


def _text(value: object) -> object:
    if isinstance(value, str | datetime):
        return value
    raise ValueError("should be an RFC 3339 timestamp")


def _items(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


def _state(value: object) -> object:
    try:
        return TaskState.of_wire(value) if isinstance(value, str) else value
    except KeyError:
        raise ValueError("should be one of " + ", ".join(state.wire for state in TaskState)) from None


def _checked_schema(schema: dict[str, Any]) -> dict[str, Any]:
    check_schema(schema)
    return schema


Id = Annotated[UUID, Field(strict=False), BeforeValidator(_canonical, json_schema_input_type=UUID)]
Moment = Annotated[
    AwareDatetime, Field(strict=False), BeforeValidator(_text, json_schema_input_type=AwareDatetime)
]
"""A timestamp that comes in: RFC 3339 with an offset."""
Short = Annotated[str, StringConstraints(min_length=1, max_length=120)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Remark = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Tags = Annotated[list[Tag], Field(max_length=64)]
Object = dict[str, Any]
"""An arbitrary JSON object."""
UserSchema = Annotated[dict[str, Any], AfterValidator(_checked_schema)]
"""A JSON Schema that the hub can check values against."""
Wait = Annotated[int, Field(ge=0, le=30)]
"""Seconds of long polling."""
Csv = Annotated[list[T], BeforeValidator(_items), Field(min_length=1, max_length=64)]
"""Several values in one query parameter, separated by commas."""

Instant = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-25T09:30:00.000Z"]}),
]
"""A timestamp that goes out: ISO 8601, UTC, milliseconds."""
IdText = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
"""A UUID that goes out as the text it was stored as."""
_STATES: Final = [state.wire for state in TaskState]
State = Annotated[str, WithJsonSchema({"type": "string", "enum": _STATES})]
"""The wire name of a task state that goes out."""
StateFilter = Annotated[
    TaskState, BeforeValidator(_state), WithJsonSchema({"type": "string", "enum": _STATES})
]

STATES: Mapping[TaskState, str] = MappingProxyType({state: state.wire for state in TaskState})

answer = with_config(ConfigDict(use_attribute_docstrings=True))
"""Marks a `TypedDict` that goes out: its fields' docstrings are its documentation. Fields may be added."""


def stamp(moment: datetime) -> str:
    """The moment as it goes out. It must be in UTC, as everything from the store is."""
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def stamp_or_none(moment: datetime | None) -> str | None:
    """The moment, if there is one."""
    return None if moment is None else moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def now() -> str:
    """The present moment, for envelopes."""
    return stamp(datetime.now(UTC))
