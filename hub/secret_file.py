"""The hub's own secret, when no setting brings one, and who may read what stands beside it.

Not a place for other secrets: keys and tokens are rows in the database.
"""

import os
import secrets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hub.settings import Settings


class NotPrivate(Exception):
    """A file that must be its owner's alone can be read or written by others."""

    def __init__(self, path: Path, mode: int) -> None:
        super().__init__(f"{path} can be used by others (mode {mode:04o}); run: chmod 600 {path}")
        self.path = path


@dataclass(frozen=True)
class HubSecret:
    """The secret that all keys are derived from. `path` is None when a setting brought it."""

    key: str
    previous: str | None
    path: Path | None
    created: bool

    def __repr__(self) -> str:
        return f"HubSecret(path={self.path!r}, created={self.created})"


def hub_secret(settings: Settings, *, create: bool = True) -> HubSecret:
    """The secret of the settings, else of its file. Two processes that start at once get the same one.

    Raises:
        NotPrivate: others may read the file.
        FileNotFoundError: there is no file and `create` is off.
    """
    if settings.secret_key is not None:
        return HubSecret(settings.secret_key, settings.secret_key_previous, None, created=False)
    path = settings.secret_path
    created = create and not path.exists() and _create(path)
    require_private(path)
    key = path.read_text(encoding="ascii").strip()
    return HubSecret(key, settings.secret_key_previous, path, created)


def require_private(path: Path) -> None:
    """Pass only if nobody but its owner may use the file.

    Raises:
        NotPrivate: somebody else may.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise NotPrivate(path, mode)


def _create(path: Path) -> bool:
    """Write a whole new secret or none; False when another process was first."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".crossdock.secret.")  # mkstemp means 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(draft)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return True
