"""The command line: which commands there are, and what happens around each of them.

Each command lives in its own module and is loaded when it is called; `--help` loads none.
"""

import difflib
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from hub.cli.failure import ExitCode, Failure, Hint, explain
from hub.cli.frame import ExampleHelp, output_options
from hub.cli.output import Output

# Name → where it lives, and its line in the help. In the order in which people meet them.
COMMANDS = {
    "serve": ("hub.cli.serve:serve", "Run the hub."),
    "demo": ("hub.cli.demo:demo", "Show one task surviving a kill -9, in twenty seconds."),
    "worker": ("hub.cli.worker:worker", "Do the hub's tasks with a command of yours."),
    "acp": ("hub.cli.acp:acp", "Speak ACP on stdin and stdout, for editors."),
    "tasks": ("hub.cli.tasks:tasks", "Create, list, show, watch and cancel tasks."),
    "workflows": ("hub.cli.workflows:workflows", "Start, list, show, watch, hold and stop workflows."),
    "approvals": ("hub.cli.lists:approvals", "List and decide what waits for people."),
    "agents": ("hub.cli.lists:agents", "List who works here."),
    "events": ("hub.cli.lists:events", "Read and follow the event log."),
    "mcp": ("hub.cli.mcp:mcp", "Speak MCP on stdin and stdout, for hosts that start commands."),
    "connect": ("hub.cli.connect:connect", "Print what a client needs to reach the hub, or write it."),
    "keys": ("hub.cli.keys:keys", "Create, list and revoke API keys, beside the database."),
    "migrate": ("hub.cli.migrate:migrate", "Move the database to another schema."),
    "doctor": ("hub.cli.doctor:doctor", "Say what is configured, reachable and wrong."),
}


class Commands(ExampleHelp, click.Group):
    """The commands, loaded on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was called, or the one that was probably meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            nearest = difflib.get_close_matches(args[0], COMMANDS, n=1)
            guess = f"; did you mean {nearest[0]}?" if nearest else ""
            raise click.UsageError(f"there is no command {args[0]!r}{guess}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, without loading anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    "crossdock",
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    examples="crossdock serve --demo\ncrossdock keys create --scope agent\ncrossdock doctor",
)
@click.option(
    "--version", is_flag=True, help="Print the versions of Crossdock, Python, SQLite and the schema."
)
@output_options
@click.pass_context
def cli(ctx: click.Context, out: Output, version: bool) -> None:
    """One durable task hub that agents, editors and tools reach over REST, A2A, ACP and MCP."""
    if version:
        from hub.version import described

        parts = described()
        text = "Crossdock {crossdock}  Python {python}, SQLite {sqlite}, schema {schema}".format(**parts)
        out.record(parts, text, answer=parts["crossdock"])
    elif ctx.invoked_subcommand is None:
        from hub.cli.status import show_status

        show_status(out)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    out = Output(as_json="--json" in arguments)
    try:
        return _invoke(list(arguments))
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # whoever read us has enough; nothing is left to flush to
        return ExitCode.DONE
    except click.ClickException as problem:
        failure = _of_usage(problem)
    except Exception as problem:
        failure = explain(problem) or _unforeseen(problem, "--verbose" in arguments or "-v" in arguments)
    out.fail(failure)
    return failure.exit_code


def _invoke(arguments: list[str]) -> int:
    result: Any = cli.main(arguments, prog_name="crossdock", standalone_mode=False)
    return result if isinstance(result, int) else ExitCode.DONE


def _of_usage(problem: click.ClickException) -> Failure:
    hints = []
    if isinstance(problem, click.UsageError) and problem.ctx is not None:
        hints.append(Hint("try", f"{problem.ctx.command_path} --help"))
    return Failure(problem.format_message(), hints, "USAGE", ExitCode.USAGE)


def _unforeseen(problem: Exception, verbose: bool) -> Failure:
    if verbose:
        traceback.print_exception(problem)
    return Failure(
        f"something that nobody foresaw: {type(problem).__name__}: {problem}",
        [] if verbose else [Hint("try", "the same with --verbose, which shows where")],
        "INTERNAL_ERROR",
    )
