"""`crossdock worker`: a command of yours does the hub's tasks."""

import asyncio
import signal
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
import uvloop

from hub.cli.failure import ExitCode, Failure, Hint
from hub.cli.frame import ExampleHelp, database_option, load_settings, output_options
from hub.cli.output import Output
from hub.settings import Settings

if TYPE_CHECKING:
    from hub.worker import WorkerConfig

OWN_KEY_LASTS = timedelta(minutes=10)
"""It only registers the agent, which then works under a key of its own."""


@click.command(
    cls=ExampleHelp,
    examples=(
        "crossdock worker --exec 'jq -r .input.text|ascii_upcase'\n"
        "crossdock worker --exec './review.py --fast' --name reviewer --tag role:reviewer --concurrency 4\n"
        "crossdock worker --exec 'python answer.py' --env OPENAI_API_KEY"
    ),
)
@click.option(
    "--exec",
    "command",
    metavar="CMD",
    required=True,
    help="The command, run for each task; no shell reads it.",
)
@click.option("--name", help="How the agent is called. Default: this machine's name.")
@click.option(
    "--tag", "tags", multiple=True, metavar="TAG", help="What it offers; tasks ask for it. Repeatable."
)
@click.option("--tool", "tools", multiple=True, metavar="TOOL", help="A tool it has. Repeatable.")
@click.option(
    "--concurrency", type=click.IntRange(1, 1000), default=1, help="So many tasks at once. Default: 1."
)
@click.option(
    "--lease",
    "lease_seconds",
    type=click.IntRange(5, 3600),
    default=60,
    help="After so many silent seconds the hub gives the task to another worker. Default: 60.",
)
@click.option(
    "--env", "variables", multiple=True, metavar="NAME", help="Pass this variable to CMD. Repeatable."
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
    lease_seconds: int,
    variables: tuple[str, ...],
    agent: str | None,
    url: str | None,
    db: str | None,
) -> int:
    """Do the hub's tasks with CMD.

    It gets the task as JSON on stdin. Its lines become messages, the files it leaves become artifacts, what
    it prints is the output, and its exit code says whether the task is completed or failed. When the task is
    cancelled it gets TERM, and KILL after ten seconds. The first Ctrl-C lets what runs finish; the second
    stops it. This is no sandbox: CMD can do what you can, but does not see the hub's key.

    Without CROSSDOCK_API_KEY, beside the hub's own database, it lets itself in.
    """
    from hub.worker import BadCommand, Program, Story, WorkerConfig, passed_on, words

    try:
        argv = words(command)
    except BadCommand as bad:
        raise click.UsageError(f"--exec: {bad}") from None
    settings = load_settings(out, url=url, database_url=db)
    hub_url = settings.url or settings.address()
    name = name or socket.gethostname()
    key = settings.api_key or asyncio.run(_own_key(out, settings, name))
    program = Program(argv, environ=passed_on(variables))
    config = WorkerConfig(
        url=hub_url,
        api_key=key,
        handler=program,
        name=name,
        tags=tags,
        tools=tools,
        concurrency=concurrency,
        lease_seconds=lease_seconds,
        agent_id=agent,
        listener=Story(as_json=out.as_json, quiet=out.quiet),
    )
    return uvloop.run(_until_told(out, config, program.kill))


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
