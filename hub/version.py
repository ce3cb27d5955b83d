"""Which Crossdock this is. It is cheap to import: `--version` and every log line ask."""

import platform
import sqlite3
from functools import cache
from importlib import metadata
from pathlib import Path

import core


@cache
def version() -> str:
    """The version of the installed distribution."""
    return metadata.version("crossdock")


@cache
def newest_schema() -> str:
    """The newest schema this program knows. Read off the file names, since Alembic takes long to load."""
    steps = Path(core.__path__[0], "store", "migrations", "versions").glob("v[0-9]*_*.py")
    return max(step.name[1:5] for step in steps)


def described() -> dict[str, str]:
    """Everything that a bug report should name."""
    return {
        "crossdock": version(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "schema": newest_schema(),
    }
