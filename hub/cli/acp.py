"""`crossdock acp`: what an editor starts. Quick to import: the editor waits for its first byte."""

import sys
from typing import TYPE_CHECKING

import click

from hub.cli.failure import ExitCode, Failure, Hint
from hub.cli.frame import ExampleGroup, ExampleHelp, load_settings, output_options
from hub.cli.output import Output
from hub.launcher import credentials

if TYPE_CHECKING:
    from hub.launcher.link import Hub

DEFAULT_URL = "http://127.0.0.1:8080"


@click.group(
    cls=ExampleGroup,
    invoke_without_command=True,
    examples=(
        "crossdock acp login\n"
        "crossdock acp --url https://hub.example.com\n"
        "crossdock acp --local-worker 'opencode acp'"
    ),
)
@click.option("--url", metavar="URL", help="The hub, instead of CROSSDOCK_URL and the last login.")
@click.option("--token-env", metavar="NAME", help="The variable with the key, instead of CROSSDOCK_API_KEY.")
@click.option("--agent", metavar="ID", help="The agent that does the turns of new sessions.")
@click.option(
    "--local-worker",
    metavar="CMD",
    help="Run this ACP agent beside the editor, and let it do the turns of its sessions.",
)
@output_options
@click.pass_context
def acp(
    ctx: click.Context,
    out: Output,
    url: str | None,
    token_env: str | None,
    agent: str | None,
    local_worker: str | None,
) -> int:
    """Let an editor work with the hub's agents: the Agent Client Protocol on stdin and stdout.

    Editors start this by themselves. It stays connected: when the hub is restarted it goes on where it was,
    and the editor does not notice. Sessions and their turns live in the hub and do not end with it.
    """
    if ctx.invoked_subcommand is not None:
        ctx.obj = url
        return ExitCode.DONE
    import asyncio

    from hub.launcher.run import LauncherConfig, claim_stdout, launch

    stdout = claim_stdout()
    settings = load_settings(out, url=url)

    def hub() -> "Hub":
        from hub.launcher.link import Hub

        path = credentials.path_of()
        where = settings.url or credentials.last_url(path) or DEFAULT_URL
        given = credentials.named(token_env) if token_env else settings.api_key
        return Hub(where, given or credentials.key_for(path, where))

    tags, worker = _local(local_worker, hub())
    from hub.version import version

    asyncio.run(launch(LauncherConfig(hub, version(), agent, tags, worker), stdout))
    return ExitCode.DONE


def _local(command: str | None, hub: "Hub") -> tuple[list[str], list[str]]:
    """The tag by which the editor's sessions find the worker beside it, and that worker."""
    if command is None:
        return [], []
    from hub.launcher.local_worker import tag_of

    tag = tag_of(command)
    argv = [sys.executable, "-m", "hub", "worker", "--acp", command, "--only", tag, "--url", hub.url]
    return [tag], [*argv, "--name", f"{tag} beside an editor"]


@acp.command(
    cls=ExampleHelp, examples="crossdock acp login\ncrossdock acp login --url https://hub.example.com"
)
@click.option("--url", metavar="URL", help="The hub. Default: asked for.")
@output_options
@click.pass_context
def login(ctx: click.Context, out: Output, url: str | None) -> int:
    """Ask for a hub and a key, try them, and keep them for this user.

    Without a terminal, the key is read from stdin. The file is readable by you alone.
    """
    import asyncio

    settings = load_settings(out, url=url or ctx.obj)
    path = credentials.path_of()
    where = settings.url or credentials.last_url(path) or DEFAULT_URL
    if sys.stdin.isatty():
        if url is None and ctx.obj is None:
            where = click.prompt("Hub", default=where, err=True)
        key = click.prompt("Key", hide_input=True, err=True)
    else:
        key = sys.stdin.readline().strip()
    if not key:
        hint = Hint("try", "crossdock keys create --scope agent --quiet, beside the hub")
        raise Failure("no key was given", [hint], "UNAUTHORIZED", ExitCode.UNAUTHORIZED)
    me = asyncio.run(_who(where, key))
    try:
        credentials.keep(path, where, key)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}") from None
    known = {"url": where, "file": str(path), "owner_id": me["owner_id"], "scope": me["scope"]}
    out.record(known, f"logged in to {where} as {me['owner_id']}; kept in {path}", answer=where)
    return ExitCode.DONE


async def _who(url: str, key: str) -> dict[str, str]:
    from hub.client import Crossdock

    async with Crossdock(url, key, retry_seconds=5) as client:
        return dict(await client.me())
