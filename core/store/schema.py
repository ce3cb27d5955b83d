"""The tables of a fresh database, straight from their declaration. Living databases are migrated."""

from functools import cache
from typing import Any

import sqlalchemy as sa

from core.store.tables import METADATA


@cache
def ddl(dialect: str, metadata: sa.MetaData = METADATA) -> tuple[str, ...]:
    """The statements that create every table and index, in order."""
    statements: list[str] = []

    def collect(construct: Any, *_: Any, **__: Any) -> None:
        statements.append(str(construct.compile(dialect=engine.dialect)).strip())

    engine = sa.create_mock_engine("sqlite://" if dialect == "sqlite" else "postgresql+asyncpg://", collect)
    metadata.create_all(engine, checkfirst=False)
    return tuple(statements)
