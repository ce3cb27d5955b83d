"""Write the next step of the schema's history: `python -m core.store.migrations.new "what changes"`.

It compares `core/store/tables/` with a scratch SQLite database that has walked the history so far.
What it writes is a draft to read and finish; a test compares both databases with the tables afterwards.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.runtime.migration import MigrationContext
from sqlmodel import AutoString

from core.store import migrate, types
from core.store.tables import METADATA

TEMPLATE = '''"""{title}."""

import sqlalchemy as sa
from alembic import op

from core.store.types import Id, Instant, Json

revision = "{version}"
down_revision = {previous!r}


def upgrade() -> None:
    {up}


def downgrade() -> None:
    {down}
'''


def main(title: str) -> Path:
    """Write the draft and give its path."""
    history = list(migrate.scripts().walk_revisions())
    previous = history[0].revision if history else None
    version = f"{len(history) + 1:04}"
    for table in METADATA.tables.values():
        _say_what_numbers_itself(table)
    with tempfile.TemporaryDirectory() as scratch:
        database = Path(scratch) / "scratch.db"
        if history:
            asyncio.run(migrate.upgrade(f"sqlite:///{database}"))
        engine = sa.create_engine(f"sqlite:///{database}")
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": migrate.VERSION_TABLE})
            changes = produce_migrations(context, METADATA)
        engine.dispose()
    assert changes.upgrade_ops is not None
    assert changes.downgrade_ops is not None
    rendering: dict[str, Any] = {"render_item": _render_type, "render_as_batch": bool(history)}
    text = TEMPLATE.format(
        title=title[:1].upper() + title[1:],
        version=version,
        previous=previous,
        up=render_python_code(changes.upgrade_ops, **rendering),
        down=render_python_code(changes.downgrade_ops, **rendering),
    )
    name = "_".join(title.lower().split())
    path = Path(__file__).parent / "versions" / f"v{version}_{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


def _say_what_numbers_itself(table: sa.Table) -> None:
    # A default in Python stops a key from numbering itself, but the draft does not repeat such defaults.
    for column in table.primary_key.columns:
        if column.default is not None:
            column.autoincrement = False


def _render_type(kind: str, value: Any, _: Any) -> str | bool:
    if kind == "type" and type(value) in (types.Id, types.Instant, types.Json):
        return f"{type(value).__name__}()"
    if kind == "type" and type(value) is AutoString:
        return "sa.String()"
    return False


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "unnamed"))  # noqa: T201 - a development command
