"""API keys in the database: who mints, who is found, what ends them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from core import auth, bootstrap
from core.bootstrap import DEFAULT_TENANT, ForeignSecret, Prepare, Prepared, prepare
from core.caller import SYSTEM, SYSTEM_PRINCIPAL, Caller
from core.credentials import FindKey, Identity, NoteUse, find_key, note_use
from core.errors import Conflict, Forbidden, NotFound, Unprocessable
from core.keyring import Keyring
from core.keys import MalformedKey, mint
from core.platform import Platform
from core.principals import OwnerType, ensure_principal
from core.store import tables as t
from core.store.tx import Tx
from schemas.vocabulary import Scope
from tests.fakes import FakeClock

SECRET = "a secret of thirty-two bytes, at least"
OTHER = "another secret of thirty-two bytes, too"
RING = Keyring(SECRET)
HUB = SYSTEM(DEFAULT_TENANT)
NOBODY = UUID("0190f000-0000-7000-8000-0000000000aa")


async def ready(platform: Platform, *, ring: Keyring = RING, admin_key: str | None = None) -> Prepared:
    return await platform.write(HUB, prepare, Prepare(ring, admin_key))


async def found(platform: Platform, text: str | None) -> Identity | None:
    assert text is not None
    return await platform.read(HUB, find_key, FindKey(text))


async def admin(platform: Platform) -> Caller:
    """The administrator of a fresh hub."""
    identity = await found(platform, (await ready(platform)).new_admin_key)
    assert identity is not None
    return identity.caller()


async def rows(tx: Tx, statement: sa.Select[Any]) -> list[dict[str, Any]]:
    return [row.as_dict() for row in await tx.all(statement)]


async def execute(tx: Tx, statement: sa.Executable) -> None:
    await tx.run(statement)


@dataclass(frozen=True)
class NewPrincipal:
    owner_type: OwnerType
    owner_id: str
    id: UUID | None = None


async def add_principal(tx: Tx, new: NewPrincipal) -> UUID:
    return await ensure_principal(tx, tx.caller.tenant_id, new.owner_type, new.owner_id, "Somebody", new.id)


async def other_tenant(platform: Platform) -> Caller:
    """An admin of another tenant."""
    tenant_id = uuid4()
    caller = SYSTEM(tenant_id)

    async def add(tx: Tx, _: None) -> None:
        await tx.run(
            bootstrap.TENANT, id=tenant_id, slug="other", name="Other", is_active=True, created_at=tx.now
        )

    await platform.write(caller, add, None)
    made = await platform.write(caller, auth.create_key, auth.CreateKey(Scope.ADMIN, owner_id="them"))
    identity = await found(platform, made.api_key)
    assert identity is not None
    return identity.caller()


# First start


async def test_first_start_makes_a_tenant_and_an_admin_key_that_works(platform: Platform) -> None:
    prepared = await ready(platform)
    identity = await found(platform, prepared.new_admin_key)
    assert identity is not None
    assert (identity.tenant_id, identity.scope) == (DEFAULT_TENANT, Scope.ADMIN)
    assert identity.principal_id != SYSTEM_PRINCIPAL


async def test_the_second_start_shows_no_key(platform: Platform) -> None:
    """Shown once."""
    await ready(platform)
    assert (await ready(platform)).new_admin_key is None


async def test_a_chosen_admin_key_works_and_no_other_is_made(platform: Platform) -> None:
    prepared = await ready(platform, admin_key="correct horse battery staple")
    assert prepared == Prepared(None, False)
    identity = await found(platform, "correct horse battery staple")
    assert identity is not None
    assert identity.scope is Scope.ADMIN
    assert await ready(platform, admin_key="correct horse battery staple") == Prepared(None, False)


async def test_a_newly_chosen_admin_key_ends_the_one_before(platform: Platform) -> None:
    await ready(platform, admin_key="the first choice of a key")
    await ready(platform, admin_key="the second choice of a key")
    assert await found(platform, "the first choice of a key") is None
    assert await found(platform, "the second choice of a key") is not None


async def test_a_replica_with_the_old_choice_does_not_undo_the_new_one(platform: Platform) -> None:
    await ready(platform, admin_key="the first choice of a key")
    await ready(platform, admin_key="the second choice of a key")
    late = await ready(platform, admin_key="the first choice of a key")
    assert late.chosen_key_revoked
    assert await found(platform, "the second choice of a key") is not None


async def test_a_start_without_a_chosen_key_leaves_it_alone(platform: Platform) -> None:
    await ready(platform, admin_key="the first choice of a key")
    await ready(platform)
    assert await found(platform, "the first choice of a key") is not None


async def test_a_chosen_key_that_was_revoked_stays_revoked(platform: Platform) -> None:
    await ready(platform, admin_key="the first choice of a key")
    identity = await found(platform, "the first choice of a key")
    assert identity is not None
    await platform.write(HUB, auth.revoke_key, auth.RevokeKey(identity.key_id))
    again = await ready(platform, admin_key="the first choice of a key")
    assert again.chosen_key_revoked
    assert again.new_admin_key is not None
    assert await found(platform, "the first choice of a key") is None


async def test_when_no_admin_key_is_left_the_next_start_makes_one(platform: Platform) -> None:
    """Nobody is locked out for good."""
    caller = await admin(platform)
    assert caller.key_id is not None
    await platform.write(caller, auth.revoke_key, auth.RevokeKey(caller.key_id))
    assert await found(platform, (await ready(platform)).new_admin_key) is not None


async def test_a_chosen_key_that_cannot_be_one_stops_the_start(platform: Platform) -> None:
    with pytest.raises(MalformedKey):
        await ready(platform, admin_key="too short")


async def test_another_secret_stops_the_start(platform: Platform) -> None:
    """Else every key would silently be unknown."""
    await ready(platform)
    with pytest.raises(ForeignSecret):
        await ready(platform, ring=Keyring(OTHER))


async def test_programs_beside_the_hub_join_without_changing_anything(platform: Platform) -> None:
    assert not await platform.read(HUB, bootstrap.join, RING)
    await ready(platform)
    assert await platform.read(HUB, bootstrap.join, RING)
    with pytest.raises(ForeignSecret):
        await platform.read(HUB, bootstrap.join, Keyring(OTHER))


# What is stored


async def test_a_key_is_kept_nowhere_in_the_database(platform: Platform) -> None:
    """Only a peppered hash: a thief of the database has no key."""
    key = (await ready(platform)).new_admin_key
    assert key is not None
    secret = key.removeprefix("xd_admin_")[6:]
    for table in (t.api_key, t.event, t.event_outbox, t.meta, t.principal, t.idem):
        assert secret not in repr(await platform.read(HUB, rows, sa.select(table)))
    (row,) = await platform.read(HUB, rows, sa.select(t.api_key))
    assert row["pepper_id"] == RING.ids[0]
    assert len(row["lookup_hash"]) == 32


async def test_a_replayed_creation_returns_the_record_without_the_key(platform: Platform) -> None:
    caller = replace(await admin(platform), replay_key="once")
    command = auth.CreateKey(Scope.AGENT, owner_id="alice")
    first = await platform.write(caller, auth.create_key, command)
    again = await platform.write(caller, auth.create_key, command)
    assert first.api_key is not None
    assert again == replace(first, api_key=None)


async def test_no_repr_shows_a_key(platform: Platform) -> None:
    made = await platform.write(await admin(platform), auth.create_key, auth.CreateKey(Scope.SERVICE))
    assert made.api_key is not None
    key = made.api_key
    for holder in (made, FindKey(key), NoteUse(made.id, key), Prepare(RING, key), Prepared(key, False)):
        assert key not in repr(holder)


# Finding


async def test_the_row_decides_the_scope_and_not_the_text(platform: Platform) -> None:
    await ready(platform)
    text = mint(Scope.ADMIN)

    async def issue(tx: Tx, _: None) -> auth.NewKey:
        owner = await ensure_principal(tx, DEFAULT_TENANT, OwnerType.USER, "alice", "Alice")
        return auth.issue_key(tx, owner, Scope.AGENT, text=text)

    await platform.write(HUB, issue, None)
    identity = await found(platform, text)
    assert identity is not None
    assert identity.scope is Scope.AGENT


async def test_an_unknown_key_proves_nothing(platform: Platform) -> None:
    await ready(platform)
    assert await found(platform, mint(Scope.ADMIN)) is None


async def test_a_key_ends_at_its_expiry(platform: Platform, clock: FakeClock) -> None:
    caller = await admin(platform)
    ends = clock.now() + timedelta(minutes=5)
    made = await platform.write(caller, auth.create_key, auth.CreateKey(Scope.SERVICE, expires_at=ends))
    clock.advance(299)
    assert await found(platform, made.api_key) is not None
    clock.advance(1)
    assert await found(platform, made.api_key) is None


async def test_keys_of_a_closed_tenant_prove_nothing(platform: Platform) -> None:
    key = (await ready(platform)).new_admin_key
    await platform.write(HUB, execute, sa.update(t.tenant).values(is_active=False))
    assert await found(platform, key) is None


async def test_a_key_of_the_previous_secret_is_found_and_moves_to_the_present_one(platform: Platform) -> None:
    key = (await ready(platform)).new_admin_key
    await ready(platform, ring=Keyring(OTHER, SECRET))
    identity = await found(platform, key)
    assert identity is not None
    assert identity.due
    await platform.write(HUB, note_use, NoteUse(identity.key_id, key))
    await ready(platform, ring=Keyring(OTHER))
    identity = await found(platform, key)
    assert identity is not None
    assert not identity.due


async def test_a_use_is_due_once_a_minute(platform: Platform, clock: FakeClock) -> None:
    key = (await ready(platform)).new_admin_key
    identity = await found(platform, key)
    assert identity is not None
    assert identity.due
    await platform.write(HUB, note_use, NoteUse(identity.key_id, key))
    clock.advance(59)
    identity = await found(platform, key)
    assert identity is not None
    assert not identity.due
    clock.advance(1)
    identity = await found(platform, key)
    assert identity is not None
    assert identity.due


async def test_finding_a_key_is_one_look_up_by_a_unique_index(platform: Platform) -> None:
    await ready(platform)
    if platform.store.dialect != "sqlite":
        pytest.skip("a small table is scanned on PostgreSQL whatever its indexes")
    from core.credentials import BY_HASH

    program = BY_HASH.program("sqlite")
    sql, arguments = program.bind({"p_hashes": [b"x"], "p_now": platform.now()}, {})

    async def explain(tx: Tx, _: None) -> str:
        cursor = tx._cursor  # type: ignore[attr-defined]
        return str(cursor.execute(f"EXPLAIN QUERY PLAN {sql}", arguments).fetchall())

    plan = await platform.read(HUB, explain, None)
    assert "SEARCH api_key USING INDEX" in plan
    assert "SCAN" not in plan


# Minting


@pytest.mark.parametrize("scope", [s for s in Scope if s is not Scope.ADMIN])
async def test_only_admins_mint_and_revoke(platform: Platform, scope: Scope) -> None:
    """A leaked service, worker or agent key cannot multiply, nor shut others out."""
    boss = await admin(platform)
    made = await platform.write(boss, auth.create_key, auth.CreateKey(scope, owner_id="eve"))
    identity = await found(platform, made.api_key)
    assert identity is not None
    for wanted in Scope:
        with pytest.raises(Forbidden):
            await platform.write(identity.caller(), auth.create_key, auth.CreateKey(wanted, owner_id="eve"))
    with pytest.raises(Forbidden):
        await platform.write(identity.caller(), auth.revoke_key, auth.RevokeKey(made.id))
    assert await found(platform, made.api_key) is not None


@pytest.mark.parametrize("scope", [Scope.AGENT, Scope.WORKER])
async def test_agents_and_workers_do_not_list_keys(platform: Platform, scope: Scope) -> None:
    made = await platform.write(await admin(platform), auth.create_key, auth.CreateKey(scope, owner_id="eve"))
    identity = await found(platform, made.api_key)
    assert identity is not None
    with pytest.raises(Forbidden):
        await platform.read(identity.caller(), auth.list_keys, auth.ListKeys())


async def test_the_same_owner_is_the_same_principal(platform: Platform) -> None:
    """A new key sees what the old one made."""
    boss = await admin(platform)
    made = [
        await platform.write(boss, auth.create_key, auth.CreateKey(scope, owner_id=owner))
        for scope, owner in [(Scope.AGENT, "alice"), (Scope.AGENT, "alice"), (Scope.AGENT, "bob")]
    ]
    first, second, third = [await found(platform, key.api_key) for key in made]
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.principal_id == second.principal_id != third.principal_id
    assert first.key_id != second.key_id


async def test_an_agents_key_belongs_to_the_agent(platform: Platform) -> None:
    boss, agent_id = await admin(platform), uuid4()
    await platform.write(HUB, add_principal, NewPrincipal(OwnerType.AGENT, str(agent_id), agent_id))
    command = auth.CreateKey(Scope.AGENT, OwnerType.AGENT, str(agent_id))
    made = await platform.write(boss, auth.create_key, command)
    identity = await found(platform, made.api_key)
    assert identity is not None
    assert (identity.principal_id, identity.owner_type, identity.owner_id) == (
        agent_id,
        "agent",
        str(agent_id),
    )
    made = await platform.write(boss, auth.create_key, auth.CreateKey(Scope.AGENT, principal_id=agent_id))
    assert made.api_key is not None


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (auth.CreateKey(Scope.AGENT), Unprocessable),
        (auth.CreateKey(Scope.WORKER, owner_id=""), Unprocessable),
        (auth.CreateKey(Scope.ADMIN, OwnerType.AGENT, str(NOBODY)), Unprocessable),
        (auth.CreateKey(Scope.SERVICE, OwnerType.WORKER, str(NOBODY)), Unprocessable),
        (auth.CreateKey(Scope.AGENT, OwnerType.SYSTEM), Unprocessable),
        (auth.CreateKey(Scope.WORKER, OwnerType.AGENT, str(NOBODY)), Unprocessable),
        (auth.CreateKey(Scope.ADMIN, OwnerType.SYSTEM, "hub"), Unprocessable),
        (auth.CreateKey(Scope.AGENT, OwnerType.AGENT, str(NOBODY)), NotFound),
        (auth.CreateKey(Scope.AGENT, OwnerType.AGENT, "no uuid"), NotFound),
        (auth.CreateKey(Scope.WORKER, OwnerType.WORKER), NotFound),
        (auth.CreateKey(Scope.AGENT, principal_id=NOBODY), NotFound),
        (auth.CreateKey(Scope.AGENT, principal_id=SYSTEM_PRINCIPAL), Unprocessable),
        (auth.CreateKey(Scope.ADMIN, principal_id=SYSTEM_PRINCIPAL), Unprocessable),
        (auth.CreateKey(Scope.AGENT, owner_id="alice", label="x" * 256), Unprocessable),
    ],
    ids=str,
)
async def test_an_owner_must_fit_the_scope(
    platform: Platform, command: auth.CreateKey, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await platform.write(await admin(platform), auth.create_key, command)


async def test_no_key_is_made_that_has_ended(platform: Platform, clock: FakeClock) -> None:
    command = auth.CreateKey(Scope.SERVICE, expires_at=clock.now())
    with pytest.raises(Unprocessable):
        await platform.write(await admin(platform), auth.create_key, command)


async def test_an_id_belongs_to_one_owner(platform: Platform) -> None:
    await ready(platform)
    taken = uuid4()
    await platform.write(HUB, add_principal, NewPrincipal(OwnerType.AGENT, str(taken), taken))
    with pytest.raises(Conflict):
        await platform.write(HUB, add_principal, NewPrincipal(OwnerType.AGENT, "another", taken))


# Revoking and listing


async def test_a_revoked_key_is_found_no_more(platform: Platform) -> None:
    boss = await admin(platform)
    made = await platform.write(boss, auth.create_key, auth.CreateKey(Scope.AGENT, owner_id="alice"))
    record = await platform.write(boss, auth.revoke_key, auth.RevokeKey(made.id))
    assert record.is_revoked
    assert await found(platform, made.api_key) is None


async def test_revoking_twice_is_told_once(platform: Platform, clock: FakeClock) -> None:
    boss = await admin(platform)
    made = await platform.write(boss, auth.create_key, auth.CreateKey(Scope.AGENT, owner_id="alice"))
    first = await platform.write(boss, auth.revoke_key, auth.RevokeKey(made.id))
    clock.advance(5)
    assert await platform.write(boss, auth.revoke_key, auth.RevokeKey(made.id)) == first


async def test_every_key_of_a_principal_ends_with_it(platform: Platform) -> None:
    boss = await admin(platform)
    made = [
        await platform.write(boss, auth.create_key, auth.CreateKey(Scope.AGENT, owner_id=owner))
        for owner in ("alice", "alice", "bob")
    ]
    alice = await found(platform, made[0].api_key)
    assert alice is not None
    await platform.write(boss, auth.revoke_all, alice.principal_id)
    assert [await found(platform, key.api_key) is None for key in made] == [True, True, False]


async def test_a_foreign_key_and_a_missing_one_look_alike(platform: Platform) -> None:
    """Cross-tenant ids answer as if nothing were there."""
    boss = await admin(platform)
    foreign = await other_tenant(platform)
    assert foreign.key_id is not None
    said = []
    for key_id in (foreign.key_id, uuid4()):
        with pytest.raises(NotFound) as refused:
            await platform.write(boss, auth.revoke_key, auth.RevokeKey(key_id))
        said.append((refused.value.message, refused.value.details))
    assert said[0] == said[1]
    with pytest.raises(NotFound):
        await platform.write(
            boss, auth.create_key, auth.CreateKey(Scope.AGENT, principal_id=foreign.principal_id)
        )


async def test_a_list_shows_the_tenants_own_keys_without_their_text(platform: Platform) -> None:
    boss = await admin(platform)
    await other_tenant(platform)
    made = await platform.write(
        boss, auth.create_key, auth.CreateKey(Scope.AGENT, owner_id="alice", label="CI")
    )
    page = await platform.read(boss, auth.list_keys, auth.ListKeys())
    assert page.total == len(page.items) == 2
    newest = page.items[0]
    assert (newest.id, newest.label, newest.owner_id, newest.scope) == (made.id, "CI", "alice", Scope.AGENT)
    assert made.api_key is not None
    assert made.api_key not in repr(page)


async def test_a_list_comes_in_pages(platform: Platform) -> None:
    boss = await admin(platform)
    for owner in ("alice", "bob"):
        await platform.write(boss, auth.create_key, auth.CreateKey(Scope.AGENT, owner_id=owner))
    pages = [await platform.read(boss, auth.list_keys, auth.ListKeys(n, 2)) for n in (1, 2, 3)]
    assert [[item.owner_id for item in page.items] for page in pages] == [["bob", "alice"], ["admin"], []]
    assert {page.total for page in pages} == {3}


async def test_operators_revoked_keys_leave_the_list_after_an_hour(
    platform: Platform, clock: FakeClock
) -> None:
    boss = await admin(platform)
    for scope in (Scope.AGENT, Scope.SERVICE):
        made = await platform.write(boss, auth.create_key, auth.CreateKey(scope, owner_id="alice"))
        await platform.write(boss, auth.revoke_key, auth.RevokeKey(made.id))
    seen: Callable[[], Any] = lambda: platform.read(boss, auth.list_keys, auth.ListKeys())  # noqa: E731
    assert (await seen()).total == 3
    clock.advance(3601)
    page = await seen()
    assert [item.scope for item in page.items] == [Scope.AGENT, Scope.ADMIN]
    assert page.total == 2


async def test_making_and_ending_a_key_is_in_the_log(platform: Platform) -> None:
    boss = await admin(platform)
    made = await platform.write(boss, auth.create_key, auth.CreateKey(Scope.AGENT, owner_id="alice"))
    await platform.write(boss, auth.revoke_key, auth.RevokeKey(made.id))
    kinds = set()
    # The outbox first: between the two statements the sequencer may move an event from it to the log.
    for table in (t.event_outbox, t.event):
        found_rows = await platform.read(boss, rows, sa.select(table).where(table.c.entity_id == made.id))
        kinds |= {row["kind"] for row in found_rows}
    assert kinds == {"key.created", "key.revoked"}
