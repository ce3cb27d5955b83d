"""What everything of the gateway works with, once for a process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.mcp.config import McpConfig
from adapters.mcp.exchange import Call
from adapters.mcp.gateway.bridge import Bridge
from adapters.mcp.gateway.calling import Calling
from adapters.mcp.gateway.line import Line
from adapters.mcp.gateway.pool import Pool
from adapters.mcp.upstream import Upstream
from adapters.mcp.upstream.target import Targets
from core.mcp.records import McpServer
from core.platform import Platform


@dataclass(frozen=True)
class Desk:
    """The platform, and the ways out."""

    platform: Platform
    config: McpConfig
    targets: Targets
    upstream: Upstream
    pool: Pool
    bridge: Bridge
    calling: Calling
    info: Mapping[str, Any]
    """What the hub says about itself to servers."""

    def line(self, server: McpServer, call: Call) -> Line:
        """The way to a server for a call."""
        return Line(
            server,
            call,
            platform=self.platform,
            targets=self.targets,
            upstream=self.upstream,
            pool=self.pool,
            info=self.info,
        )
