"""Governance: how long things are kept, and what is held from being cleared away."""

from core import governance as core
from core.governance import NAMES, ChangePolicy, Held, Policy
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import governance as v1
from schemas.v1.fields import stamp_or_none
from schemas.vocabulary import Scope


@route(
    "GET",
    "/governance/retention-policy",
    scope=Scope.ADMIN,
    returns=v1.RetentionPolicy,
    summary="Read how long things are kept",
    operation_id="governance_retention_policy",
)
async def get_policy(call: Call) -> Reply:
    """Thirty days each, unless the tenant says otherwise."""
    return Reply(_policy(await call.read(core.get_policy, None)))


@route(
    "PUT",
    "/governance/retention-policy",
    scope=Scope.ADMIN,
    body=v1.RetentionPolicyPut,
    returns=v1.RetentionPolicy,
    summary="Say how long things are kept",
    operation_id="governance_put_retention_policy",
    example={"task_prune_after_days": 90},
)
async def put_policy(call: Call, body: v1.RetentionPolicyPut) -> Reply:
    """What is older goes within about an hour."""
    command = ChangePolicy(**body.model_dump(exclude={"request_id"}))
    return Reply(_policy(await call.write(core.change_policy, command)))


@route(
    "GET",
    "/governance/legal-hold/{entity_type:text}/{id}",
    scope=Scope.ADMIN,
    returns=v1.LegalHold,
    errors=(404,),
    summary="Read whether something is held",
    operation_id="governance_legal_hold",
)
async def get_hold(call: Call) -> Reply:
    """A task, a workflow or a workspace."""
    return Reply(_held(await call.read(core.get_hold, core.Which(call.texts["entity_type"], call.id))))


@route(
    "PUT",
    "/governance/legal-hold/{entity_type:text}/{id}",
    scope=Scope.ADMIN,
    body=v1.LegalHoldPut,
    returns=v1.LegalHold,
    errors=(404,),
    summary="Hold something, or let it go",
    operation_id="governance_put_legal_hold",
    example={"enabled": True},
)
async def put_hold(call: Call, body: v1.LegalHoldPut) -> Reply:
    """A task, a workflow or a workspace, with all that belongs to it: retention passes over it."""
    command = core.SetHold(call.texts["entity_type"], call.id, body.enabled)
    return Reply(_held(await call.write(core.set_hold, command)))


def _policy(value: Policy) -> v1.RetentionPolicy:
    return {name: getattr(value, name) for name in NAMES}  # type: ignore[return-value]  # by name


def _held(value: Held) -> v1.LegalHold:
    return {
        "entity_type": value.entity_type,  # type: ignore[typeddict-item]  # one of the three, or it was refused
        "entity_id": value.entity_id,
        "legal_hold": value.legal_hold,
        "set_at": stamp_or_none(value.set_at),
    }
