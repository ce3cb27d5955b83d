"""Doing the hub's work with any agent that speaks the Agent Client Protocol."""

from hub.worker.acp.agent import AcpAgent, AgentConfig
from hub.worker.acp.policy import Effect, Policy, Rule
from hub.worker.acp.profiles import GENERIC, PROFILES, Profile, profile_of

__all__ = [
    "GENERIC",
    "PROFILES",
    "AcpAgent",
    "AgentConfig",
    "Effect",
    "Policy",
    "Profile",
    "Rule",
    "profile_of",
]
