"""`crossdock worker --mcp`: a program here is an MCP server of the hub."""

import asyncio
import signal
from collections.abc import Mapping, Sequence

import uvloop

from hub.cli.failure import ExitCode, Failure
from hub.cli.output import Output

PLACES = 4


def host(
    out: Output,
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    name: str,
    places: int | None,
    url: str,
    api_key: str,
) -> int:
    """Host until told to stop. The first signal ends every program and gives the hosting back."""
    from hub.worker.mcp_host import McpHostConfig

    config = McpHostConfig(name=name, argv=argv, environ=environ, places=places or PLACES)
    return uvloop.run(_until_told(out, config, url, api_key))


async def _until_told(out: Output, config: object, url: str, api_key: str) -> int:
    from hub.worker.mcp_host import HostingLost, McpHostConfig, host_mcp

    assert isinstance(config, McpHostConfig)
    loop, drain = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, drain.set)
    try:
        await host_mcp(config, url=url, api_key=api_key, drain=drain, tell=out.say)
    except HostingLost as lost:
        raise Failure(str(lost), [], "CONFLICT", ExitCode.FAILED) from None
    return ExitCode.DONE
