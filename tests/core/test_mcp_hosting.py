"""Hosted servers: one host at a time, its lease, and what goes through its channels."""

from dataclasses import replace
from uuid import UUID

import pytest

from core.caller import Caller
from core.errors import Conflict, HubError, NotFound, UpstreamFailed
from core.keyring import Keyring
from core.mcp.channels import Frame, FrameKind, Hear, Heard, Say, hear, open_channel, say
from core.mcp.hosting import Give, Host, Hosting, Release, Take, Taken, forget, give, host, release, take
from core.mcp.parameters import GivenParameter
from core.mcp.records import ServerId, get_server
from core.mcp.registration import ChangeServer
from core.mcp.registry import Change, change, remove
from core.mcp.words import Placement, ServerKind, ValueKind
from core.platform import Platform
from core.push import Seals
from core.store.replay import Beside
from core.store.tx import Tx
from schemas.vocabulary import Scope
from tests.core.tasks.stage import Stage
from tests.fakes import FakeClock


async def install(tx: Tx, secret: str) -> None:
    """Use the keys of a secret."""
    tx.memory(Seals).install(Keyring(secret))


@pytest.fixture
async def stage(platform: Platform, clock: FakeClock) -> Stage:
    """A tenant on a platform that can seal."""
    stage = Stage(platform, clock)
    await platform.write(stage.admin, install, "s" * 32)
    return stage


@pytest.fixture
def worker(stage: Stage) -> Caller:
    """Whose key is a worker's."""
    return replace(stage.admin, scope=Scope.WORKER, principal_id=UUID(int=77))


async def hosted(stage: Stage, worker: Caller, **members: object) -> Hosting:
    """A hosting of a server."""
    return await stage.platform.write(worker, host, Host(name="Files", **members))  # type: ignore[arg-type]


async def opened(stage: Stage, hosting: Hosting) -> UUID:
    """A channel to a program."""
    return await stage.platform.write(stage.admin, open_channel, ServerId(hosting.server.id))


async def taken(stage: Stage, worker: Caller, hosting: Hosting, *done: UUID) -> Taken:
    """What is for the worker."""
    return await stage.platform.write(worker, take, Take(hosting.server.id, hosting.lease_id, done))


async def given(stage: Stage, worker: Caller, hosting: Hosting, *frames: Frame) -> None:
    """What the worker says."""
    await stage.platform.write(worker, give, Give(hosting.server.id, hosting.lease_id, frames))


async def heard(stage: Stage, channel_id: UUID) -> Heard:
    """What a session hears."""
    return await stage.platform.write(stage.admin, hear, Hear(channel_id))


def message(number: int, channel_id: UUID, body: str) -> Frame:
    """Something that a program said."""
    return Frame(UUID(int=number), channel_id, FrameKind.MESSAGE, body)


async def test_what_is_said_goes_both_ways_in_order(stage: Stage, worker: Caller) -> None:
    hosting = await hosted(stage, worker)
    assert (hosting.server.kind, hosting.server.worker_id) == (ServerKind.HOSTED, worker.principal_id)
    channel_id = await opened(stage, hosting)
    for text in ("one", "two"):
        await stage.platform.write(stage.admin, say, Say(channel_id, FrameKind.MESSAGE, text))
    first = await taken(stage, worker, hosting)
    assert [(one.kind, one.body) for one in first.frames] == [
        ("open", None),
        ("message", "one"),
        ("message", "two"),
    ]
    again = await taken(stage, worker, hosting)
    assert again.frames == first.frames  # an answer may be lost
    assert (await taken(stage, worker, hosting, *(one.id for one in first.frames))).frames == []
    said = [message(1, channel_id, "three"), message(2, channel_id, "four")]
    await given(stage, worker, hosting, *said)
    await given(stage, worker, hosting, *said)
    assert await heard(stage, channel_id) == Heard(["three", "four"], None)
    await given(stage, worker, hosting, *said)
    assert await heard(stage, channel_id) == Heard([], None)


async def test_a_program_that_ends_is_heard_of_after_its_last_word(stage: Stage, worker: Caller) -> None:
    hosting = await hosted(stage, worker)
    channel_id = await opened(stage, hosting)
    end = Frame(UUID(int=2), channel_id, FrameKind.CLOSE, "it died")
    await given(stage, worker, hosting, message(1, channel_id, "bye"), end)
    assert await heard(stage, channel_id) == Heard(["bye"], None)
    assert await heard(stage, channel_id) == Heard([], "it died")


async def test_who_hosts_last_has_the_lease_and_the_other_has_lost_it(stage: Stage, worker: Caller) -> None:
    first = await hosted(stage, worker)
    channel_id = await opened(stage, first)
    second = await hosted(stage, worker)
    assert second.server.id == first.server.id
    for attempt in (
        taken(stage, worker, first),
        given(stage, worker, first, message(1, channel_id, "x")),
    ):
        with pytest.raises(Conflict) as lost:
            await attempt
        assert lost.value.details["reason_code"] == "lease_lost"
    assert (await heard(stage, channel_id)).ended == "its host is gone"
    assert (await taken(stage, worker, second)).frames == []
    await stage.platform.write(worker, release, Release(first.server.id, first.lease_id))
    await opened(stage, second)


