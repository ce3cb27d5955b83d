"""A2A push configurations: how they fare, what was told, and telling again what was given up.

They are made over A2A. Whoever may read their task sees them here, and operators see all of the tenant.
"""

from typing import Literal

from core.deliveries import ListDeliveries, Redeliver, list_deliveries, redeliver
from core.push_upkeep import KeptConfig, ListKept, OneKept, get_kept, list_kept, resume_config
from core.targets import OVERFLOW
from hub.api.call import Call, Reply
from hub.api.routing import route
from hub.api.webhooks import delivery
from schemas.v1 import push_configs as v1
from schemas.v1.fields import stamp
from schemas.v1.webhooks import Delivery, DeliveryQuery
from schemas.vocabulary import Scope


@route(
    "GET",
    "/push-configs",
    scope=Scope.AGENT,
    query=v1.PushConfigQuery,
    returns=list[v1.PushConfig],
    summary="List push configurations",
    operation_id="push_configs_list",
)
async def list_push_configs(call: Call, query: v1.PushConfigQuery) -> Reply:
    """Those that may be seen, newest first: of one task, or of all."""
    found = await call.read(list_kept, ListKept(query.task_id, query.before, query.limit))
    return Reply([push_config(kept) for kept in found])


@route(
    "GET",
    "/push-configs/{id}",
    scope=Scope.AGENT,
    returns=v1.PushConfig,
    errors=(404,),
    summary="Read a push configuration",
    operation_id="push_configs_get",
)
async def get_push_config(call: Call) -> Reply:
    """With how much waits for it, and how much was given up."""
    return Reply(push_config(await call.read(get_kept, OneKept(call.id))))


@route(
    "POST",
    "/push-configs/{id}/resume",
    scope=Scope.AGENT,
    body=v1.PushConfigResume,
    returns=v1.PushConfig,
    errors=(404, 409),
    summary="Resume a paused push configuration",
    operation_id="push_configs_resume",
    example={},
)
async def resume_push_config(call: Call, body: v1.PushConfigResume) -> Reply:
    """It goes on with the first event that it did not hear of, as far as the log reaches back."""
    return Reply(push_config(await call.write(resume_config, OneKept(call.id))))


@route(
    "GET",
    "/push-configs/{id}/deliveries",
    scope=Scope.AGENT,
    query=DeliveryQuery,
    returns=list[Delivery],
    errors=(404,),
    summary="List a push configuration's deliveries",
    operation_id="push_configs_deliveries",
)
async def push_deliveries(call: Call, query: DeliveryQuery) -> Reply:
    """Newest first. `status=dead` lists what was given up. Settled ones are kept for seven days."""
    await call.read(get_kept, OneKept(call.id))
    wanted = ListDeliveries(
        target_id=call.id, states=query.status or (), before=query.before, limit=query.limit
    )
    return Reply([delivery(found) for found in await call.read(list_deliveries, wanted)])


@route(
    "POST",
    "/push-configs/{id}/deliveries/{delivery_id}/redeliver",
    scope=Scope.AGENT,
    body=v1.PushRedeliver,
    returns=Delivery,
    errors=(404, 409),
    summary="Deliver a push notification again",
    operation_id="push_configs_redeliver",
    example={},
)
async def push_deliver_again(call: Call, body: v1.PushRedeliver) -> Reply:
    """A dead delivery gets its attempts back, before everything later about the same task."""
    await call.read(get_kept, OneKept(call.id))
    command = Redeliver(call.ids["delivery_id"], target_id=call.id)
    return Reply(delivery(await call.write(redeliver, command)))


def push_config(kept: KeptConfig) -> v1.PushConfig:
    """A configuration."""
    config = kept.config
    return {
        "id": config.id,
        "task_id": config.task_id,
        "config_id": config.config_id,
        "url": config.url,
        "scheme": config.scheme,
        "has_credentials": config.has_credentials,
        "has_token": config.has_token,
        "protocol_version": config.protocol_version,
        "status": _status(kept),
        "disabled": config.disabled,
        "waiting": kept.waiting,
        "dead": kept.dead,
        "created_at": stamp(kept.created_at),
        "updated_at": stamp(kept.updated_at),
    }


def _status(kept: KeptConfig) -> Literal["live", "done", "paused", "ended"]:
    if kept.config.disabled is not None:
        return "paused" if kept.config.disabled == OVERFLOW else "ended"
    return "live" if kept.config.live else "done"
