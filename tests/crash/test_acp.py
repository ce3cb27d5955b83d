"""The hub, the launcher and the editor are killed in the middle of a turn, and the turn does not notice."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.adapters.acp.executor import Worker
from tests.crash.acp_peers import Rest, launched
from tests.crash.hub_process import HubProcess

WORDS = [f"{number} " for number in range(1, 31)]
ALL = "".join(WORDS)


@dataclass
class Place:
    """A hub that can be killed, an executor, and somebody's key."""

    hub: HubProcess
    rest: Rest
    worker: Worker
    key: str
    home: Path

    async def restart(self) -> None:
        """Kill the hub, and start it again."""
        await self.hub.kill()
        await self.hub.start()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """A hub that is alone on its database, as most are."""
    hub = HubProcess(tmp_path, f"sqlite:///{tmp_path}/hub.db")
    await hub.start()
    async with aiohttp.ClientSession() as session:
        rest = Rest(hub.url, session)
        try:
            worker = await Worker.registered(rest)
            yield Place(hub, rest, worker, await rest.key_of("ann"), tmp_path)
        finally:
            await hub.kill()


async def ended_once(place: Place, task_id: str) -> None:
    """The log says that the task ended once, and no version is missing."""
    events = await place.rest.get(f"/events?after=0&entity_id={task_id}&per_page=100")
    of_task = [event for event in events if event["data"].get("task_id", task_id) == task_id]
    ends = [e for e in of_task if e["data"].get("to_state") in ("completed", "failed", "cancelled")]
    assert len(ends) == 1


pytestmark = pytest.mark.timeout(240)  # each start of a hub takes as long as the machine lets it


@pytest.mark.requirement(
    "stdio-restart", "prompt-updates-first", "cancel-answer", "cancel-request-sent", on="launcher"
)
async def test_a_hub_that_is_killed_in_mid_turn_is_invisible_to_the_editor(place: Place) -> None:
    """Four sessions of one editor live through the same two outages, and each is asked and told once."""
    editor, launcher = await launched(place.hub.url, place.key, place.home)
    counting, allowed, refused, stopped = [await editor.new() for _ in range(4)]
    turns, holds = {}, {}
    for session_id in (counting, allowed, refused, stopped):
        turns[session_id] = editor.prompt(session_id, "Go.")
        holds[session_id] = await place.worker.take()
    for word in WORDS[:10]:
        await holds[counting].say(word)
    leave = await holds[allowed].ask()
    other = await holds[refused].ask()
    await holds[stopped].say("0")
    await editor.until(lambda: len(editor.asked) == 2 and "0" in editor.text())
    shown = {asked["params"]["sessionId"]: asked for asked in editor.asked}

    await place.hub.kill()
    await editor.choose(shown[allowed], "yes")
    queued = editor.prompt(allowed, "And then?")
    await editor.notify("session/cancel", {"sessionId": stopped})
    await place.hub.start()
    assert (
        await place.rest.post(f"/approvals/{other['id']}", {"option_id": "no"}, key=place.key)
    ).status == 200

    assert (await decided(place, leave)) == "approved"
    await holds[allowed].complete()
    await place.worker.echo("Then this.")
    assert await holds[stopped].cancelled()
    await holds[stopped].post("cancel")
    await editor.until(lambda: editor.withdrawn)
    await holds[refused].complete()
    for word in WORDS[10:20]:
        await holds[counting].say(word)
    await editor.until(lambda: "20 " in editor.text_of(counting))

    await place.restart()
    for word in WORDS[20:]:
        await holds[counting].say(word)
    await holds[counting].complete()

    reasons = {id: (await editor.settled(turn))["stopReason"] for id, turn in turns.items()}
    assert reasons == {counting: "end_turn", allowed: "end_turn", refused: "end_turn", stopped: "cancelled"}
    assert (await editor.settled(queued))["stopReason"] == "end_turn"
    assert editor.text_of(counting) == ALL
    assert len(editor.asked) == 2
    assert editor.withdrawn == [shown[refused]["id"]]
    assert editor.errors() == []
    for held in holds.values():
        await ended_once(place, held.task["id"])
    await editor.wire.close()
    assert launcher.process is not None
    assert launcher.process.returncode == 0


@pytest.mark.requirement("stdio-killed", "permission-asked-again", on="launcher")
async def test_a_launcher_or_an_editor_that_ends_in_mid_turn_loses_nothing(place: Place) -> None:
    editor, launcher = await launched(place.hub.url, place.key, place.home)
    session_id = await editor.new()
    editor.prompt(session_id, "Count.")
    held = await place.worker.take()
    await held.say(*WORDS[:10])
    leave = await held.ask()
    await editor.until(lambda: editor.asked)
    await launcher.kill()

    await held.say(*WORDS[10:20])
    again, second = await launched(place.hub.url, place.key, place.home)
    await again.load(session_id)
    await again.until(lambda: again.asked)
    assert (again.text("user"), again.text()) == ("Count.", "".join(WORDS[:20]))
    await again.choose(again.asked[0], "yes")
    assert (await decided(place, leave)) == "approved"
    await again.wire.close()  # its input ends, as when its editor is killed
    assert second.process is not None
    assert second.process.returncode == 0

    await held.say(*WORDS[20:])
    await held.complete()
    third, _ = await launched(place.hub.url, place.key, place.home)
    await third.load(session_id)
    assert (third.text(), third.asked) == (ALL, [])
    await ended_once(place, held.task["id"])
    await third.wire.close()


async def decided(place: Place, approval: Mapping[str, Any]) -> str:
    """What was decided, as the executor hears it."""
    path = f"/approvals/{approval['id']}?wait_seconds=20"
    status: str = (await place.rest.get(path, key=place.worker.key))["status"]
    return status
