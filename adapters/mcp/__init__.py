"""The hub as an MCP server: one endpoint for the handshake revisions and for 2026-07-28. See `README.md`."""

from adapters.mcp.config import McpConfig
from adapters.mcp.server import gateway_of, is_public, owns, render_error, routes

__all__ = ["McpConfig", "gateway_of", "is_public", "owns", "render_error", "routes"]
