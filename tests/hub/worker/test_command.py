"""`crossdock worker` as a process: its signals, its exit codes, its words."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO

import pytest

from hub.client import Claim
from hub.worker.notes import Kind, Note
from hub.worker.story import MARKS, Story
from tests.hub.client.fake_hub import KEY, FakeHub, fake_hub

MAIN = [sys.executable, "-P", "-m", "hub", "worker"]


@pytest.fixture(name="fake")
async def _fake() -> AsyncIterator[FakeHub]:
    async with fake_hub() as hub:
        yield hub


@asynccontextmanager
async def _started(
    fake: FakeHub, *arguments: str, key: str = KEY
) -> AsyncIterator[asyncio.subprocess.Process]:
    environ = {**os.environ, "CROSSDOCK_URL": fake.url, "CROSSDOCK_API_KEY": key, "FORCE_COLOR": "1"}
    process = await asyncio.create_subprocess_exec(
        *MAIN,
        *arguments,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_it_does_tasks_until_told_to_stop_and_tells_its_story_on_stderr(fake: FakeHub) -> None:
    first = await fake.submit("say hi")
    async with _started(fake, "--exec", "echo hi", "--name", "scout", "--tag", "a", "--tag", "b") as process:
        await fake.until(lambda: fake.tasks[first]["state"] == "completed")
        process.send_signal(signal.SIGTERM)
        code, out, err = await _ended(process)
    assert (code, out) == (0, "")
    assert fake.bodies("register")[0]["routing_tags"] == ["a", "b"]
    assert 'worker "scout" waiting' in err
    assert f'{first} claimed "say hi", attempt 1' in err
    assert f"{first} completed" in err
    assert KEY not in err


async def test_with_json_each_line_on_stdout_is_one_note(fake: FakeHub) -> None:
    task_id = await fake.submit()
    async with _started(fake, "--exec", "sh -c 'exit 2'", "--json") as process:
        await fake.until(lambda: fake.tasks[task_id]["state"] == "failed")
        process.send_signal(signal.SIGTERM)
        code, out, err = await _ended(process)
    notes = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [note["event"] for note in notes][:3] == ["waiting", "claimed", "failed"]
    assert notes[2]["task_id"] == task_id
    assert notes[2]["text"] == "exit status 2"


async def test_the_first_signal_lets_the_command_finish(fake: FakeHub, tmp_path: os.PathLike[str]) -> None:
    go = os.path.join(tmp_path, "go")
    os.mkfifo(go)
    task_id = await fake.submit()
    async with _started(fake, "--exec", f"sh -c 'echo on; cat {go}; echo over'") as process:
        await fake.until(lambda: fake.said(task_id))
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        async with asyncio.timeout(30):
            while b"draining" not in await process.stderr.readline():
                pass
        await asyncio.to_thread(_write, go)
        code, _, _ = await _ended(process)
    assert code == 0
    assert fake.tasks[task_id]["output"] == "on\nover"


async def test_the_second_signal_stops_at_once(fake: FakeHub) -> None:
    task_id = await fake.submit()
    script = 'trap "" TERM; echo on; while :; do sleep 0.05; done'
    async with _started(fake, "--exec", f"sh -c '{script}'") as process:
        await fake.until(lambda: fake.said(task_id))
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        async with asyncio.timeout(30):
            while b"draining" not in await process.stderr.readline():
                pass
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            code, _, _ = await _ended(process)
    assert code == 130
    assert fake.tasks[task_id]["state"] == "in_progress"


async def test_a_killed_worker_takes_its_command_along(fake: FakeHub) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells a child of its parent's death")
    task_id = await fake.submit()
    async with _started(fake, "--exec", "sh -c 'echo $$; exec sleep 1000'") as process:
        await fake.until(lambda: fake.said(task_id))
        process.kill()
        await _ended(process)
    pid = int(fake.said(task_id)[0])
    async with asyncio.timeout(20):
        while _runs(pid):  # noqa: ASYNC110  nothing announces the end of another's child
            await asyncio.sleep(0.01)


async def test_an_unknown_key_ends_it_with_a_reason(fake: FakeHub) -> None:
    async with _started(fake, "--exec", "true", key="wrong") as process:
        code, out, err = await _ended(process)
    assert (code, out) == (4, "")
    assert "crossdock keys create" in err
    assert "wrong" not in err


async def test_a_command_that_cannot_run_is_said_before_anything_is_done(fake: FakeHub) -> None:
    async with _started(fake, "--exec", "cat | tr a-z A-Z") as process:
        code, _, err = await _ended(process)
    assert code == 2
    assert "no shell reads it" in err
    assert not fake.requests


def test_every_kind_of_note_has_its_mark() -> None:
    assert set(MARKS) == set(Kind)


def test_a_title_cannot_move_the_cursor() -> None:
    err = StringIO()
    claim = Claim.of({"id": "t1", "lease_id": "l1", "title": "x"})
    Story(stderr=err)(Note(kind=Kind.CLAIMED, text='"a\x1b[2J\nb"', claim=claim))
    assert err.getvalue().count("\n") == 1
    assert "\x1b" not in err.getvalue()


def test_quiet_says_nothing() -> None:
    err, out = StringIO(), StringIO()
    Story(quiet=True, stderr=err, stdout=out)(Note(kind=Kind.WAITING, text="x"))
    assert (err.getvalue(), out.getvalue()) == ("", "")


def _write(path: str) -> None:
    with open(path, "w"):
        pass


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
