"""Who a worker was, kept for its next run: an agent that is registered anew has no past."""

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self


def identity_file(*facts: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The file for a worker of which these facts are true, among the user's own files."""
    state = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME") or "/", ".local", "state")
    name = hashlib.sha256("\0".join(facts).encode(errors="surrogateescape")).hexdigest()[:32]
    return Path(state, "crossdock", "agents", f"{name}.json")


class Identity:
    """An agent's id and key in a file that only its user reads. A second worker beside the first has none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: int | None = None

    def __enter__(self) -> Self:
        if self._path is None:
            return self
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            return self  # nowhere to keep it: a new agent each time
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
        else:
            self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def read(self) -> tuple[str, str] | None:
        """The agent's id and its key, if there are any."""
        if self._file is None:
            return None
        try:
            said: Any = json.loads(os.pread(self._file, 65_536, 0))
            return str(said["agent_id"]), str(said["api_key"])
        except (ValueError, TypeError, KeyError):
            return None

    def write(self, agent_id: str, api_key: str) -> None:
        """Keep an agent's id and its key."""
        if self._file is None:
            return
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps({"agent_id": agent_id, "api_key": api_key}).encode(), 0)
        os.fsync(self._file)
