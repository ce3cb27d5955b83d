"""`crossdock worker`: does the hub's tasks with a command."""

import asyncio
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

import click
import uvloop

from hub.client import ApiError, Forbidden, NotFound, Unauthorized
from hub.client.api import DEFAULT_URL, key_of
from hub.worker.program import Program, passed_on
from hub.worker.run import WorkerConfig, run_worker
from hub.worker.story import Story


class Exit(IntEnum):
    """What a script may branch on; the same numbers as everywhere on this command line."""

    DONE = 0
    FAILED = 1
    UNAUTHORIZED = 4
    DENIED = 5
    INTERRUPTED = 130


EXAMPLES = """\b
Examples:
  crossdock worker --exec 'jq -r .input.text'
  crossdock worker --exec './review.sh --fast' --tag role:reviewer --concurrency 4
  crossdock worker --exec 'python answer.py' --env OPENAI_API_KEY

The command gets the task as JSON on standard input, in an empty directory of its own. Each line it prints
becomes a message of the task, all of it the task's output; each file it leaves becomes an artifact; exit
status 0 completes the task, another one fails it. When the task is cancelled the command gets TERM, and
after ten seconds KILL. This is no sandbox: the command can do what you can.

The key comes from CROSSDOCK_API_KEY, or the file that CROSSDOCK_API_KEY_FILE names. A worker's or an
operator's key registers a new agent; with an agent's own key the worker is that agent.
"""


@click.command("worker", epilog=EXAMPLES, short_help="Do the hub's tasks with a command of yours.")
@click.option("--exec", "command", metavar="CMD", required=True, help="The command; no shell reads it.")
@click.option("--name", default="worker", show_default=True, help="The agent's name.")
@click.option("--tag", "tags", multiple=True, metavar="T", help="A tag that tasks may ask for; repeatable.")
@click.option(
    "--tool", "tools", multiple=True, metavar="T", help="A tool that tasks may ask for; repeatable."
)
@click.option(
    "--concurrency", type=click.IntRange(1, 100), default=1, show_default=True, help="Tasks at a time."
)
@click.option(
    "--lease",
    "lease_seconds",
    type=click.IntRange(5, 3600),
    default=60,
    show_default=True,
    help="After so many seconds of silence the hub gives the task to somebody else.",
)
@click.option("--env", "variables", multiple=True, metavar="NAME", help="Pass this variable on; repeatable.")
@click.option(
    "--agent-id", envvar="CROSSDOCK_AGENT_ID", show_envvar=True, help="Be this agent; the key is its own."
)
@click.option("--url", envvar="CROSSDOCK_URL", default=DEFAULT_URL, show_default=True, help="The hub.")
@click.option(
    "--api-key", hidden=True, help="For callers within the program: on a command line, others can read it."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line about what happens.")
@click.option("--quiet", is_flag=True, help="Say nothing that is no error.")
@click.pass_context
def worker(
    context: click.Context,
    command: str,
    name: str,
    tags: Sequence[str],
    tools: Sequence[str],
    concurrency: int,
    lease_seconds: int,
    variables: Sequence[str],
    agent_id: str | None,
    url: str,
    api_key: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Do the hub's tasks with a command of yours."""
    program = Program(resolved(command), environ=passed_on(os.environ, variables))
    config = WorkerConfig(
        url=url,
        api_key=api_key or _key(),
        handler=program,
        name=name,
        tags=tags,
        tools=tools,
        concurrency=concurrency,
        lease_seconds=lease_seconds,
        agent_id=agent_id,
        listener=Story(as_json=as_json, quiet=quiet, stdout=sys.stdout, stderr=sys.stderr),
    )
    try:
        context.exit(uvloop.run(_until_stopped(config, program)))
    except ApiError as error:
        _complain(error, as_json=as_json)
        context.exit(_exit_of(error))


def resolved(command: str) -> list[str]:
    """The command's words, with files found from here: it will run in another directory.

    Raises:
        click.UsageError: there is no command, or it cannot be found.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise click.UsageError(f"--exec: {error}") from None
    if not words:
        raise click.UsageError("--exec needs a command")
    program = shutil.which(words[0])
    if program is None:
        raise click.UsageError(f"--exec: there is no command {words[0]!r}")
    return [os.path.abspath(program), *(_found_from_here(word) for word in words[1:])]


def _found_from_here(word: str) -> str:
    """A word that names a file is meant as that file; without a dot or slash it may be anything."""
    return os.path.abspath(word) if ("/" in word or "." in word) and Path(word).is_file() else word


def _key() -> str:
    try:
        key = key_of(os.environ)
    except OSError as error:
        raise click.UsageError(f"CROSSDOCK_API_KEY_FILE: {error}") from None
    if not key:
        raise click.UsageError("no key: set CROSSDOCK_API_KEY, for example to one of `crossdock keys create`")
    return key


async def _until_stopped(config: WorkerConfig, program: Program) -> int:
    """Work until the first signal, then finish; the second one stops at once."""
    drain = asyncio.Event()
    working = asyncio.ensure_future(run_worker(config, drain=drain))

    def on_signal() -> None:
        if drain.is_set():
            program.kill()
            working.cancel()
        drain.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        await working
    except asyncio.CancelledError:
        return Exit.INTERRUPTED
    return Exit.DONE


def _exit_of(error: ApiError) -> Exit:
    if isinstance(error, Unauthorized):
        return Exit.UNAUTHORIZED
    return Exit.DENIED if isinstance(error, Forbidden | NotFound) else Exit.FAILED


def _complain(error: ApiError, *, as_json: bool) -> None:
    """Say what the hub refused, and what to do about it."""
    advice = {
        Exit.UNAUTHORIZED: ("the hub does not know this key", "crossdock keys create --scope worker"),
        Exit.DENIED: ("this key may not work here", "a worker's key, or an agent's own"),
        Exit.FAILED: ("the hub refused", "crossdock doctor, beside the hub"),
    }
    what, hint = advice[_exit_of(error)]
    if as_json:
        body = {"code": error.code, "message": error.message, "recovery_hint": hint}
        click.echo(json.dumps({"error": body}), err=True)
    else:
        click.echo(f"error: {what}: {error}\n  try    {hint}", err=True)
