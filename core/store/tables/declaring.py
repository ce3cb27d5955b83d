"""How tables are declared: conditions that both databases read alike, and a table by the name of its row."""

from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlmodel import SQLModel


def one_of(column: str, words: type[StrEnum]) -> str:
    """A constraint: the column holds one of the words."""
    return f"{column} IN ({', '.join(repr(w.value) for w in words)})"


def where(condition: str) -> dict[str, Any]:
    """What makes an index partial."""
    text = sa.text(condition)
    return {"postgresql_where": text, "sqlite_where": text}


def table(name: str) -> sa.Table:
    """A declared table by its name."""
    return SQLModel.metadata.tables[name]
