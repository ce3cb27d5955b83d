"""Credentials: API keys, and the tokens that stand for one for a while."""

from typing import Any, cast

from core import auth
from core.exchange import Grant
from core.principals import OwnerType
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import route
from hub.sessions import SESSIONS, Sessions
from schemas.v1 import auth as v1
from schemas.v1.envelope import PageMeta
from schemas.v1.fields import stamp, stamp_or_none
from schemas.v1.review import PageQuery
from schemas.vocabulary import Scope

_NO_STORE = (b"cache-control", b"no-store")  # RFC 6749 §5.1


@route(
    "POST",
    "/auth/token",
    public=True,
    body=v1.TokenRequest,
    returns=v1.Granted,
    errors=(401, 429),
    rationed=True,
    summary="Exchange an API key for tokens",
    operation_id="auth_token",
    example={"api_key": "xd_agent_…"},
)
async def exchange_key(call: Call, body: v1.TokenRequest) -> Reply:
    """An access token for calls and a refresh token for the next pair. A key works without it, too."""
    return await _granted(call, body)


async def _granted(call: Call, body: v1.TokenRequest) -> Reply:
    sessions = _sessions(call)
    key = body.api_key.get_secret_value()
    grant = await sessions.grant(call.scope, key, persistent=body.persistent_session)
    said = {**_renewed(grant), "scope": grant.identity.scope, "tenant_id": grant.identity.tenant_id}
    return _carried(call, sessions, grant, said, in_cookies=sessions.cookies)


@route(
    "POST",
    "/auth/login",
    public=True,
    body=v1.TokenRequest,
    returns=v1.Granted,
    errors=(401, 429),
    rationed=True,
    summary="Log in from a browser",
    operation_id="auth_login",
    example={"api_key": "xd_admin_…"},
)
async def log_in(call: Call, body: v1.TokenRequest) -> Reply:
    """The same exchange, under the name that a login page uses."""
    return await _granted(call, body)


@route(
    "GET",
    "/auth/me",
    scope=Scope.AGENT,
    returns=v1.Me,
    summary="Who am I?",
    operation_id="auth_me",
)
async def me(call: Call) -> Reply:
    """What the credential proves, be it a key or an access token."""
    caller = call.caller
    return Reply(
        {
            "authenticated": True,
            "scope": caller.scope,
            "tenant_id": caller.tenant_id,
            "principal_id": caller.principal_id,
            "owner_type": caller.owner_type,
            "owner_id": caller.owner_id,
            "key_id": caller.key_id,
        }
    )


@route(
    "POST",
    "/auth/refresh",
    public=True,
    returns=v1.Renewed,
    errors=(401, 403, 429),
    rationed=True,
    summary="Exchange a refresh token",
    operation_id="auth_refresh",
)
async def refresh(call: Call) -> Reply:
    """Send the refresh token as bearer, or its cookie with `x-csrf-token`.

    It works once. A second use means that somebody else has it, and ends the session for both.
    """
    sessions = _sessions(call)
    held = sessions.refresh_token(call.scope)
    grant = await sessions.exchange.refresh(held.claims)
    return _carried(call, sessions, grant, _renewed(grant), in_cookies=held.from_cookie)


@route(
    "POST",
    "/auth/logout",
    public=True,
    returns=v1.LoggedOut,
    errors=(401, 403, 429),
    summary="Log out",
    operation_id="auth_logout",
)
async def log_out(call: Call) -> Reply:
    """End the session that a token belongs to, and with it all its tokens. A key goes on working."""
    sessions = _sessions(call)
    held = sessions.any_token(call.scope)
    if held is None:
        await sessions.authenticator(call.scope)
    else:
        await sessions.exchange.close(held.claims)
    headers = sessions.drop_cookies(call.scope) if held is not None and held.from_cookie else []
    return Reply({"logged_out": True}, headers=headers)


@route(
    "GET",
    "/api-keys",
    scope=Scope.ADMIN,
    query=PageQuery,
    returns=list[v1.Key],
    meta=PageMeta,
    summary="List API keys",
    operation_id="api_keys_list",
)
async def list_keys(call: Call, query: PageQuery) -> Reply:
    """Newest first, without their text. Operators' keys disappear an hour after they were revoked."""
    page = await call.read(auth.list_keys, auth.ListKeys(query.page, query.per_page))
    meta = rendering.page(page.total, query.page, query.per_page)
    return Reply([_key(record) for record in page.items], meta=meta)


@route(
    "POST",
    "/api-keys",
    scope=Scope.ADMIN,
    body=v1.KeyCreate,
    returns=v1.NewKey,
    status=201,
    errors=(403, 404, 409),
    rationed=True,
    summary="Mint an API key",
    operation_id="api_keys_create",
    example={"scope": "agent", "owner_type": "user", "owner_id": "ci-pipeline", "label": "CI"},
)
async def create_key(call: Call, body: v1.KeyCreate) -> Reply:
    """For admin keys only; a service key is refused, so that a leaked one cannot multiply."""
    command = auth.CreateKey(
        scope=body.scope,
        owner_type=OwnerType(body.owner_type),
        owner_id=body.owner_id,
        label=body.label,
        expires_at=body.expires_at,
    )
    made = await call.write(auth.create_key, command)
    said: dict[str, Any] = {"id": made.id, "key_prefix": made.key_prefix}
    if made.api_key is not None:
        said["api_key"] = made.api_key
    return Reply(said, headers=[_NO_STORE])


@route(
    "DELETE",
    "/api-keys/{id}",
    scope=Scope.ADMIN,
    returns=v1.Revoked,
    errors=(403, 404),
    summary="Revoke an API key",
    operation_id="api_keys_revoke",
)
async def revoke_key(call: Call) -> Reply:
    """For admin keys only. The key and its tokens end at once, open streams within seconds."""
    record = await call.write(auth.revoke_key, auth.RevokeKey(call.id))
    return Reply({"id": record.id, "revoked": True})


def _sessions(call: Call) -> Sessions:
    return cast(Sessions, call.scope[SESSIONS])


def _renewed(grant: Grant) -> dict[str, Any]:
    return {
        "token": grant.access.text,
        "expires_at": stamp(grant.access.expires_at),
        "refresh_expires_at": stamp(grant.refresh.expires_at),
    }


def _carried(
    call: Call, sessions: Sessions, grant: Grant, said: dict[str, Any], *, in_cookies: bool
) -> Reply:
    headers = [_NO_STORE]
    if in_cookies:
        headers += sessions.set_cookies(call.scope, grant, call.platform.now())
    else:
        said["refresh_token"] = grant.refresh.text
    return Reply(said, headers=headers)


def _key(record: auth.KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "tenant_id": record.tenant_id,
        "scope": record.scope,
        "principal_id": record.principal_id,
        "owner_type": record.owner_type,
        "owner_id": record.owner_id,
        "label": record.label,
        "key_prefix": record.key_prefix,
        "last_used_at": stamp_or_none(record.last_used_at),
        "expires_at": stamp_or_none(record.expires_at),
        "is_revoked": record.is_revoked,
        "revoked_at": stamp_or_none(record.revoked_at),
        "created_at": stamp(record.created_at),
    }
