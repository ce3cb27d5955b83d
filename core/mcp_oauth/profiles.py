"""Client profiles: clients that an operator registered somewhere, to be used for several MCP servers.

A change of what identifies the client disconnects every server that uses it; one that is in use stays.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Invalid, NotFound
from core.mcp_oauth.connections import DisconnectAll, disconnect_all, server_count
from core.mcp_oauth.definition import Definition, Secrets, open_secrets, seal_secrets
from core.sealing import Place
from core.store.statement import Row, Statement
from core.store.tables.mcp_registry import mcp_oauth_profile as profile
from core.store.tx import Tx
from core.store.types import Id, Instant, Json
from core.tasks.read import Page
from schemas.oauth import TokenAuthMethod


@dataclass(frozen=True)
class Profile:
    """A client profile as its readers see it: without its secrets."""

    id: UUID
    tenant_id: UUID
    name: str
    description: str | None
    definition: Definition
    has_client_secret: bool
    has_private_key: bool
    servers: int
    """How many MCP servers use it."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class CreateProfile:
    """A new profile."""

    name: str
    description: str | None
    definition: Definition
    secrets: Secrets


@dataclass(frozen=True)
class ChangeProfile:
    """A profile as it is to be. Secrets that are not given stay."""

    profile_id: UUID
    name: str
    description: str | None
    definition: Definition
    secrets: Secrets


@dataclass(frozen=True)
class ProfileId:
    """Which profile."""

    profile_id: UUID


@dataclass(frozen=True)
class ListProfiles:
    """A page of the tenant's profiles, newest first."""

    page: int = 1
    per_page: int = 20


_p = profile.c
_ID = sa.bindparam("p_id", type_=Id())
_INSERT = Statement(sa.insert(profile))
_ONE = Statement(sa.select(profile).where(_p.id == _ID, access.within_tenant(profile)))
_NAMED = Statement(
    sa.select(_p.id).where(
        _p.name == sa.bindparam("p_name", type_=sa.String()), access.within_tenant(profile)
    )
)
_UPDATE = Statement(
    sa.update(profile)
    .where(_p.id == _ID, access.within_tenant(profile))
    .values(
        name=sa.bindparam("p_name", type_=sa.String()),
        description=sa.bindparam("p_description", type_=sa.String()),
        definition=sa.bindparam("p_definition", type_=Json()),
        secrets=sa.bindparam("p_secrets", type_=sa.String()),
        updated_at=sa.bindparam("p_now", type_=Instant()),
    )
)
_DELETE = Statement(sa.delete(profile).where(_p.id == _ID, access.within_tenant(profile)))


async def create_profile(tx: Tx, command: CreateProfile) -> Profile:
    """Keep a new profile.

    Raises:
        Conflict: the name is taken.
        Invalid: its way of authentication lacks its secret.
    """
    _check(command.definition, command.secrets)
    await _check_name(tx, command.name, None)
    new = tx.new_id()
    await tx.run(
        _INSERT,
        id=new,
        tenant_id=tx.caller.tenant_id,
        name=command.name,
        description=command.description,
        definition=command.definition.kept(),
        secrets=seal_secrets(tx, command.secrets, _place(tx.caller.tenant_id, new)),
        created_at=tx.now,
        updated_at=tx.now,
    )
    return await _told(tx, new, "created")


async def change_profile(tx: Tx, command: ChangeProfile) -> Profile:
    """Change a profile. Where the client or its server is another one, its MCP servers are disconnected.

    Raises:
        NotFound: no such profile.
        Conflict: the name is taken.
        Invalid: its way of authentication lacks its secret, or the kept secret would go somewhere else.
    """
    row = await _row(tx, command.profile_id)
    known, place = Definition.of(row.definition), _place(row.tenant_id, row.id)
    kept = open_secrets(tx, row.secrets, place)
    if kept and not command.secrets and known.token_endpoint != command.definition.token_endpoint:
        raise Invalid(
            "the secret belongs to another token endpoint: give it again",
            details={"reason_code": "secret_needed"},
        )
    secrets = command.secrets.over(kept)
    _check(command.definition, secrets)
    await _check_name(tx, command.name, row.id)
    await tx.run(
        _UPDATE,
        p_id=row.id,
        p_name=command.name,
        p_description=command.description,
        p_definition=command.definition.kept(),
        p_secrets=seal_secrets(tx, secrets, place),
        p_now=tx.now,
    )
    if known != command.definition or command.secrets:
        await disconnect_all(tx, DisconnectAll(row.id, "its client profile has changed"))
    return await _told(tx, row.id, "changed")


