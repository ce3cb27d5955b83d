"""Nothing that an agent started outlives it, its session or its worker, however they end."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.worker.acp.process import Process
from tests.hub.worker.acp.stage import PATIENCE, Stage

Staged = Callable[..., Stage]

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt its descendants")
FAMILY = "setsid sh -c 'sleep 1000 & echo $!; setsid sleep 1000 & echo $!; wait' & echo $!; wait"


def runs(pid: int) -> bool:
    """Whether the process is there, and not only its name."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def gone(pids: list[int]) -> None:
    """Wait until none of them is there."""
    async with asyncio.timeout(PATIENCE):
        while any(runs(pid) for pid in pids):  # noqa: ASYNC110  nothing announces the end of another's child
            await asyncio.sleep(0.01)


async def _family(directory: Path) -> tuple[Process, list[int]]:
    environ = {"PATH": os.environ["PATH"]}
    process = await Process.start(["sh", "-c", FAMILY], directory=str(directory), environ=environ)
    pids: list[int] = []
    async with asyncio.timeout(PATIENCE):
        async for line in process.lines():
            pids.append(int(line))
            if len(pids) == 3:
                break
    return process, pids


@linux
async def test_a_killed_program_takes_along_what_left_its_group(tmp_path: Path) -> None:
    process, pids = await _family(tmp_path)
    assert all(map(runs, pids))
    await process.discard()
    await process.close(0)
    assert not any(map(runs, pids))


@linux
async def test_a_program_that_ends_by_itself_leaves_nothing(tmp_path: Path) -> None:
    script = "setsid sleep 1000 >/dev/null & echo $!; exit 5"
    process = await Process.start(
        ["sh", "-c", script], directory=str(tmp_path), environ={"PATH": os.environ["PATH"]}
    )
    pid = int((await process.read()).split()[0])
    assert await process.wait() == 5
    assert not runs(pid)
    await process.discard()
    await process.close(0)


@linux
async def test_a_closed_session_leaves_nothing(staged: Staged) -> None:
    stage = staged()
    told = stage.turn("spawn")
    doing = asyncio.create_task(stage.agent(told.claim, told))
    await told.until(lambda: " 0 " in told.text or "0 1 " in told.text)
    pids = [int(word) for word in told.text.split()[:3]]
    doing.cancel()
    await asyncio.gather(doing, return_exceptions=True)
    await stage.agent.close()
    assert not any(map(runs, pids))


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_worker_that_dies_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """The worker here is a program that starts one and says whose children it sees."""
    script = (
        "import asyncio, sys\n"
        "from hub.worker.acp.process import Process\n"
        "async def main():\n"
        "    environ = {'PATH': '/usr/bin:/bin'}\n"
        f"    p = await Process.start(['sh', '-c', {FAMILY!r}], directory='/', environ=environ)\n"
        "    async for line in p.lines():\n"
        "        print(line.decode(), flush=True)\n"
        "asyncio.run(main())\n"
    )
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[4]
    )
    assert worker.stdout is not None
    async with asyncio.timeout(PATIENCE):
        pids = [int(await worker.stdout.readline()) for _ in range(3)]
    worker.send_signal(number)
    await worker.wait()
    await gone(pids)


async def test_a_program_that_cannot_be_found_says_so(tmp_path: Path) -> None:
    process = await Process.start(["no-such-thing"], directory=str(tmp_path), environ={})
    assert await process.wait() == 127
    await process.discard()
    await process.close(0)
    assert "cannot run no-such-thing" in process.stderr
