"""Commands as executors: real processes, against a hub in memory."""

import asyncio
import base64
import json
import os
import resource
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hub.worker import Limits, Program, WorkerConfig, passed_on, run_worker
from tests.hub.client.fake_hub import KEY, FakeHub, fake_hub

ENVIRON = {"PATH": os.environ["PATH"]}
QUICK = Limits(stop_seconds=0.2)


@pytest.fixture(name="fake")
async def _fake() -> AsyncIterator[FakeHub]:
    async with fake_hub() as hub:
        yield hub


def _shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def _python(script: str) -> list[str]:
    return [sys.executable, "-I", "-c", script]


@asynccontextmanager
async def _working(
    fake: FakeHub, argv: Sequence[str], limits: Limits | None = None, **options: Any
) -> AsyncIterator[Program]:
    program = Program(argv, environ=ENVIRON, limits=limits)
    config = WorkerConfig(url=fake.url, api_key=KEY, handler=program, **options)
    drain = asyncio.Event()
    working = asyncio.create_task(run_worker(config, drain=drain))
    try:
        yield program
        drain.set()
        async with asyncio.timeout(30):
            await working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def _done(
    fake: FakeHub, argv: Sequence[str], limits: Limits | None = None, **fields: Any
) -> dict[str, Any]:
    """The task after the command has done it."""
    task_id = await fake.submit(**fields)
    async with _working(fake, argv, limits):
        await fake.until(lambda: fake.tasks[task_id]["state"] in {"completed", "failed", "cancelled"})
    return fake.tasks[task_id]


def _files(fake: FakeHub, task: dict[str, Any]) -> dict[str, bytes]:
    return {
        artifact["path"]: b"".join(base64.b64decode(chunk["content_base64"]) for chunk in artifact["chunks"])
        for artifact in fake.artifacts[task["id"]].values()
    }


async def test_the_task_comes_in_on_stdin_and_stdout_is_its_output(fake: FakeHub) -> None:
    script = "import json, sys; print(json.load(sys.stdin)['input']['text'].upper())"
    task = await _done(fake, _python(script), input={"text": "hi"})
    assert (task["state"], task["output"]) == ("completed", "HI")
    assert fake.said(task["id"]) == ["HI"]


async def test_the_command_sees_the_task_but_no_lease(fake: FakeHub) -> None:
    task = await _done(fake, ["cat"], title="look", input={"é": "\0"[1:]})
    seen = json.loads(task["output"])
    assert (seen["id"], seen["title"], seen["attempt"]) == (task["id"], "look", 1)
    assert not {"lease_id", "lease_expires_at"} & set(seen)


async def test_an_answer_in_json_is_the_output_and_no_message(fake: FakeHub) -> None:
    task = await _done(fake, ["echo", '{"output": {"n": 1}}'])
    assert task["output"] == {"n": 1}
    assert fake.said(task["id"]) == []


