"""`crossdock worker`: a command of yours does the hub's tasks."""

import asyncio
import os
import re
import shlex
import signal
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hub.cli.failure import ExitCode, Failure, Hint
from hub.cli.frame import ExampleHelp, database_option, load_settings, output_options
from hub.cli.output import Output
from hub.settings import Settings

if TYPE_CHECKING:
    from hub.worker import Note, WorkerConfig

OWN_KEY_LASTS = timedelta(minutes=10)
"""It only registers the agent, which then works under a key of its own."""


@click.command(
    cls=ExampleHelp,
    examples=(
        "crossdock worker --exec 'jq -r .input.text | tr a-z A-Z'\n"
        "crossdock worker --exec ./review.py --name reviewer --tag role:reviewer --concurrency 4"
    ),
)
@click.option("--exec", "command", metavar="CMD", required=True, help="The command, run by sh for each task.")
@click.option("--name", help="How the agent is called. Default: this machine's name.")
@click.option(
    "--tag", "tags", multiple=True, metavar="TAG", help="What it offers; tasks ask for it. Repeatable."
)
@click.option("--tool", "tools", multiple=True, metavar="TOOL", help="A tool it has. Repeatable.")
@click.option(
    "--concurrency", type=click.IntRange(1, 1000), default=1, help="So many tasks at once. Default: 1."
)
@click.option("--agent", metavar="ID", help="Be this agent, with its own key, instead of a new one.")
@click.option("--url", metavar="URL", help="The hub, instead of CROSSDOCK_URL.")
@database_option
@output_options
def worker(
    out: Output,
    command: str,
    name: str | None,
    tags: tuple[str, ...],
    tools: tuple[str, ...],
    concurrency: int,
    agent: str | None,
    url: str | None,
    db: str | None,
) -> int:
    """Do the hub's tasks with CMD.

    It gets the task as JSON on stdin. Its lines become messages, the files it leaves become artifacts, what
    it prints is the output, and its exit code says whether the task is completed or failed. The first Ctrl-C
    lets what runs finish; the second stops it.

    Without CROSSDOCK_API_KEY, beside the hub's own database, it lets itself in.
    """
    from hub.worker import Program, WorkerConfig

    settings = load_settings(out, url=url, database_url=db)
    hub_url = settings.url or settings.address()
    name = name or socket.gethostname()
    key = settings.api_key or asyncio.run(_own_key(out, settings, name))
    program = Program(["/bin/sh", "-c", found_from(command, Path.cwd())])
    config = WorkerConfig(
        url=hub_url,
        api_key=key,
        handler=program,
        name=name,
        tags=tags,
        tools=tools,
        concurrency=concurrency,
        agent_id=agent,
        listener=_Story(out).tell,
    )
    return asyncio.run(_until_told(out, config, program.kill))


def found_from(command: str, directory: Path) -> str:
    """The command with absolute paths to the files it names: each task runs in a directory of its own."""

    def absolute(match: re.Match[str]) -> str:
        word = match[0]
        looks_like_file = "/" in word or "." in word
        if looks_like_file and not word.startswith(("/", "-", "~")) and (directory / word).is_file():
            return shlex.quote(os.path.normpath(directory / word))
        return word

    return re.sub(r"(?<!\S)[\w./+@%:,-]+(?!\S)", absolute, command)


async def _until_told(out: Output, config: "WorkerConfig", kill: Any) -> int:
    from hub.worker import run_worker

    loop, drain = asyncio.get_running_loop(), asyncio.Event()
    working = asyncio.create_task(run_worker(config, drain=drain))
    told = 0

    def stop() -> None:
        nonlocal told
        told += 1
        if told == 1:
            drain.set()
        else:
            kill()
            working.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await working
    except asyncio.CancelledError:
        out.say("stopped at once; what ran is given to somebody else when its lease ends")
        return ExitCode.INTERRUPTED
    return ExitCode.DONE


async def _own_key(out: Output, settings: Settings, name: str) -> str:
    """A key made beside the hub's database, as its operator could."""
    from core.auth import CreateKey, create_key
    from core.principals import OwnerType
    from core.store import migrate
    from hub.cli.offline import beside_the_database
    from schemas.vocabulary import Scope

    path = settings.database_path
    if path is not None and not path.exists():
        raise Failure(
            "no key to call the hub with: CROSSDOCK_API_KEY is not set",
            [
                Hint(
                    "try", "CROSSDOCK_API_KEY=$(crossdock keys create --scope worker --quiet), beside the hub"
                ),
                Hint("or", f"start one here first: crossdock serve   (there is no {path})"),
            ],
            "UNAUTHORIZED",
            ExitCode.UNAUTHORIZED,
        )
    status = await migrate.status(settings.database_url)
    if status.current == migrate.EMPTY:
        raise Failure("the database is empty", [Hint("try", "crossdock serve")], "DATABASE_EMPTY")
    async with beside_the_database(out, settings) as here:
        command = CreateKey(
            Scope.WORKER,
            OwnerType.USER,
            "local-operator",
            label=f"worker {name}"[:255],
            expires_at=datetime.now(UTC) + OWN_KEY_LASTS,
        )
        new = await here.platform.write(here.caller, create_key, command)
    assert new.api_key is not None
    return new.api_key


class _Story:
    """Notes as lines: on stderr for people, as JSON on stdout for programs."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def tell(self, note: "Note") -> None:
        now = datetime.now(UTC)
        if self._out.as_json:
            record = {"at": now, "kind": note.kind.value, "text": note.text, **note.facts}
            self._out.json(record | ({"task_id": note.claim.id} if note.claim else {}))
            self._out.flush()
        else:
            self._out.say(f"{now.astimezone():%H:%M:%S}  {note.kind.value:<11} {note.text}")
