"""`crossdock mcp`: what an MCP host starts that knows no addresses. Quick to import, as the host waits."""

import click

from hub.cli.failure import ExitCode
from hub.cli.frame import ExampleHelp, load_settings, output_options
from hub.cli.output import Output
from hub.launcher import credentials

DEFAULT_URL = "http://127.0.0.1:8080"


@click.command(
    cls=ExampleHelp,
    examples="crossdock mcp\ncrossdock mcp --server weather --url https://hub.example.com",
)
@click.option("--url", metavar="URL", help="The hub, instead of CROSSDOCK_URL and the last login.")
@click.option("--token-env", metavar="NAME", help="The variable with the key, instead of CROSSDOCK_API_KEY.")
@click.option("--server", metavar="SLUG", help="One MCP server behind the hub, under its own tool names.")
@output_options
def mcp(out: Output, url: str | None, token_env: str | None, server: str | None) -> int:
    """Let an MCP host that starts commands use the hub's tools: MCP on stdin and stdout.

    Hosts start this by themselves. It stays connected: when the hub is restarted it goes on, and the host
    does not notice.
    """
    import asyncio

    from hub.launcher.run import claim_stdout

    stdout = claim_stdout()
    settings = load_settings(out, url=url)

    from hub.launcher.link import Hub
    from hub.launcher.mcp_run import launch_mcp

    def hub() -> Hub:
        path = credentials.path_of()
        where = settings.url or credentials.last_url(path) or DEFAULT_URL
        given = credentials.named(token_env) if token_env else settings.api_key
        return Hub(where, given or credentials.key_for(path, where))

    asyncio.run(launch_mcp(hub, f"/mcp/{server}" if server else "/mcp", stdout))
    return ExitCode.DONE