async def remove_profile(tx: Tx, command: ProfileId) -> None:
    """Remove a profile that no MCP server uses.

    Raises:
        NotFound: no such profile.
        Conflict: it is in use.
    """
    row = await _row(tx, command.profile_id)
    servers = await server_count(tx, row.id)
    if servers:
        details = {"reason_code": "profile_in_use", "servers": servers}
        raise Conflict("MCP servers use this profile", details=details, hint="Change or remove them first.")
    await tx.run(_DELETE, p_id=row.id)
    _event(tx, row.id, "removed", row.name)


async def get_profile(tx: Tx, query: ProfileId) -> Profile:
    """One profile of the tenant.

    Raises:
        NotFound: no such profile.
    """
    return await _read(tx, await _row(tx, query.profile_id))


async def list_profiles(tx: Tx, query: ListProfiles) -> Page[Profile]:
    """The tenant's profiles, newest first."""
    wanted = access.within_tenant(profile)
    total = await tx.one(sa.select(sa.func.count().label("n")).select_from(profile).where(wanted))
    rows = await tx.all(
        sa.select(profile)
        .where(wanted)
        .order_by(_p.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return Page([await _read(tx, row) for row in rows], 0 if total is None else total.n)


@dataclass(frozen=True)
class OpenProfile:
    """A profile with its secrets, for a request."""

    definition: Definition
    secrets: Secrets


async def open_profile(tx: Tx, profile_id: UUID) -> OpenProfile:
    """A profile with its secrets.

    Raises:
        NotFound: no such profile.
        Unsealable: the secrets cannot be opened any more.
    """
    row = await _row(tx, profile_id)
    secrets = open_secrets(tx, row.secrets, _place(row.tenant_id, row.id))
    return OpenProfile(Definition.of(row.definition), secrets)


def check_client(definition: Definition, secrets: Secrets) -> None:
    """Whether the way in which a client proves itself has what it needs.

    Raises:
        Invalid: it has not.
    """
    wants = {
        TokenAuthMethod.CLIENT_SECRET_BASIC: secrets.client_secret,
        TokenAuthMethod.CLIENT_SECRET_POST: secrets.client_secret,
        TokenAuthMethod.PRIVATE_KEY_JWT: secrets.private_key,
    }
    method = definition.token_endpoint_auth_method
    if method in wants and definition.client_id is not None and not wants[method]:
        raise Invalid(
            f"{method} needs its secret, and there is none", details={"reason_code": "secret_needed"}
        )


def _check(definition: Definition, secrets: Secrets) -> None:
    check_client(definition, secrets)


async def _check_name(tx: Tx, name: str, mine: UUID | None) -> None:
    found = await tx.one(_NAMED, p_name=name)
    if found is not None and found.id != mine:
        raise Conflict("a profile of this name exists", details={"reason_code": "name_taken"})


async def _row(tx: Tx, profile_id: UUID) -> Row:
    row = await tx.one(_ONE, p_id=profile_id)
    if row is None:
        raise NotFound("no such client profile")
    return row


async def _read(tx: Tx, row: Row) -> Profile:
    secrets = open_secrets(tx, row.secrets, _place(row.tenant_id, row.id))
    return Profile(
        id=row.id,
        tenant_id=row.tenant_id,
        name=row.name,
        description=row.description,
        definition=Definition.of(row.definition),
        has_client_secret=secrets.client_secret is not None,
        has_private_key=secrets.private_key is not None,
        servers=await server_count(tx, row.id),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


async def _told(tx: Tx, profile_id: UUID, what: str) -> Profile:
    made = await _read(tx, await _row(tx, profile_id))
    _event(tx, made.id, what, made.name)
    return made


def _event(tx: Tx, profile_id: UUID, what: str, name: str) -> None:
    tx.event(
        f"mcp_oauth_profile.{what}",
        entity_type="mcp_oauth_profile",
        entity_id=profile_id,
        data={"profile_id": str(profile_id), "name": name},
    )


def _place(tenant_id: UUID, profile_id: UUID) -> Place:
    return Place(tenant_id, profile.name, profile_id, "secrets")
