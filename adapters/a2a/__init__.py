"""A2A 1.0: the hub as an agent that other agents send work to."""

from adapters.a2a.agent import A2AConfig
from adapters.a2a.server import is_public, owns, render_error, routes

__all__ = ["A2AConfig", "is_public", "owns", "render_error", "routes"]
