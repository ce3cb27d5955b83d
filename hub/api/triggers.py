"""Triggers: what is started when something happens, and the webhooks that others call."""

from typing import Any, Final

from core import triggers
from core.caller import SYSTEM
from core.errors import NotFound, TooLarge
from core.trigger_records import Occasion, OneTrigger, Trigger
from hub.answers import Unreadable
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import PREFIX, route
from hub.api.schedules import action_of
from hub.authentication import NOBODY
from hub.hook_proof import proved, refused
from hub.limits import network_of
from schemas.occasions import HookAuth, TriggerKind
from schemas.strict_json import InvalidJson, parse_json
from schemas.v1 import schedules as v1
from schemas.v1.envelope import PageMeta
from schemas.v1.fields import stamp, stamp_or_none
from schemas.v1.review import PageQuery
from schemas.vocabulary import Scope

HOOK_BYTES: Final = 256 * 1024


@route(
    "POST",
    "/triggers",
    scope=Scope.ADMIN,
    body=v1.TriggerCreate,
    returns=v1.Trigger,
    status=201,
    errors=(409,),
    summary="Create a trigger",
    operation_id="triggers_create",
    example={
        "name": "Look into failures",
        "event_types": ["task.state_changed"],
        "filters": {"match": {"data.to_state": "failed"}},
        "task": {"title": "Why did {{ event.task_id }} fail?", "input": {"error": "{{ event.data.error }}"}},
    },
)
async def create(call: Call, body: v1.TriggerCreate) -> Reply:
    """Each event starts it once, at most five triggers lead to one another, and no trigger hears of triggers.
    A webhook's secret is in this answer and nowhere else."""
    auth = None
    if body.kind is TriggerKind.WEBHOOK:
        auth = body.auth or HookAuth.STANDARD_WEBHOOKS
    command = triggers.CreateTrigger(
        body.name,
        body.kind,
        action_of(body.task, body.workflow),
        body.description,
        body.event_types or (),
        {} if body.filters is None else body.filters.model_dump(mode="json", exclude_unset=True),
        auth,
        None if body.secret is None else body.secret.get_secret_value(),
        body.is_active,
    )
    return Reply(rendered(call, await call.write(triggers.create_trigger, command)))


@route(
    "GET",
    "/triggers",
    scope=Scope.ADMIN,
    query=PageQuery,
    returns=list[v1.Trigger],
    meta=PageMeta,
    summary="List triggers",
    operation_id="triggers_list",
)
async def list_all(call: Call, query: PageQuery) -> Reply:
    """Newest first, without their secrets."""
    found = await call.read(triggers.list_triggers, triggers.ListTriggers(query.page, query.per_page))
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([rendered(call, item) for item in found.items], meta)


@route(
    "GET",
    "/triggers/{id}",
    scope=Scope.ADMIN,
    returns=v1.Trigger,
    errors=(404,),
    summary="Read a trigger",
    operation_id="triggers_get",
)
async def get(call: Call) -> Reply:
    """Without its secret."""
    return Reply(rendered(call, await call.read(triggers.get_trigger, OneTrigger(call.id))))


@route(
    "PATCH",
    "/triggers/{id}",
    scope=Scope.ADMIN,
    body=v1.TriggerPatch,
    returns=v1.Trigger,
    errors=(404,),
    summary="Change a trigger",
    operation_id="triggers_patch",
    example={"is_active": False},
)
async def patch(call: Call, body: v1.TriggerPatch) -> Reply:
    """What happens while it is not active it never hears of. A new secret replaces the old one at once."""
    changes: dict[str, Any] = {}
    for name in ("name", "event_types", "is_active"):
        if getattr(body, name) is not None:
            changes[name] = getattr(body, name)
    if "description" in body.model_fields_set:
        changes["description"] = body.description
    if body.filters is not None:
        changes["filters"] = body.filters.model_dump(mode="json", exclude_unset=True)
    if body.task is not None or body.workflow is not None:
        changes["action"] = action_of(body.task, body.workflow)
    command = triggers.ChangeTrigger(call.id, tuple(changes.items()), body.rotate_secret)
    return Reply(rendered(call, await call.write(triggers.change_trigger, command)))


