"""Remote A2A agents: register them by their card, change, verify again, remove."""

from typing import Any, cast

from core.ports import Cards
from core.remote_agents import ChangeRemote, RegisterRemote, remove_remote
from core.remote_records import ListRemotes, RemoteAgent, RemoteAuth, RemoteId, get_remote, list_remotes
from core.remote_verification import change_remote, register_remote, reverify_remote
from core.store.engine import Outcome
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import remote_agents as v1
from schemas.v1.envelope import PageMeta
from schemas.v1.fields import stamp, stamp_or_none
from schemas.vocabulary import Scope

_SECRETS = {"api_key": "key", "bearer": "token", "client_credentials": "client_secret"}


@route(
    "POST",
    "/remote-a2a-agents",
    scope=Scope.ADMIN,
    body=v1.RemoteAgentCreate,
    returns=v1.RemoteAgent,
    status=201,
    errors=(409,),
    rationed=True,
    summary="Register a remote A2A agent",
    operation_id="remote_agents_create",
    example={
        "card_url": "https://agent.example.com/.well-known/agent-card.json",
        "auth": {"kind": "bearer", "token": "its token for this hub"},
        "routing_tags": ["weather"],
    },
)
async def create_remote_agent(call: Call, body: v1.RemoteAgentCreate) -> Reply:
    """The card is fetched, its endpoints and signatures are judged, and the credential is tried. A card that
    is refused stores nothing. Afterwards the agent's tasks are claimed by the hub itself."""
    wanted = RegisterRemote(
        card_url=body.card_url,
        name=body.name,
        auth=_auth(body.auth),
        routing_tags=body.routing_tags,
        max_concurrent=body.max_concurrent,
        approved_origins=body.approved_origins,
        trusted_keys=body.trusted_keys,
        accepts_untagged=body.accepts_untagged,
        is_active=body.is_active,
    )
    return _reply(call, await register_remote(call.platform, call.caller, _cards(call), wanted))


@route(
    "GET",
    "/remote-a2a-agents",
    scope=Scope.ADMIN,
    query=v1.RemoteAgentQuery,
    returns=list[v1.RemoteAgent],
    meta=PageMeta,
    summary="List remote A2A agents",
    operation_id="remote_agents_list",
)
async def list_remote_agents(call: Call, query: v1.RemoteAgentQuery) -> Reply:
    """The tenant's remote agents, newest first, without any secret."""
    found = await call.read(list_remotes, ListRemotes(query.page, query.per_page))
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([remote_agent(agent) for agent in found.items], meta)


@route(
    "GET",
    "/remote-a2a-agents/{id}",
    scope=Scope.ADMIN,
    returns=v1.RemoteAgent,
    errors=(404,),
    summary="Read a remote A2A agent",
    operation_id="remote_agents_get",
)
async def get_remote_agent(call: Call) -> Reply:
    """One remote agent of the tenant."""
    return Reply(remote_agent(await call.read(get_remote, RemoteId(call.id))))


@route(
    "PATCH",
    "/remote-a2a-agents/{id}",
    scope=Scope.ADMIN,
    body=v1.RemoteAgentPatch,
    returns=v1.RemoteAgent,
    errors=(404, 409),
    summary="Change a remote A2A agent",
    operation_id="remote_agents_update",
    example={"max_concurrent": 2},
)
async def patch_remote_agent(call: Call, body: v1.RemoteAgentPatch) -> Reply:
    """What was verified is verified again before it changes. A stored secret never follows a card to another
    origin: there it must be given again."""
    wanted = ChangeRemote(
        call.id,
        card_url=body.card_url,
        name=body.name,
        auth=None if body.auth is None else _auth(body.auth),
        routing_tags=body.routing_tags,
        max_concurrent=body.max_concurrent,
        approved_origins=body.approved_origins,
        trusted_keys=body.trusted_keys,
        accepts_untagged=body.accepts_untagged,
        is_active=body.is_active,
    )
    return _reply(call, await change_remote(call.platform, call.caller, _cards(call), wanted))


@route(
    "POST",
    "/remote-a2a-agents/{id}/reverify",
    scope=Scope.ADMIN,
    body=v1.RemoteAgentReverify,
    returns=v1.RemoteAgent,
    errors=(404,),
    summary="Verify a remote A2A agent again",
    operation_id="remote_agents_reverify",
    example={},
)
async def reverify_remote_agent(call: Call, body: v1.RemoteAgentReverify) -> Reply:
    """Fetches the card again. What the agent answers wrongly makes its verification fail; when it cannot be
    reached, only its health says so. The last good snapshot is kept either way."""
    return _reply(call, await reverify_remote(call.platform, call.caller, _cards(call), RemoteId(call.id)))


@route(
    "DELETE",
    "/remote-a2a-agents/{id}",
    scope=Scope.ADMIN,
    also={204: "It is gone."},
    status=204,
    errors=(404, 409),
    summary="Remove a remote A2A agent",
    operation_id="remote_agents_delete",
)
async def delete_remote_agent(call: Call) -> Reply:
    """Only one that has no work of this hub, and no open question."""
    await call.write(remove_remote, RemoteId(call.id))
    return Reply()


def remote_agent(value: RemoteAgent) -> v1.RemoteAgent:
    """A remote agent."""
    auth, interface = value.auth, value.interface
    return {
        "id": value.id,
        "agent_id": value.id,
        "tenant_id": value.tenant_id,
        "name": value.name,
        "card_url": value.card_url,
        "card": dict(value.card),
        "card_digest": value.card_digest,
        "signature": cast(Any, value.signature.value),
        "interface": {
            "url": interface["url"],
            "binding": interface["binding"],
            "version": interface["version"],
            "tenant": interface.get("tenant"),
            "streaming": interface["streaming"],
            "idempotent": interface["idempotent"],
        },
        "auth": {
            "kind": auth["kind"],
            "has_secret": value.has_secret,
            "name": auth.get("name"),
            "location": auth.get("location"),
            "client_id": auth.get("client_id"),
            "token_url": auth.get("token_url"),
            "scopes": list(auth.get("scopes", ())),
            "audience": auth.get("audience"),
            "resource": auth.get("resource"),
            "method": auth.get("method"),
        },
        "routing_tags": list(value.routing_tags),
        "max_concurrent": value.max_concurrent,
        "accepts_untagged": value.accepts_untagged,
        "approved_origins": list(value.approved_origins),
        "trusted_keys": [dict(key) for key in value.trusted_keys],
        "is_active": value.is_active,
        "verification_status": value.verification_status,
        "verification_error": value.verification_error,
        "verified_at": stamp_or_none(value.verified_at),
        "health": value.health,
        "health_error": value.health_error,
        "health_changed_at": stamp(value.health_at),
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }


def _auth(given: v1.NoAuth | v1.ApiKeyAuth | v1.BearerAuth | v1.ClientCredentialsAuth) -> RemoteAuth:
    secret = _SECRETS.get(given.kind)
    settings = given.model_dump(exclude={secret} if secret else None, exclude_none=True)
    return RemoteAuth(settings, getattr(given, secret).get_secret_value() if secret else None)


def _cards(call: Call) -> Cards:
    assert call.shared.cards is not None, "hub/app.py hands them in"
    return call.shared.cards


def _reply(call: Call, outcome: Outcome[RemoteAgent]) -> Reply:
    call.replayed = call.replayed or outcome.replayed
    return Reply(remote_agent(outcome.result))
