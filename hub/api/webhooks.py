"""Webhooks: who outside is told of events, and what became of each."""

from typing import Any

from core.deliveries import Delivery, ListDeliveries, Redeliver, list_deliveries, redeliver
from core.egress import BadTarget, Blocked
from core.errors import Unprocessable
from core.ports import Address
from core.webhooks import (
    ChangeWebhook,
    CreateWebhook,
    ListWebhooks,
    OneWebhook,
    Webhook,
    change_webhook,
    create_webhook,
    delete_webhook,
    get_webhook,
    list_webhooks,
    try_webhook,
)
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import webhooks as v1
from schemas.v1.envelope import PageMeta
from schemas.v1.fields import stamp, stamp_or_none
from schemas.v1.review import PageQuery
from schemas.vocabulary import Scope


@route(
    "POST",
    "/webhooks",
    scope=Scope.ADMIN,
    body=v1.WebhookCreate,
    returns=v1.Webhook,
    status=201,
    summary="Create a webhook",
    operation_id="webhooks_create",
    example={"url": "https://ci.example.com/crossdock", "event_types": ["task.*", "approval.requested"]},
)
async def create(call: Call, body: v1.WebhookCreate) -> Reply:
    """It hears of what happens from now on: at least once, in order for each thing, signed as Standard
    Webhooks asks. What is not accepted is tried again for hours, and then listed as dead."""
    address = await _admitted(call, body.url)
    command = CreateWebhook(
        address.url,
        address.endpoint,
        body.event_types,
        body.filters.workspace_id,
        body.filters.workflow_id,
        body.description,
        body.is_active,
        None if body.secret is None else body.secret.get_secret_value(),
    )
    return Reply(webhook(await call.write(create_webhook, command)))


@route(
    "GET",
    "/webhooks",
    scope=Scope.ADMIN,
    query=PageQuery,
    returns=list[v1.Webhook],
    meta=PageMeta,
    summary="List webhooks",
    operation_id="webhooks_list",
)
async def list_all(call: Call, query: PageQuery) -> Reply:
    """Newest first, without their secrets."""
    found = await call.read(list_webhooks, ListWebhooks(query.page, query.per_page))
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([webhook(item) for item in found.items], meta)


@route(
    "GET",
    "/webhooks/{id}",
    scope=Scope.ADMIN,
    returns=v1.Webhook,
    errors=(404,),
    summary="Read a webhook",
    operation_id="webhooks_get",
)
async def get(call: Call) -> Reply:
    """Without its secret."""
    return Reply(webhook(await call.read(get_webhook, OneWebhook(call.id))))


@route(
    "PATCH",
    "/webhooks/{id}",
    scope=Scope.ADMIN,
    body=v1.WebhookPatch,
    returns=v1.Webhook,
    errors=(404,),
    summary="Change a webhook",
    operation_id="webhooks_patch",
    example={"is_active": False},
)
async def patch(call: Call, body: v1.WebhookPatch) -> Reply:
    """What still waits goes to the new address. What happens while it is not active it never hears of."""
    changes: dict[str, Any] = {}
    if body.url is not None:
        address = await _admitted(call, body.url)
        changes |= {"url": address.url, "endpoint": address.endpoint}
    if body.filters is not None:
        changes |= body.filters.model_dump()
    for name in ("event_types", "description", "is_active"):
        if name in body.model_fields_set and (name == "description" or getattr(body, name) is not None):
            changes[name] = getattr(body, name)
    secret = None if body.secret is None else body.secret.get_secret_value()
    new = body.rotate_secret or secret is not None
    command = ChangeWebhook(call.id, tuple(changes.items()), new, secret)
    return Reply(webhook(await call.write(change_webhook, command)))


@route(
    "DELETE",
    "/webhooks/{id}",
    scope=Scope.ADMIN,
    also={204: "It is gone."},
    status=204,
    errors=(404,),
    summary="Delete a webhook",
    operation_id="webhooks_delete",
)
async def delete(call: Call) -> Reply:
    """With the record of what it was told. What still waits is dropped."""
    await call.write(delete_webhook, OneWebhook(call.id))
    return Reply()


@route(
    "POST",
    "/webhooks/{id}/test",
    scope=Scope.ADMIN,
    status=202,
    returns=v1.Webhook,
    errors=(404,),
    summary="Try a webhook",
    operation_id="webhooks_test",
)
async def test(call: Call) -> Reply:
    """Sends it an event of type `webhook.tested`; its deliveries tell what came of it."""
    return Reply(webhook(await call.write(try_webhook, OneWebhook(call.id))))


@route(
    "GET",
    "/webhooks/{id}/deliveries",
    scope=Scope.ADMIN,
    query=v1.DeliveryQuery,
    returns=list[v1.Delivery],
    errors=(404,),
    summary="List a webhook's deliveries",
    operation_id="webhooks_deliveries",
)
async def deliveries(call: Call, query: v1.DeliveryQuery) -> Reply:
    """Newest first. Settled ones are kept for seven days."""
    await call.read(get_webhook, OneWebhook(call.id))
    wanted = ListDeliveries(
        target_id=call.id, states=query.status or (), before=query.before, limit=query.limit
    )
    return Reply([delivery(found) for found in await call.read(list_deliveries, wanted)])


@route(
    "POST",
    "/webhooks/{id}/deliveries/{delivery_id}/redeliver",
    scope=Scope.ADMIN,
    returns=v1.Delivery,
    errors=(404,),
    summary="Deliver again",
    operation_id="webhooks_redeliver",
)
async def deliver_again(call: Call) -> Reply:
    """A dead delivery gets its attempts back, before everything later about the same thing."""
    await call.read(get_webhook, OneWebhook(call.id))
    command = Redeliver(call.ids["delivery_id"], target_id=call.id)
    return Reply(delivery(await call.write(redeliver, command)))


async def _admitted(call: Call, url: str) -> Address:
    assert call.shared.receivers is not None, "the hub hands them in"
    try:
        return await call.shared.receivers.admit(url)
    except BadTarget as bad:
        why = bad.reason
    except Blocked:
        why = "the hub does not call this address"
    raise Unprocessable(f"Invalid request body: url: {why}", fields={"url": [why]})


def webhook(value: Webhook) -> v1.Webhook:
    """A webhook."""
    return {
        "id": value.id,
        "url": value.url,
        "event_types": list(value.event_types),
        "filters": {"workspace_id": value.workspace_id, "workflow_id": value.workflow_id},
        "secret": value.secret,
        "description": value.description,
        "is_active": value.is_active,
        "disabled": value.disabled,
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }


def delivery(value: Delivery) -> v1.Delivery:
    """A delivery."""
    return {
        "id": value.id,
        "event_id": value.pos,
        "entity_id": value.entity_id,
        "status": value.state.value,
        "attempt": value.attempt,
        "response_status": value.response_status,
        "error": value.error,
        "next_attempt_at": stamp_or_none(value.next_at),
        "created_at": stamp(value.created_at),
        "attempted_at": stamp_or_none(value.attempted_at),
        "settled_at": stamp_or_none(value.settled_at),
    }
