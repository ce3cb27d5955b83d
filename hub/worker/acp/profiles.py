"""What is known of each agent beyond the protocol: data, no code.

An agent of no known name gets `GENERIC`, which is the protocol as it is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from types import MappingProxyType
from typing import Final

NOBODY_LOOKS: Final[Mapping[str, str]] = MappingProxyType({"NO_BROWSER": "1"})
"""A login must not open a browser on a machine where nobody sits."""


@dataclass(frozen=True)
class Profile:
    """One agent's ways."""

    name: str
    programs: Sequence[str] = ()
    """Words of a command by which it is known: names of programs and of packages, without directories."""
    variables: Sequence[str] = ()
    """Variables of the worker's environment that it needs, beside those that every command gets."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Variables that it always gets, unless the operator passes on others."""
    auth: Sequence[str] = ()
    """Methods of `authenticate` that need nobody at a terminal, the best first."""
    modes: Mapping[str, str] = field(default_factory=dict)
    """Its own mode for each of the hub's: `plan`, `ask`, `auto`. `auto` stays a mode in which it asks: the
    worker answers for the owner, and so each permission is on record."""
    loads_past: bool = True
    """Whether it can take up a session that another process of it had. Some say so and forget it."""
    rejects_expired: bool = False
    """A permission that ran out is told as "reject once": it takes `cancelled` for the end of the turn."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """Method of `authenticate` to the variable without which it is not tried."""


PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            Profile(
                "opencode",
                programs=("opencode", "opencode-ai", "opencode.exe"),
                variables=(
                    "OPENCODE_CONFIG",
                    "OPENCODE_CONFIG_CONTENT",
                    "OPENCODE_CONFIG_DIR",
                    "OPENCODE_DISABLE_MODELS_FETCH",
                    "ANTHROPIC_API_KEY",
                    "OPENAI_API_KEY",
                    "OPENROUTER_API_KEY",
                    "GEMINI_API_KEY",
                    "XDG_CONFIG_HOME",
                    "XDG_DATA_HOME",
                    "XDG_CACHE_HOME",
                    "XDG_STATE_HOME",
                ),
                settings={"OPENCODE_DISABLE_AUTOUPDATE": "1"},
                modes={"plan": "plan", "ask": "build", "auto": "build"},
            ),
            Profile(
                "gemini",
                programs=("gemini", "gemini.js", "gemini-cli"),
                variables=(
                    "GEMINI_API_KEY",
                    "GEMINI_MODEL",
                    "GOOGLE_API_KEY",
                    "GOOGLE_APPLICATION_CREDENTIALS",
                    "GOOGLE_CLOUD_LOCATION",
                    "GOOGLE_CLOUD_PROJECT",
                    "GOOGLE_GEMINI_BASE_URL",
                    "GOOGLE_GENAI_USE_VERTEXAI",
                    "GEMINI_CLI_HOME",
                ),
                # It starts itself a second time to have more memory; one process is enough to watch.
                settings={"GEMINI_CLI_NO_RELAUNCH": "true", **NOBODY_LOOKS},
                auth=("gemini-api-key", "vertex-ai", "oauth-personal"),
                needs={"gemini-api-key": "GEMINI_API_KEY", "vertex-ai": "GOOGLE_GENAI_USE_VERTEXAI"},
                modes={"plan": "plan", "ask": "default", "auto": "default"},
            ),
            Profile(
                "claude",
                programs=("claude-agent-acp", "claude-code-acp"),
                variables=(
                    "ANTHROPIC_API_KEY",
                    "ANTHROPIC_AUTH_TOKEN",
                    "ANTHROPIC_BASE_URL",
                    "ANTHROPIC_MODEL",
                    "CLAUDE_CODE_EXECUTABLE",
                    "CLAUDE_CODE_OAUTH_TOKEN",
                    "CLAUDE_CODE_USE_BEDROCK",
                    "CLAUDE_CODE_USE_VERTEX",
                    "CLAUDE_CONFIG_DIR",
                    "CLAUDE_MODEL_CONFIG",
                    "MAX_THINKING_TOKENS",
                ),
                settings=NOBODY_LOOKS,
                # It starts in a mode in which it decides by itself what is safe.
                modes={"plan": "plan", "ask": "default", "auto": "default"},
                rejects_expired=True,
            ),
            Profile(
                "qwen",
                programs=("qwen", "qwen-code"),
                variables=("DASHSCOPE_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"),
                auth=("openai", "qwen-oauth"),
                needs={"openai": "OPENAI_API_KEY"},
                modes={"plan": "plan", "ask": "default", "auto": "default"},
            ),
            Profile(
                "codex",
                programs=("codex-acp",),
                variables=(
                    "CODEX_API_KEY",
                    "CODEX_CONFIG",
                    "CODEX_HOME",
                    "CODEX_PATH",
                    "MODEL_PROVIDER",
                    "OPENAI_API_KEY",
                    "OPENAI_BASE_URL",
                ),
                settings=NOBODY_LOOKS,
                auth=("api-key", "codex-api-key", "openai-api-key"),
                needs={"codex-api-key": "CODEX_API_KEY", "openai-api-key": "OPENAI_API_KEY"},
                # It starts in a mode in which it decides by itself what is safe.
                modes={"plan": "read-only", "ask": "read-only", "auto": "read-only"},
            ),
        )
    }
)
GENERIC: Final = Profile("generic")


def profile_of(argv: Sequence[str], name: str | None = None) -> Profile:
    """The profile of that name; without one, the profile of the agent that the command names.

    Raises:
        KeyError: there is none of that name.
    """
    if name is not None:
        return GENERIC if name == GENERIC.name else PROFILES[name]
    for word in argv:
        named = PurePath(word).name.partition("@")[0] or PurePath(word).name
        for profile in PROFILES.values():
            if named in profile.programs:
                return profile
    return GENERIC
