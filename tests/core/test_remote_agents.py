"""Agents that work elsewhere: how they are registered and verified, and what is kept of their secrets."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from core.agents import AgentId, get_agent
from core.caller import Caller
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.keyring import Keyring
from core.platform import Platform
from core.ports import CardFound, CardRefused, CardWanted, Signature
from core.push import Seals
from core.registration import dismiss
from core.remote_agents import VERIFICATION, ChangeRemote, Move, RegisterRemote, remove_remote
from core.remote_health import SetHealth, set_health
from core.remote_records import (
    ListRemotes,
    RemoteAgent,
    RemoteAuth,
    RemoteId,
    active_remotes,
    get_remote,
    list_remotes,
    open_remote,
)
from core.remote_verification import change_remote, register_remote, reverify_remote
from core.sealing import Unsealable
from core.store import tables as t
from core.store.tx import Tx
from schemas.vocabulary import AgentProtocol, Health, Scope, VerificationStatus
from tests.core.tasks.stage import Stage, reason
from tests.fakes import FakeClock

SECRET = "a token that nobody sees"
AUTH = RemoteAuth({"kind": "bearer"}, SECRET)
URL = "https://agent.example/card.json"


class FakeCards:
    """A card that answers as a test wants it."""

    def __init__(self) -> None:
        self.asked: list[CardWanted] = []
        self.refused: CardRefused | None = None
        self.found: dict[str, Any] = {}

    async def look(self, wanted: CardWanted) -> CardFound:
        """The card, or the refusal."""
        self.asked.append(wanted)
        if self.refused is not None:
            raise self.refused
        found = CardFound(
            url=wanted.url,
            card={"name": "far", "n": len(self.asked)},
            digest=f"digest {len(self.asked)}",
            interface={"url": "https://agent.example/rpc", "origin": "https://agent.example"},
            signature=Signature.NONE,
            auth=wanted.auth,
            health=Health.OK,
            health_error=None,
        )
        return replace(found, **self.found)


async def install(tx: Tx, secret: str) -> None:
    """Use the keys of a secret."""
    tx.memory(Seals).install(Keyring(secret))


async def stored(tx: Tx, _: None) -> str:
    """Everything that is kept about remote agents, replays and what happened, as text."""
    tables = (t.remote_agent, t.idem, t.event, t.event_outbox, t.agent)
    rows = [row for table in tables for row in await tx.all(sa.select(*table.c))]
    return repr([row.as_dict() for row in rows])


@pytest.fixture
async def stage(platform: Platform, clock: FakeClock) -> Stage:
    """A tenant on a platform that can seal."""
    stage = Stage(platform, clock)
    await platform.write(stage.admin, install, "s" * 32)
    return stage


@pytest.fixture
def cards() -> FakeCards:
    """Who answers for cards."""
    return FakeCards()


async def register(stage: Stage, cards: FakeCards, by: Caller | None = None, **members: Any) -> RemoteAgent:
    """A remote agent."""
    wanted = RegisterRemote(**{"card_url": URL, **members})
    return (await register_remote(stage.platform, by or stage.admin, cards, wanted)).result


async def change(stage: Stage, cards: FakeCards, agent: RemoteAgent, **members: Any) -> RemoteAgent:
    """A changed remote agent."""
    wanted = ChangeRemote(agent.id, **members)
    return (await change_remote(stage.platform, stage.admin, cards, wanted)).result


async def reverify(stage: Stage, cards: FakeCards, agent: RemoteAgent) -> RemoteAgent:
    """A remote agent, verified again."""
    return (await reverify_remote(stage.platform, stage.admin, cards, RemoteId(agent.id))).result


async def test_a_remote_agent_is_an_agent_of_the_same_id(stage: Stage, cards: FakeCards) -> None:
    made = await register(stage, cards, routing_tags=["b", "a"], max_concurrent=3)
    agent = await stage.platform.read(stage.admin, get_agent, AgentId(made.id))
    assert (agent.name, agent.protocol, agent.routing_tags) == ("far", AgentProtocol.A2A, ["a", "b"])
    assert (agent.max_concurrent, made.max_concurrent) == (3, 3)
    assert (made.verification_status, made.health) == (VerificationStatus.VERIFIED, Health.OK)
    assert made.callable
    assert await stage.platform.read(stage.admin, get_remote, RemoteId(made.id)) == made
    listed = await stage.platform.read(stage.admin, list_remotes, ListRemotes())
    assert (listed.items, listed.total) == ([made], 1)
    assert [s.id for s in await stage.platform.read(stage.admin, active_remotes, None)] == [made.id]


async def test_what_it_gets_without_tags_follows_from_whether_it_has_some(
    stage: Stage, cards: FakeCards
) -> None:
    tagged = await register(stage, cards, routing_tags=["x"])
    plain = await register(stage, cards, card_url=URL + "?2")
    greedy = await register(stage, cards, card_url=URL + "?3", routing_tags=["x"], accepts_untagged=True)
    assert [a.accepts_untagged for a in (tagged, plain, greedy)] == [False, True, True]
    await stage.submit()
    assert not (await stage.claim(stage.caller(Scope.AGENT, "agent", tagged.id))).items
    assert (await stage.claim(stage.caller(Scope.AGENT, "agent", greedy.id))).items


async def test_its_secret_is_sealed_and_opened_for_the_call_alone(stage: Stage, cards: FakeCards) -> None:
    keyed = replace(stage.admin, replay_key="once")
    made = await register(stage, cards, by=keyed, auth=AUTH)
    assert (made.auth, made.has_secret) == ({"kind": "bearer"}, True)
    kept = await stage.platform.read(stage.admin, stored, None)
    for text in (kept, repr(made), repr(AUTH), repr(cards.asked)):
        assert SECRET not in text
    opened = await stage.platform.read(stage.admin, open_remote, RemoteId(made.id))
    assert opened.secret is not None
    assert opened.secret.reveal() == SECRET
    assert SECRET not in repr(opened)
    await stage.platform.write(stage.admin, install, "another secret of thirty-two bytes")
    with pytest.raises(Unsealable):
        await stage.platform.read(stage.admin, open_remote, RemoteId(made.id))


async def test_a_refused_card_stores_nothing(stage: Stage, cards: FakeCards) -> None:
    cards.refused = CardRefused("it is no card", reachable=False)
    with pytest.raises(Invalid) as refused:
        await register(stage, cards, auth=AUTH)
    assert reason(refused.value) == "verification_failed"
    assert "it is no card" in refused.value.message
    assert (await stage.platform.read(stage.admin, list_remotes, ListRemotes())).total == 0


async def test_registering_again_with_the_same_key_gives_the_first_whatever_the_card_says_by_then(
    stage: Stage, cards: FakeCards
) -> None:
    keyed = replace(stage.admin, replay_key="once")
    first = await register(stage, cards, by=keyed, auth=AUTH)
    again = await register(stage, cards, by=keyed, auth=AUTH)  # whose card has another digest
    cards.refused = CardRefused("away")
    third = await register(stage, cards, by=keyed, auth=AUTH)
    assert first.id == again.id == third.id
    with pytest.raises(Conflict):
        await register(stage, cards, by=keyed, auth=RemoteAuth({"kind": "bearer"}, "another"))


async def test_a_card_is_registered_once_in_a_tenant(
    stage: Stage, cards: FakeCards, clock: FakeClock
) -> None:
    await register(stage, cards)
    with pytest.raises(Conflict) as refused:
        await register(stage, cards)
    assert reason(refused.value) == "already_registered"
    other = Stage(stage.platform, clock)
    await register(other, cards)


async def test_agents_register_none_and_other_tenants_see_none(
    stage: Stage, cards: FakeCards, clock: FakeClock
) -> None:
    with pytest.raises(Forbidden):
        await register(stage, cards, by=stage.user)
    made = await register(stage, cards)
    other = Stage(stage.platform, clock)
    assert (await stage.platform.read(other.admin, list_remotes, ListRemotes())).total == 0
    for query in (get_remote, open_remote):
        with pytest.raises(NotFound):
            await stage.platform.read(other.admin, query, RemoteId(made.id))
    with pytest.raises(NotFound):
        await stage.platform.write(other.admin, remove_remote, RemoteId(made.id))
    assert not await stage.platform.write(other.admin, set_health, SetHealth(made.id, Health.DEGRADED))


async def test_a_change_of_what_was_verified_is_verified_first(stage: Stage, cards: FakeCards) -> None:
    made = await register(stage, cards, auth=AUTH)
    asked = len(cards.asked)
    changed = await change(
        stage, cards, made, routing_tags=["x"], max_concurrent=2, name="n", is_active=False
    )
    assert len(cards.asked) == asked
    assert (changed.routing_tags, changed.max_concurrent, changed.name) == (["x"], 2, "n")
    assert (changed.is_active, changed.callable, changed.has_secret) == (False, False, True)
    assert await stage.platform.read(stage.admin, active_remotes, None) == []
    cards.refused = CardRefused("no")
    with pytest.raises(Invalid):
        await change(stage, cards, made, approved_origins=["https://b.example"])
    assert await stage.platform.read(stage.admin, get_remote, RemoteId(made.id)) == changed
    cards.refused = None
    again = await change(stage, cards, made, approved_origins=["https://b.example"])
    assert again.approved_origins == ["https://b.example"]
    secret = cards.asked[-1].secret
    assert secret is not None
    assert secret.reveal() == SECRET
    assert again.revision > changed.revision


async def test_a_stored_secret_does_not_follow_a_card_to_another_origin(
    stage: Stage, cards: FakeCards
) -> None:
    made = await register(stage, cards, auth=AUTH)
    cards.found = {"interface": {"url": "https://evil.example/", "origin": "https://evil.example"}}
    with pytest.raises(Invalid) as refused:
        await change(stage, cards, made, card_url="https://evil.example/card")
    assert reason(refused.value) == "auth_needed"
    assert (await reverify(stage, cards, made)).verification_status is VerificationStatus.FAILED
    new = RemoteAuth({"kind": "bearer"}, "a new one")
    moved = await change(stage, cards, made, card_url="https://evil.example/card", auth=new)
    assert moved.card_url == "https://evil.example/card"


async def test_verifying_again_keeps_the_last_good_snapshot(stage: Stage, cards: FakeCards) -> None:
    made = await register(stage, cards)
    again = await reverify(stage, cards, made)
    assert (again.card["n"], again.card_digest) == (2, "digest 2")
    cards.refused = CardRefused("it has no name")
    failed = await reverify(stage, cards, made)
    assert (failed.verification_status, failed.verification_error) == (
        VerificationStatus.FAILED,
        "it has no name",
    )
    assert (failed.card, failed.callable) == (again.card, False)
    cards.refused = None
    assert (await reverify(stage, cards, made)).verification_status is VerificationStatus.VERIFIED


async def test_a_network_failure_changes_only_the_health(stage: Stage, cards: FakeCards) -> None:
    made = await register(stage, cards)
    cards.refused = CardRefused("the card could not be fetched: timeout", reachable=False)
    away = await reverify(stage, cards, made)
    assert (away.verification_status, away.health) == (VerificationStatus.VERIFIED, Health.UNREACHABLE)
    assert not away.callable


async def test_a_card_that_was_signed_stays_signed(stage: Stage, cards: FakeCards) -> None:
    cards.found = {"signature": Signature.VALID}
    made = await register(stage, cards)
    cards.found = {"signature": Signature.NONE}
    failed = await reverify(stage, cards, made)
    assert failed.verification_status is VerificationStatus.FAILED


async def test_health_is_news_only_when_it_changes(stage: Stage, cards: FakeCards) -> None:
    made = await register(stage, cards)
    ill = SetHealth(made.id, Health.UNREACHABLE, "timeout")
    assert await stage.platform.write(stage.admin, set_health, ill)
    assert not await stage.platform.write(stage.admin, set_health, ill)
    assert await stage.platform.write(stage.admin, set_health, SetHealth(made.id, Health.OK))
    told = [row["kind"] for row in (await stage.numbered()).rows["event"] if "remote_agent" in row["kind"]]
    assert told == ["remote_agent.registered", *["remote_agent.health_changed"] * 2]


async def test_removing_takes_the_agent_along_unless_it_has_work(stage: Stage, cards: FakeCards) -> None:
    made = await register(stage, cards)
    await stage.submit()
    held = await stage.take(stage.caller(Scope.AGENT, "agent", made.id))
    with pytest.raises(Conflict) as refused:
        await stage.platform.write(stage.admin, remove_remote, RemoteId(made.id))
    assert reason(refused.value) == "agent_holds_work"
    await stage.cancel(held.task.id)
    with pytest.raises(Conflict) as refused:
        await stage.platform.write(stage.admin, dismiss, AgentId(made.id))
    assert reason(refused.value) == "remote_agent"
    await stage.platform.write(stage.admin, remove_remote, RemoteId(made.id))
    for query, wanted in ((get_remote, RemoteId(made.id)), (get_agent, AgentId(made.id))):
        with pytest.raises(NotFound):
            await stage.platform.read(stage.admin, query, wanted)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await stage.platform.write(stage.admin, remove_remote, RemoteId(uuid4()))


def test_every_move_of_verification_leads_where_the_law_says() -> None:
    assert set(VERIFICATION) == set(Move)
    assert {move: arc.target.value for move, arc in VERIFICATION.items()} == {
        Move.VERIFY: "verified",
        Move.REFUTE: "failed",
    }
