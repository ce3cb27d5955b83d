"""Keys that this user has logged in with: one file, readable by nobody else, one key for each hub."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def path_of(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the keys are kept."""
    home = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(home, "crossdock", "credentials.json")


def named(variable: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The key in an environment variable that the user has named."""
    return environ.get(variable) or None


def kept(path: Path) -> dict[str, Any]:
    """What is kept; empty when nothing is, or when it cannot be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def key_for(path: Path, url: str) -> str | None:
    """The key to a hub."""
    keys = kept(path).get("keys")
    key = keys.get(url.rstrip("/")) if isinstance(keys, dict) else None
    return key if isinstance(key, str) else None


def last_url(path: Path) -> str | None:
    """The hub that the user logged in to last."""
    url = kept(path).get("url")
    return url if isinstance(url, str) else None


def keep(path: Path, url: str, key: str) -> None:
    """Keep the key to a hub, which is the one to call from now on.

    Raises:
        OSError: it cannot be written.
    """
    found = kept(path)
    keys = found.get("keys")
    told = {"url": url, "keys": {**(keys if isinstance(keys, dict) else {}), url.rstrip("/"): key}}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(told, file, indent=2)
    draft.replace(path)
