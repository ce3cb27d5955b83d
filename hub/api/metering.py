"""Metering: what tasks used, and what it comes to."""

from core import metering as core
from core.metering import AMOUNTS, Metered, MeterFilter
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import metering as v1
from schemas.v1.envelope import PageMeta
from schemas.v1.fields import stamp
from schemas.vocabulary import Scope


@route(
    "POST",
    "/metering/events",
    scope=Scope.WORKER,
    body=v1.MeteringCreate,
    returns=v1.MeteringEvent,
    status=201,
    errors=(404,),
    summary="Say what a task used",
    operation_id="metering_create",
    example={"task_id": "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f", "tokens_input": 1200, "cost_usd": 0.02},
)
async def create(call: Call, body: v1.MeteringCreate) -> Reply:
    """Beyond what was said of it before. The budget of its workflow counts it."""
    values = body.model_dump(exclude={"request_id", "workflow_id"})
    return Reply(metered(await call.write(core.meter, core.Meter(**values))))


@route(
    "GET",
    "/metering/events",
    scope=Scope.ADMIN,
    query=v1.MeteringQuery,
    returns=list[v1.MeteringEvent],
    meta=PageMeta,
    summary="List what was used",
    operation_id="metering_list",
)
async def list_all(call: Call, query: v1.MeteringQuery) -> Reply:
    """Newest first."""
    found = await call.read(core.list_metered, MeterFilter(**query.model_dump()))
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([metered(item) for item in found.items], meta)


@route(
    "GET",
    "/metering/summary",
    scope=Scope.ADMIN,
    query=v1.MeteringFilters,
    returns=v1.MeteringSummary,
    summary="Sum up what was used",
    operation_id="metering_summary",
)
async def summary(call: Call, query: v1.MeteringFilters) -> Reply:
    """All that the filters leave, in one row."""
    found = await call.read(core.summarise, MeterFilter(**query.model_dump()))
    return Reply({"events": found.events, **{name: getattr(found, name) for name in AMOUNTS}})


def metered(value: Metered) -> v1.MeteringEvent:
    """One measurement."""
    names = [name for name in v1.MeteringEvent.__annotations__ if name != "created_at"]
    return {**{name: getattr(value, name) for name in names}, "created_at": stamp(value.created_at)}  # type: ignore[typeddict-item]  # by name
