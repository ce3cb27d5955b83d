"""`crossdock migrate`: where the schema is, and the way to another one."""

import asyncio
from typing import TYPE_CHECKING

import click

from hub.cli.frame import ExampleGroup, ExampleHelp, confirm, database_option, load_settings, output_options
from hub.cli.output import Column, Output

if TYPE_CHECKING:
    from core.store.migrate import SchemaStatus


@click.group(cls=ExampleGroup, examples="crossdock migrate status\ncrossdock migrate up")
def migrate() -> None:
    """Move the database to another schema. `serve` moves it up by itself."""


@migrate.command(cls=ExampleHelp, examples="crossdock migrate status\ncrossdock migrate status --json")
@database_option
@output_options
def status(out: Output, db: str | None) -> None:
    """Print which schema the database has, and which steps wait."""
    from core.store import migrate as schema

    found = asyncio.run(schema.status(load_settings(out, database_url=db).database_url))
    _report(out, found)


@migrate.command(cls=ExampleHelp, examples="crossdock migrate up\ncrossdock migrate up 0001")
@click.argument("version", required=False)
@database_option
@output_options
def up(out: Output, version: str | None, db: str | None) -> None:
    """Walk up to VERSION, or to the newest schema that this program knows."""
    from core.store import migrate as schema

    url = load_settings(out, database_url=db).database_url
    before = asyncio.run(schema.status(url))
    for step in before.pending:
        if version is None or step.version <= version:
            out.say(f"{step.version}  {step.title}")
    _report(out, asyncio.run(schema.upgrade(url, version)))


@migrate.command(cls=ExampleHelp, examples="crossdock migrate down 0001 --yes")
@click.argument("version")
@click.option("--yes", is_flag=True, help="Do not ask.")
@database_option
@output_options
def down(out: Output, version: str, yes: bool, db: str | None) -> None:
    """Walk down to VERSION; 0000 removes every table. What the schema below cannot hold is lost."""
    from core.store import migrate as schema

    url = load_settings(out, database_url=db).database_url
    current = asyncio.run(schema.status(url)).current
    if version < current:
        what = "every table and all data" if version == schema.EMPTY else "what that schema cannot hold"
        confirm(out, f"From schema {current} down to {version}: {what} will be removed.", yes=yes)
    _report(out, asyncio.run(schema.downgrade(url, version)))


def _report(out: Output, found: "SchemaStatus") -> None:
    record = {
        "current": found.current,
        "newest": found.newest,
        "pending": [{"version": step.version, "title": step.title} for step in found.pending],
    }
    if found.pending and not out.as_json and not out.quiet:
        out.say(f"schema {found.current}; {len(found.pending)} to go: crossdock migrate up")
        waiting = [{"version": step.version, "title": step.title} for step in found.pending]
        out.records(waiting, [Column("version", "version"), Column("title", "title")], empty="")
        return
    where = "the newest" if not found.pending else f"the newest is {found.newest}"
    out.record(record, f"schema {found.current}, {where}", answer=found.current)
