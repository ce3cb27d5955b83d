"""`crossdock worker`: a command of yours, or an ACP agent, does the hub's tasks."""

import asyncio
import signal
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click
import uvloop

from hub.cli.failure import ExitCode, Failure, Hint
from hub.cli.frame import ExampleHelp, database_option, load_settings, output_options
from hub.cli.output import Output
from hub.cli.worker_acp import TAG, AcpOptions, acp_options, agent, identity_of
from hub.cli.worker_mcp import host
from hub.settings import Settings

if TYPE_CHECKING:
    from hub.worker import Program, WorkerConfig
    from hub.worker.acp import AcpAgent

ACP_CONCURRENCY = 8
"""A session that waits for its owner's leave must not keep others waiting."""
OWN_KEY_LASTS = timedelta(minutes=10)
"""It only registers the agent, which then works under a key of its own."""
HOSTING_KEY_LASTS = timedelta(days=365)
"""It is what an MCP server is hosted with."""


@click.command(
    cls=ExampleHelp,
    examples=(
        "crossdock worker --exec 'jq -r .input.text|ascii_upcase'\n"
        "crossdock worker --exec './review.py --fast' --name reviewer --tag role:reviewer --concurrency 4\n"
        "crossdock worker --exec 'python answer.py' --env OPENAI_API_KEY\n"
        "crossdock worker --mcp 'uvx mcp-server-time' --name time\n"
        "crossdock worker --acp 'opencode acp' --workspace ~/project --allow read --allow 'execute:git diff*'"
    ),
)
@click.option(
    "--exec",
    "command",
    metavar="CMD",
    help="The command, run for each task; no shell reads it.",
)
@click.option(
    "--acp",
    "acp",
    metavar="CMD",
    help="An agent that speaks ACP on stdin and stdout, run for each session.",
)
@acp_options
@click.option(
    "--mcp",
    "mcp",
    metavar="CMD",
    help="An MCP server that speaks on stdin and stdout, run for each session of the hub.",
)
@click.option("--name", help="How the agent is called. Default: this machine's name.")
@click.option(
    "--tag", "tags", multiple=True, metavar="TAG", help="What it offers; tasks ask for it. Repeatable."
)
@click.option(
    "--only",
    "only",
    multiple=True,
    metavar="TAG",
    help="Do nothing that does not ask for this tag, which it offers. Repeatable.",
)
@click.option("--tool", "tools", multiple=True, metavar="TOOL", help="A tool it has. Repeatable.")
@click.option(
    "--concurrency", type=click.IntRange(1, 1000), help="So many tasks at once. Default: 1, of sessions 8."
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
@click.option(
    "--agent", "agent_id", metavar="ID", help="Be this agent, with its own key, instead of a new one."
)
@click.option("--url", metavar="URL", help="The hub, instead of CROSSDOCK_URL.")
@database_option
@output_options
def worker(
    out: Output,
    command: str | None,
    acp: str | None,
    acp_options: AcpOptions,
    mcp: str | None,
    name: str | None,
    tags: tuple[str, ...],
    only: tuple[str, ...],
    tools: tuple[str, ...],
    concurrency: int | None,
    lease_seconds: int,
    variables: tuple[str, ...],
    agent_id: str | None,
    url: str | None,
    db: str | None,
) -> int:
    """Do the hub's tasks with CMD, or editors' sessions with an ACP agent.

    With --exec it gets the task as JSON on stdin. Its lines become messages, the files it leaves become
    artifacts, what it prints is the output, and its exit code says whether the task is completed or failed.
    When the task is cancelled it gets TERM, and KILL after ten seconds. The first Ctrl-C lets what runs
    finish; the second stops it. This is no sandbox: CMD can do what you can, but does not see the hub's key.

    With --acp the agent works in the workspace, and what it wants leave for is asked of the session's owner,
    however long the answer takes. A RULE is KIND or KIND:GLOB, such as read or 'execute:git diff*'; the
    strictest that fits counts. It offers the tag acp, which sessions ask for.

    With --mcp the hub's gateway offers the server's tools to whom they are granted; each session has a
    program of its own, at most --concurrency (4) at once, which ends with the session or the worker.

    Without CROSSDOCK_API_KEY, beside the hub's own database, it lets itself in.
    """
    from hub.worker import DEFAULT_TIMEOUT_MINUTES, BadCommand, Program, Story, WorkerConfig, passed_on, words

    if sum(each is not None for each in (command, acp, mcp)) != 1:
        raise click.UsageError("say one of --exec CMD, --acp CMD and --mcp CMD")
    if mcp is not None and (tags or tools or agent_id):
        raise click.UsageError("--tag, --tool and --agent are for tasks, not for --mcp")
    if acp is None and acp_options.given:
        raise click.UsageError("this option is for --acp")
    try:
        argv = words(command or acp or mcp or "")
    except BadCommand as bad:
        raise click.UsageError(f"{'--acp' if acp else '--mcp' if mcp else '--exec'}: {bad}") from None
    program = (
        Program(argv, environ=passed_on(variables)) if acp is None else agent(argv, variables, acp_options)
    )
    settings = load_settings(out, url=url, database_url=db)
    hub_url = settings.url or settings.address()
    name = name or socket.gethostname()
    key = settings.api_key or asyncio.run(
        _own_key(out, settings, name, OWN_KEY_LASTS if mcp is None else HOSTING_KEY_LASTS)
    )
    if mcp is not None:
        environ = passed_on(variables)
        return host(out, argv, environ, name=name, places=concurrency, url=hub_url, api_key=key)
    places = concurrency or (1 if acp is None else ACP_CONCURRENCY)
    config = WorkerConfig(
        url=hub_url,
        api_key=key,
        handler=program,
        name=name,
        tags=tags if acp is None else sorted({TAG, *tags}),
        only=only,
        tools=tools,
        concurrency=places,
        lease_seconds=lease_seconds,
        timeout_minutes=DEFAULT_TIMEOUT_MINUTES if acp is None else None,
        agent_id=agent_id,
        identity=None if acp is None else identity_of(argv, hub_url, name, tags, only, tools, places),
        listener=Story(as_json=out.as_json, quiet=out.quiet),
    )
    return uvloop.run(_until_told(out, config, program))


async def _until_told(out: Output, config: "WorkerConfig", program: "Program | AcpAgent") -> int:
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
            program.kill()
            working.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await working
    except asyncio.CancelledError:
        out.say("stopped at once; what ran is given to somebody else when its lease ends")
        return ExitCode.INTERRUPTED
    finally:
        await program.close()
    return ExitCode.DONE


async def _own_key(out: Output, settings: Settings, name: str, lasts: timedelta) -> str:
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
            expires_at=datetime.now(UTC) + lasts,
        )
        new = await here.platform.write(here.caller, create_key, command)
    assert new.api_key is not None
    return new.api_key
