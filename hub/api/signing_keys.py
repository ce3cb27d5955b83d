"""Signing keys: list them, sign with a new one, retire an old one."""

from core import signing_keys
from core.signing_keys import NewSigningKey, SigningKey, SigningKeyId
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import signing_keys as v1
from schemas.v1.fields import stamp, stamp_or_none
from schemas.vocabulary import Scope


@route(
    "GET",
    "/signing-keys",
    scope=Scope.ADMIN,
    returns=list[v1.SigningKey],
    summary="List signing keys",
    operation_id="signing_keys_list",
)
async def list_signing_keys(call: Call) -> Reply:
    """The tenant's keys, newest first, with those that are retired."""
    return Reply([signing_key(key) for key in await call.read(signing_keys.list_signing_keys, None)])


@route(
    "POST",
    "/signing-keys",
    scope=Scope.ADMIN,
    body=v1.SigningKeyCreate,
    returns=v1.SigningKey,
    status=201,
    errors=(409,),
    rationed=True,
    summary="Sign with a new key",
    operation_id="signing_keys_create",
    example={},
)
async def create_signing_key(call: Call, body: v1.SigningKeyCreate) -> Reply:
    """It signs at once, beside the keys before it, so that no reader is left without a signature that it can
    check. Retire those when their time is over."""
    return Reply(signing_key(await call.write(signing_keys.rotate, NewSigningKey())))


@route(
    "DELETE",
    "/signing-keys/{id}",
    scope=Scope.ADMIN,
    also={204: "It is retired."},
    status=204,
    errors=(404, 409),
    summary="Retire a signing key",
    operation_id="signing_keys_retire",
)
async def retire_signing_key(call: Call) -> Reply:
    """It signs no more and leaves the key set; its private half is forgotten. The only key stays."""
    await call.write(signing_keys.retire, SigningKeyId(call.id))
    return Reply()


def signing_key(value: SigningKey) -> v1.SigningKey:
    """A signing key."""
    return {
        "id": value.id,
        "kid": value.kid,
        "algorithm": value.algorithm,
        "public_key": dict(value.public),
        "is_active": value.retired_at is None,
        "created_at": stamp(value.created_at),
        "retired_at": stamp_or_none(value.retired_at),
    }