async def test_lines_arrive_while_the_command_runs(fake: FakeHub, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    task_id = await fake.submit()
    async with _working(fake, _shell(f"echo one; cat {shlex.quote(str(go))} >/dev/null; echo two")):
        await fake.until(lambda: fake.said(task_id) == ["one"])
        await asyncio.to_thread(go.write_text, "")
        await fake.until(lambda: fake.tasks[task_id]["state"] == "completed")
    assert fake.said(task_id) == ["one", "two"]
    assert fake.tasks[task_id]["output"] == "one\ntwo"


async def test_files_become_artifacts_and_the_directory_is_the_commands_alone(fake: FakeHub) -> None:
    script = "ls -A; stat -c %a .; mkdir d; printf hello > d/a.txt; ln -s /etc/passwd link; pwd"
    task = await _done(fake, _shell(script))
    mode, directory = task["output"].split("\n")
    assert mode == "700"
    assert _files(fake, task) == {"d/a.txt": b"hello"}
    assert not await asyncio.to_thread(os.path.exists, directory)


async def test_a_long_output_and_a_long_file_travel_in_pieces(fake: FakeHub) -> None:
    script = (
        "import sys; open('big.bin', 'wb').write(b'z' * 5_000_000); print(('x' * 999 + '\\n') * 400, end='')"
    )
    task = await _done(fake, _python(script))
    files = _files(fake, task)
    assert files["big.bin"] == b"z" * 5_000_000
    assert files["output.txt"] == (b"x" * 999 + b"\n") * 400
    assert task["output"]["size_bytes"] == 400_000
    assert "\n".join(fake.said(task["id"])) == files["output.txt"].decode().rstrip("\n")
    assert max(len(text) for text in fake.said(task["id"])) <= 128 * 1024


async def test_a_line_longer_than_a_message_is_told_in_pieces(fake: FakeHub) -> None:
    task = await _done(fake, _python("print('x' * 300_000)"))
    assert "".join(fake.said(task["id"])) == "x" * 300_000


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo half; echo why >&2; exit 3", "exit status 3: why"),
        ("exit 1", "exit status 1"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
    ],
)
async def test_a_failing_command_fails_the_task_and_says_why(
    fake: FakeHub, script: str, message: str
) -> None:
    task = await _done(fake, _shell(script))
    assert task["state"] == "failed"
    assert task["error"] == {"category": "execution_error", "message": message, "recoverable": False}


async def test_only_the_end_of_a_long_stderr_explains_a_failure(fake: FakeHub) -> None:
    task = await _done(fake, _python("import sys; sys.stderr.write('x' * 500_000 + 'the end'); sys.exit(1)"))
    assert task["error"]["message"].endswith("the end")
    assert len(task["error"]["message"]) < 5000


async def test_a_command_that_is_not_there_fails_the_task(fake: FakeHub) -> None:
    task = await _done(fake, ["/nonexistent/command"])
    assert task["error"]["message"] == (
        "exit status 127: cannot run /nonexistent/command: No such file or directory"
    )


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("head -c 2000 /dev/zero | tr '\\0' x; sleep 60", "a line of more than 1000 bytes"),
        ("yes | head -c 20000; sleep 60", "more than 10000 bytes"),
        ("yes | head -c 20000 > file", "files of more than 10000 bytes"),
        ("touch a b c d", "more than 3 files"),
    ],
)
async def test_what_a_command_may_leave_is_bounded(fake: FakeHub, script: str, message: str) -> None:
    limits = Limits(line_bytes=1000, output_bytes=10_000, files=3)
    task = await _done(fake, _shell(script), limits)
    assert task["state"] == "failed"
    assert message in task["error"]["message"]


async def test_a_command_runs_in_a_session_of_its_own_under_limits(fake: FakeHub) -> None:
    script = (
        "import os, resource as r, sys\n"
        "status = dict(l.split(':\\t', 1) for l in open('/proc/self/status').read().splitlines())\n"
        "print(os.getsid(0) == os.getpid(), status.get('NoNewPrivs'), r.getrlimit(r.RLIMIT_CORE)[0],\n"
        "      r.getrlimit(r.RLIMIT_NOFILE)[0], r.getrlimit(r.RLIMIT_FSIZE)[0])\n"
    )
    if sys.platform != "linux":
        pytest.skip("/proc is Linux's")
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))  # as a worker may find it
    try:
        task = await _done(fake, _python(script), Limits(open_files=64, largest_file=4096))
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    assert task["output"] == "True 1 0 64 4096"


async def test_the_environment_is_a_short_list_without_the_hubs_secrets(fake: FakeHub) -> None:
    task = await _done(fake, ["env"])
    names = {line.partition("=")[0] for line in task["output"].split("\n")}
    assert names - {"PWD", "SHLVL", "_", "LC_CTYPE"} == {"PATH", "CROSSDOCK_TASK_ID"}


def test_only_named_variables_are_passed_on_and_the_hubs_own_never() -> None:
    environ = {"PATH": "p", "OPENAI_API_KEY": "k", "AWS_SECRET": "s", "CROSSDOCK_API_KEY": "x"}
    assert passed_on(environ=environ) == {"PATH": "p"}
    assert passed_on(["OPENAI_API_KEY", "CROSSDOCK_API_KEY"], environ) == {"PATH": "p", "OPENAI_API_KEY": "k"}


