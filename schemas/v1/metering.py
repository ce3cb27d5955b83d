"""Metering: what tasks used."""

from typing import Annotated

from pydantic import AliasChoices, AliasGenerator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from schemas.v1.fields import Id, Instant, Moment, Query, Replayable, answer

Count = Annotated[int, Field(ge=0, le=10**15)]


def _both(name: str) -> AliasChoices:
    return AliasChoices(name, to_camel(name))


class MeteringCreate(Replayable):
    """What a task used, beyond what was said before. Names may also come in camelCase."""

    model_config = ConfigDict(
        validate_by_name=True,
        validate_by_alias=True,
        alias_generator=AliasGenerator(validation_alias=_both),
    )

    task_id: Id
    workflow_id: Id | None = None
    """The task's; it need not be said."""
    worker_id: Id | None = None
    agent_id: Id | None = None
    tokens_input: Count = 0
    tokens_output: Count = 0
    cost_usd: Annotated[float, Field(ge=0, le=1e9, strict=False)] = 0.0
    wall_time_ms: Count = 0
    cpu_ms: Count = 0
    memory_peak_bytes: Count = 0
    network_bytes: Count = 0


class MeteringFilters(Query):
    """Which measurements."""

    task_id: Id | None = None
    workflow_id: Id | None = None
    worker_id: Id | None = None
    agent_id: Id | None = None
    since: Moment | None = None
    until: Moment | None = None


class MeteringQuery(MeteringFilters):
    """A page of them, newest first."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20


@answer
class MeteringEvent(TypedDict):
    """One measurement."""

    id: Id
    task_id: Id
    workflow_id: Id | None
    worker_id: Id | None
    agent_id: Id | None
    tokens_input: int
    tokens_output: int
    cost_usd: float
    wall_time_ms: int
    cpu_ms: int
    memory_peak_bytes: int
    network_bytes: int
    created_at: Instant


@answer
class MeteringSummary(TypedDict):
    """What measurements come to."""

    events: int
    tokens_input: int
    tokens_output: int
    cost_usd: float
    wall_time_ms: int
    cpu_ms: int
    memory_peak_bytes: int
    """The highest."""
    network_bytes: int
