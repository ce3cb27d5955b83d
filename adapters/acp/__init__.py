"""Agent Client Protocol: the hub as an agent that editors open sessions on."""

from adapters.acp.config import ACPConfig
from adapters.acp.server import PATH, owns, render_error, routes

__all__ = ["PATH", "ACPConfig", "owns", "render_error", "routes"]