async def _gone(pids: Sequence[int]) -> None:
    """Wait until none of the processes runs; what nobody has reaped yet counts as gone."""
    async with asyncio.timeout(20):
        while any(_runs(pid) for pid in pids):  # noqa: ASYNC110  nothing announces the end of another's child
            await asyncio.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_cancelled_task_ends_the_whole_group_with_its_last_words(fake: FakeHub) -> None:
    script = "trap 'echo bye; exit 0' TERM; sleep 1000 & echo $$ $!; wait"
    task_id = await fake.submit()
    async with _working(fake, _shell(script)):
        await fake.until(lambda: fake.said(task_id))
        pids = [int(word) for word in fake.said(task_id)[0].split()]
        await fake.ask_to_cancel(task_id)
        await fake.until(lambda: fake.tasks[task_id]["state"] == "cancelled")
    assert fake.said(task_id)[1:] == ["bye"]
    await _gone(pids)


@pytest.mark.parametrize("reason", ["task_already_cancelled", "lease_expired"])
async def test_a_lost_lease_kills_even_a_command_that_ignores_term(fake: FakeHub, reason: str) -> None:
    script = "trap '' TERM; echo $$; while :; do sleep 0.05; done"
    task_id = await fake.submit()
    async with _working(fake, _shell(script), QUICK):
        await fake.until(lambda: fake.said(task_id))
        await fake.end(task_id, "cancelled", reason)
    await _gone([int(fake.said(task_id)[0])])
    assert not fake.bodies("fail")


async def test_a_message_that_finds_the_lease_gone_stops_the_command(fake: FakeHub, tmp_path: Path) -> None:
    term = tmp_path / "term"
    script = (
        f"trap 'touch {shlex.quote(str(term))}; exit' TERM; echo one; while :; do echo more; sleep 0.05; done"
    )
    task_id = await fake.submit()
    async with _working(fake, _shell(script)):
        await fake.until(lambda: fake.said(task_id))
        fake.tasks[task_id] |= {
            "lease_id": None,
            "lost": "task_ownership_moved",
        }  # and no lease call is woken
    assert term.exists()
    assert not fake.bodies("complete")


async def test_a_task_out_of_time_is_stopped_and_fails(fake: FakeHub) -> None:
    task = await _done(fake, ["sleep", "1000"], QUICK, timeout_minutes=0.005)
    assert task["error"]["category"] == "timeout"


async def test_what_a_command_leaves_in_the_background_is_killed(fake: FakeHub) -> None:
    task = await _done(fake, _shell("sleep 1000 & echo $!"))
    assert task["state"] == "completed"
    await _gone([int(task["output"])])


async def test_what_left_the_group_holds_up_nobody(fake: FakeHub) -> None:
    script = "import os, time; print(os.getpid(), flush=True); os.setsid(); time.sleep(30)"
    runner = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {script!r}]); print('out')"
    task = await _done(fake, _python(runner))
    for word in task["output"].split():
        with suppress(ValueError, ProcessLookupError):
            os.kill(int(word), signal.SIGKILL)
    assert task["state"] == "completed"


async def test_a_stopped_worker_kills_at_once(fake: FakeHub) -> None:
    task_id = await fake.submit()
    program = Program(_shell("trap '' TERM; echo $$; while :; do sleep 0.05; done"), environ=ENVIRON)
    working = asyncio.create_task(run_worker(WorkerConfig(url=fake.url, api_key=KEY, handler=program)))
    await fake.until(lambda: fake.said(task_id))
    program.kill()
    working.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(working, return_exceptions=True)
    await _gone([int(fake.said(task_id)[0])])


async def test_a_command_finds_the_trace_of_its_task_where_opentelemetry_looks(fake: FakeHub) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    done = await _done(fake, _shell('printf %s "$TRACEPARENT"'), traceparent=trace)
    assert done["output"] == trace
    without = await _done(fake, _shell('printf %s "${TRACEPARENT-none}"'))
    assert without["output"] == "none"
