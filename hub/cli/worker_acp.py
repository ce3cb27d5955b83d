"""The part of `crossdock worker` that is about ACP agents: its options, and the executor they make."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hub.worker.acp import AcpAgent

R = TypeVar("R")

TAG = "acp"
"""What turns of editor sessions ask for."""
PROFILES = ("opencode", "gemini", "claude", "qwen", "codex", "generic")


@dataclass(frozen=True)
class AcpOptions:
    """What the command line says of an ACP agent."""

    profile: str | None
    workspaces: tuple[Path, ...]
    allow: tuple[str, ...]
    ask: tuple[str, ...]
    deny: tuple[str, ...]
    files: bool
    terminals: bool
    client_servers: bool

    @property
    def given(self) -> bool:
        """Whether there is any."""
        said = (self.profile, self.workspaces, self.allow, self.ask, self.deny)
        return any(said) or self.files or self.terminals or self.client_servers


def acp_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options, and hand them to it as `acp_options`."""

    @click.option(
        "--profile",
        type=click.Choice(PROFILES),
        help="The agent's ways, for --acp. Default: told by its command.",
    )
    @click.option(
        "--workspace",
        "workspaces",
        multiple=True,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="The agent works here and below. Repeatable. Default: this directory.",
    )
    @click.option("--allow", multiple=True, metavar="RULE", help="Let the agent do this without asking.")
    @click.option("--ask", multiple=True, metavar="RULE", help="Ask for this, whatever else is allowed.")
    @click.option("--deny", multiple=True, metavar="RULE", help="Never let the agent do this.")
    @click.option("--files", is_flag=True, help="Let the agent use the workspace's files through the worker.")
    @click.option("--terminals", is_flag=True, help="Let the agent run its commands through the worker.")
    @click.option(
        "--client-servers",
        is_flag=True,
        help="Start MCP servers that an editor's session brings as commands.",
    )
    @functools.wraps(command)
    def with_options(
        *args: Any,
        profile: str | None,
        workspaces: tuple[Path, ...],
        allow: tuple[str, ...],
        ask: tuple[str, ...],
        deny: tuple[str, ...],
        files: bool,
        terminals: bool,
        client_servers: bool,
        **kwargs: Any,
    ) -> R:
        options = AcpOptions(profile, workspaces, allow, ask, deny, files, terminals, client_servers)
        return command(*args, acp_options=options, **kwargs)

    return with_options


def identity_of(argv: Sequence[str], *registered: object) -> Path:
    """Where this worker keeps who it is: the sessions of its agent are known by that.

    `registered` is all that the hub was told of it, since an agent that offers something else is another one.
    """
    from hub.worker.identity import identity_file

    return identity_file(*argv, *map(repr, registered))


def agent(argv: Sequence[str], variables: Sequence[str], options: AcpOptions) -> "AcpAgent":
    """The executor.

    Raises:
        click.UsageError: a rule cannot be read.
    """
    from hub.worker import passed_on
    from hub.worker.acp import AcpAgent, AgentConfig, Effect, Policy, Rule, profile_of

    profile = profile_of(argv, options.profile)
    try:
        rules = [
            Rule.parse(effect, text)
            for effect, texts in (
                (Effect.DENY, options.deny),
                (Effect.ASK, options.ask),
                (Effect.ALLOW, options.allow),
            )
            for text in texts
        ]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return AcpAgent(
        AgentConfig(
            argv,
            profile=profile,
            environ=passed_on([*profile.variables, *variables]),
            workspaces=[str(path) for path in options.workspaces],
            policy=Policy(rules),
            files=options.files,
            terminals=options.terminals,
            client_servers=options.client_servers,
        )
    )
