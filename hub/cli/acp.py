"""`crossdock acp`: what an editor starts to talk to the hub, and how a person lets it in."""

import asyncio
import sys
import uuid
from pathlib import Path

import click

from hub.cli.failure import ExitCode, Failure, Hint
from hub.cli.frame import ExampleGroup, output_options
from hub.cli.output import Output
from hub.launcher import credentials as kept
from hub.launcher.credentials import Credentials
from hub.settings import Settings


@click.group(
    cls=ExampleGroup,
    invoke_without_command=True,
    examples=(
        "crossdock acp login --url https://hub.example.com\n"
        "crossdock acp\n"
        "crossdock acp --local-worker 'opencode acp'"
    ),
)
@click.option("--url", metavar="URL", help="The hub, instead of CROSSDOCK_URL or the one logged in to.")
@click.option(
    "--local-worker",
    "companion",
    metavar="CMD",
    help="Also run CMD, an ACP agent, on this machine for the sessions of this editor.",
)
@click.pass_context
def acp(ctx: click.Context, url: str | None, companion: str | None) -> int | None:
    """Speak ACP on stdin and stdout, for editors: the hub is the agent.

    The connection is kept over restarts of the hub. The key is CROSSDOCK_API_KEY, else the one of
    `crossdock acp login`; with --local-worker, beside a hub of somebody else, it is a worker's. Nothing but
    the protocol is printed on stdout.
    """
    if ctx.invoked_subcommand is not None:
        return None
    from hub.launcher.run import Launch, run
    from hub.version import version

    tags: list[str] = []
    argv: list[str] | None = None
    if companion is not None:
        # Its own tag sends the sessions of this editor to the agent beside it, and nowhere else.
        tags = [f"beside:{uuid.uuid4().hex[:12]}"]
        argv = [sys.executable, "-P", "-m", "hub", "worker", "--acp", companion, "--tag", *tags]
        argv += ["--name", "beside the editor", "--url", _url(url)]
    launch = Launch(lambda: _credentials(url), _url(url), version(), tags, argv)
    try:
        return asyncio.run(run(launch))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


@acp.command()
@click.option("--url", metavar="URL", help="The hub. Default: CROSSDOCK_URL, else the one logged in to.")
@output_options
def login(out: Output, url: str | None) -> int:
    """Ask for a key of the hub, try it, and keep it for this user's editors."""
    where = _url(url)
    if sys.stdin.isatty():
        where = click.prompt("Hub", default=where, err=True).rstrip("/")
        key = click.prompt("Key", hide_input=True, err=True)
    else:
        key = sys.stdin.readline().strip()
    asyncio.run(_try(where, key))
    kept.save(_file(), Credentials(where, key))
    out.record({"url": where, "file": str(_file())}, f"logged in to {where}", answer=where)
    return ExitCode.DONE


async def _try(url: str, key: str) -> None:
    """Call the hub once with the key.

    Raises:
        Failure: it is not there, or does not take the key.
    """
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus, WebSocketException

    address = f"{url.replace('http', 'ws', 1)}/acp"
    problem: Exception
    try:
        async with connect(address, additional_headers={"Authorization": f"Bearer {key}"}, proxy=None):
            return
    except InvalidStatus as refused:
        problem = refused
        if refused.response.status_code in (401, 403):
            hint = Hint("try", "crossdock keys create, where the hub runs")
            said = Failure("the hub does not take this key", [hint], "UNAUTHORIZED", ExitCode.UNAUTHORIZED)
        else:
            said = Failure(f"{url} is no hub: it answers {refused.response.status_code}")
    except (OSError, TimeoutError, ValueError, WebSocketException) as error:
        problem = error
        hint = Hint("try", f"curl {url}/health")
        said = Failure(f"{url} cannot be reached: {error}", [hint], "UNREACHABLE", ExitCode.UNREACHABLE)
    raise said from problem


def _file() -> Path:
    return Path(click.get_app_dir("crossdock")) / "credentials.json"


def _url(flag: str | None) -> str:
    saved, settings = kept.load(_file()), Settings.from_process()
    url = flag or settings.url or (saved.url if saved else None) or settings.address()
    return url.rstrip("/")


def _credentials(flag: str | None) -> Credentials | None:
    """The hub and the key that count now: what is said here and in the environment, else what was kept."""
    saved, key = kept.load(_file()), Settings.from_process().api_key
    if key is None and saved is not None:
        key = saved.api_key
    return None if key is None else Credentials(_url(flag), key)