async def test_another_principal_can_neither_take_the_server_nor_speak_for_it(
    stage: Stage, worker: Caller
) -> None:
    hosting = await hosted(stage, worker)
    stranger = replace(worker, principal_id=UUID(int=78))
    with pytest.raises(Conflict):
        await hosted(stage, stranger)
    with pytest.raises(NotFound):
        await taken(stage, stranger, hosting)
    elsewhere = Stage(stage.platform, stage.clock)
    with pytest.raises(NotFound):
        await taken(stage, replace(elsewhere.admin, principal_id=worker.principal_id), hosting)
    await stage.platform.write(stranger, release, Release(hosting.server.id, hosting.lease_id))
    await opened(stage, hosting)


async def test_only_so_many_programs_run_at_once(stage: Stage, worker: Caller) -> None:
    hosting = await hosted(stage, worker, places=2)
    first, _ = await opened(stage, hosting), await opened(stage, hosting)
    with pytest.raises(UpstreamFailed) as full:
        await opened(stage, hosting)
    assert full.value.details["reason_code"] == "mcp_host_full"
    await stage.platform.write(stage.admin, say, Say(first, FrameKind.CLOSE))
    await stage.platform.write(stage.admin, say, Say(first, FrameKind.CLOSE))
    await opened(stage, hosting)
    kinds = [one.kind.value for one in (await taken(stage, worker, hosting)).frames]
    assert kinds == ["open", "close", "open"]  # the first one's beginning was never needed


async def test_a_host_that_falls_silent_is_gone(stage: Stage, worker: Caller, clock: FakeClock) -> None:
    hosting = await hosted(stage, worker)
    channel_id = await opened(stage, hosting)
    clock.advance(29)
    await taken(stage, worker, hosting)
    clock.advance(29)
    assert (await heard(stage, channel_id)).ended is None
    clock.advance(1)
    assert (await heard(stage, channel_id)).ended == "its host is gone"
    with pytest.raises(UpstreamFailed):
        await opened(stage, hosting)
    await taken(stage, worker, hosting)  # it is back, and nobody took its place
    await opened(stage, hosting)


async def test_a_program_that_nobody_needs_any_more_is_ended(
    stage: Stage, worker: Caller, clock: FakeClock
) -> None:
    hosting = await hosted(stage, worker)
    channel_id = await opened(stage, hosting)
    for frame in (await taken(stage, worker, hosting)).frames:
        await taken(stage, worker, hosting, frame.id)
    clock.advance(25)
    await heard(stage, channel_id)
    clock.advance(59)
    assert (await taken(stage, worker, hosting)).frames == []
    clock.advance(1)
    [close] = (await taken(stage, worker, hosting)).frames
    assert (close.kind, close.channel_id) == (FrameKind.CLOSE, channel_id)
    with pytest.raises(NotFound):
        await stage.platform.write(stage.admin, say, Say(channel_id, FrameKind.MESSAGE, "x"))


async def test_the_environment_is_told_only_when_a_program_is_to_be_run(stage: Stage, worker: Caller) -> None:
    hosting = await hosted(stage, worker)
    secret = GivenParameter(Placement.ENVIRONMENT, "TOKEN", ValueKind.SECRET, "hidden")
    wanted = ChangeServer(hosting.server.id, parameters=[secret])
    await stage.platform.write(stage.admin, change, Change(wanted, Beside(None)))
    assert (await taken(stage, worker, hosting)).environment == {}
    await opened(stage, hosting)
    work = await taken(stage, worker, hosting)
    assert work.environment == {"TOKEN": "hidden"}
    assert "hidden" not in repr(work)


async def test_a_removed_server_is_hosted_no_longer(stage: Stage, worker: Caller) -> None:
    hosting = await hosted(stage, worker)
    channel_id = await opened(stage, hosting)
    await stage.platform.write(stage.admin, remove, ServerId(hosting.server.id))
    with pytest.raises(NotFound):
        await taken(stage, worker, hosting)
    assert (await heard(stage, channel_id)).ended == "its host is gone"


async def test_what_was_left_behind_is_forgotten(stage: Stage, worker: Caller, clock: FakeClock) -> None:
    hosting = await hosted(stage, worker)
    channel_id = await opened(stage, hosting)
    clock.advance(4000)
    await stage.platform.write(stage.admin, forget, None)
    assert (await heard(stage, channel_id)).ended == "its host is gone"
    assert (await taken(stage, worker, hosting)).frames == []
    server = await stage.platform.read(stage.admin, get_server, ServerId(hosting.server.id))
    assert server.verify_at is not None


async def test_a_name_of_another_kind_of_server_is_refused(stage: Stage, worker: Caller) -> None:
    with pytest.raises(HubError):
        await stage.platform.write(worker, host, Host(name="Crossdock"))
