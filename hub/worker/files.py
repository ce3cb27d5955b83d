"""The files that a command left in its directory, read so that no link leads out of it."""

import mimetypes
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from hub.worker.output import TooMuch


@dataclass(frozen=True)
class Found:
    """One file: its path within the directory, and everything in it."""

    path: str
    content: bytes

    @property
    def content_type(self) -> str:
        """What its name says that it is."""
        kind, encoding = mimetypes.guess_type(self.path)
        return kind if kind and not encoding else "application/octet-stream"


def found(directory: str, *, most_files: int, most_bytes: int) -> Iterator[Found]:
    """The regular files below `directory`, in order of their paths. Links and devices are passed over.

    Raises:
        TooMuch: there are more files, or more bytes in them, than are taken.
    """
    files = size = 0
    for root, folders, names, folder in os.fwalk(directory):
        folders.sort()
        for name in sorted(names):
            content = _content(name, folder, most_bytes - size)
            if content is None:
                continue
            files, size = files + 1, size + len(content)
            if files > most_files:
                raise TooMuch(f"it left more than {most_files} files")
            if size > most_bytes:
                raise TooMuch(f"it left files of more than {most_bytes} bytes")
            yield Found(_label(os.path.relpath(os.path.join(root, name), directory)), content)


def _content(name: str, folder: int, most_bytes: int) -> bytes | None:
    """The file's content, up to one byte beyond what is taken; None for what is no regular file."""
    try:
        # Opened within the open folder and without following: what is checked is what is read.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    with open(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return None
        return opened.read(most_bytes + 1)


def _label(path: str) -> str:
    """The path as text; a name is bytes, and may be none."""
    text = os.fsencode(path).decode(errors="replace")
    return "".join(c if c.isprintable() else "\ufffd" for c in text).replace("\\", "\ufffd")
