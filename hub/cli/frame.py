"""What every command shares: the options on output, and a help text that begins with examples."""

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from hub.cli.output import Output
from hub.settings import Settings, unknown

R = TypeVar("R")


class ExampleHelp(click.Command):
    """Help in the order in which people need it: what it does, examples, then the options."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The text, and the examples right behind it."""
        super().format_help_text(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class ExampleGroup(ExampleHelp, click.Group):
    """A command that has commands."""


def output_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--json`, `--quiet` and `--verbose`, and hand them to it as its first argument `out`."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @click.option("-q", "--quiet", is_flag=True, help="Print only ids or the answer.")
    @click.option("-v", "--verbose", is_flag=True, help="Tell more on stderr.")
    @functools.wraps(command)
    def with_output(*args: Any, as_json: bool, quiet: bool, verbose: bool, **kwargs: Any) -> R:
        above = click.get_current_context().find_root().params  # `crossdock --json keys list` works as well
        out = Output(
            as_json or bool(above.get("as_json")),
            quiet or bool(above.get("quiet")),
            verbose or bool(above.get("verbose")),
        )
        return command(*args, out=out, **kwargs)

    return with_output


def confirm(out: Output, question: str, *, yes: bool) -> None:
    """Ask before something is destroyed. Without a terminal to ask on, only `--yes` will do.

    Raises:
        click.UsageError: nobody can be asked, and `--yes` is missing.
        click.Abort: the answer was no.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"{question} Say so with --yes.")
    click.confirm(question, abort=True, err=True)


def load_settings(out: Output, **flags: str | None) -> Settings:
    """The settings of this process, under what the command line says. Warns of misspelt ones.

    Raises:
        SettingsError: a value cannot be used.
    """
    for warning in unknown():
        out.warn(warning)
    return Settings.from_process().with_flags(**flags)


database_option = click.option("--db", metavar="URL", help="The database, instead of CROSSDOCK_DATABASE_URL.")
