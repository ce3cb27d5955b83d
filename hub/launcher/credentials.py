"""The hub that a user has logged in to: its address and a key, in a file of the user's own."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Credentials:
    """Where the hub is, and the key to call it with."""

    url: str
    api_key: str = field(repr=False)


def load(file: Path) -> Credentials | None:
    """What was saved; None when there is nothing, or nothing readable."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return Credentials(str(found["url"]), str(found["api_key"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(file: Path, credentials: Credentials) -> None:
    """Keep them, for this user alone. They are there as a whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = file.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump({"url": credentials.url, "api_key": credentials.api_key}, out)
        out.flush()
        os.fsync(out.fileno())
    part.rename(file)