@route(
    "DELETE",
    "/triggers/{id}",
    scope=Scope.ADMIN,
    also={204: "It is gone."},
    status=204,
    errors=(404,),
    summary="Delete a trigger",
    operation_id="triggers_delete",
)
async def delete(call: Call) -> Reply:
    """With the record of what it started. That itself goes on."""
    await call.write(triggers.delete_trigger, OneTrigger(call.id))
    return Reply()


@route(
    "GET",
    "/triggers/{id}/starts",
    scope=Scope.ADMIN,
    query=PageQuery,
    returns=list[v1.TriggerStart],
    meta=PageMeta,
    errors=(404,),
    summary="List what a trigger started",
    operation_id="triggers_starts",
)
async def starts(call: Call, query: PageQuery) -> Reply:
    """Newest first, for 30 days: each event or call, and what was started for it."""
    wanted = triggers.ListOccasions(call.id, query.page, query.per_page)
    found = await call.read(triggers.list_occasions, wanted)
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([rendered_start(item) for item in found.items], meta)


@route(
    "POST",
    "/hooks/{id}",
    public=True,
    returns=v1.HookTaken,
    status=202,
    errors=(401, 409, 413, 429),
    max_bytes=HOOK_BYTES,
    summary="Call a webhook trigger",
    operation_id="hooks_call",
)
async def take(call: Call) -> Reply:
    """From outside, with a JSON body that proves itself as the trigger wants it: by the headers of Standard
    Webhooks, `X-Hub-Signature-256`, or a bearer token. Taken means kept; the same again starts nothing."""
    client = call.scope.get("client")
    call.shared.hooks.take(network_of(client[0]) if client else "")
    pieces = bytearray()
    async for piece in call.chunks():
        pieces += piece
        if len(pieces) > HOOK_BYTES:
            raise TooLarge(f"the body is longer than {HOOK_BYTES} bytes")
    body = bytes(pieces)
    try:
        hook = await call.platform.read(NOBODY, triggers.open_hook, OneTrigger(call.id))
    except NotFound:
        raise refused() from None
    key = proved(hook, call.header, body)
    call.shared.hooks.take(hook.trigger_id)
    try:
        payload = parse_json(body) if body else {}
    except InvalidJson as error:
        raise Unreadable(f"the body cannot be read: {error.message}") from None
    command = triggers.TakeCall(hook.trigger_id, key, payload)
    taken = await call.platform.write(SYSTEM(hook.tenant_id), triggers.take_call, command)
    return Reply({"id": taken.id, "status": taken.status.value})


def rendered(call: Call, value: Trigger) -> v1.Trigger:
    """A trigger."""
    is_hook = value.kind is TriggerKind.WEBHOOK
    return {
        "id": value.id,
        "name": value.name,
        "description": value.description,
        "kind": value.kind,
        "event_types": list(value.event_types),
        "filters": dict(value.filters),
        "auth": value.auth,
        "url": f"{call.shared.public_url}{PREFIX}/hooks/{value.id}" if is_hook else None,
        "secret": value.secret,
        "task": value.action.get("task"),
        "workflow": value.action.get("workflow"),
        "is_active": value.is_active,
        "created_by": value.created_by,
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }


def rendered_start(value: Occasion) -> v1.TriggerStart:
    """What became of one event or call."""
    return {
        "id": value.id,
        "trigger_id": value.trigger_id,
        "key": value.key,
        "depth": value.depth,
        "status": value.status,
        "reason": value.reason,
        "error": None if value.error is None else dict(value.error),
        "task_id": value.task_id,
        "workflow_id": value.workflow_id,
        "created_at": stamp(value.created_at),
        "started_at": stamp_or_none(value.started_at),
    }
