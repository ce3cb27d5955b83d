"""The files of a workspace, reached so that no path leads out of it.

A path is walked from an open directory, name by name, without following any link; what was checked is what is
opened, so nothing that happens meanwhile leads elsewhere. This holds whoever else writes in the workspace. It
bounds what an agent does *through the worker*; what its own process may do is its user's right.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final
from uuid import uuid4

FILE_BYTES: Final = 8 * 1024 * 1024
"""A longer file is neither read nor written in one piece."""
LONGEST_PATH: Final = 4096
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Outside(Exception):
    """The path leads out of the workspace, or through something that might."""


class Missing(Exception):
    """There is no such file."""


class Unfit(Exception):
    """It is there, but cannot be used so: no regular file, too large, or shared with elsewhere."""


class Jail:
    """Some directories and what is below them. `close` it."""

    def __init__(self, directories: Sequence[str]) -> None:
        """Raises:
        OSError: one is no directory, or not readable.
        """
        self._roots: list[tuple[tuple[str, ...], int]] = []
        try:
            for directory in directories:
                # The directory itself is the owner's word: its own path may go over links, once, here.
                real = os.path.realpath(directory)
                root = os.open(real, _DIRECTORY)
                self._roots.append((_names(real), root))
                written = _names(os.path.normpath(directory))
                if written != _names(real):
                    self._roots.append((written, os.dup(root)))
        except BaseException:
            self.close()
            raise
        self._roots.sort(key=lambda known: -len(known[0]))

    def close(self) -> None:
        """Let the directories go."""
        roots, self._roots = self._roots, []
        for _, root in roots:
            os.close(root)

    def read(self, path: str) -> str:
        """The text of a regular file.

        Raises:
            Outside, Missing, Unfit: it cannot be had.
        """
        with self._parent(path) as (folder, name), _meant(path):
            file = os.open(name, _READ, dir_fd=folder)
            with open(file, "rb") as opened:
                _check_regular(os.fstat(file))
                content = opened.read(FILE_BYTES + 1)
        if len(content) > FILE_BYTES:
            raise Unfit(f"it has more than {FILE_BYTES} bytes")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise Unfit("it is no text in UTF-8") from None

    def write(self, path: str, text: str) -> None:
        """Replace a file, or make it, with the directories above it. Readers see the old or the new whole.

        Raises:
            Outside, Unfit: it cannot be written.
        """
        content = text.encode(errors="replace")
        if len(content) > FILE_BYTES:
            raise Unfit(f"it would have more than {FILE_BYTES} bytes")
        with self._parent(path, make=True) as (folder, name), _meant(path):
            mode = None
            with suppress(FileNotFoundError):
                there = os.stat(name, dir_fd=folder, follow_symlinks=False)
                _check_regular(there)
                if there.st_nlink > 1:
                    raise Unfit("it has other names, perhaps outside of the workspace")
                mode = stat.S_IMODE(there.st_mode)
            self._replace(folder, name, content, mode)

    def directory(self, path: str) -> int:
        """An open directory of the workspace, for the caller to close.

        Raises:
            Outside, Missing, Unfit: it cannot be had.
        """
        root, names = self._within(path)
        with _meant(path):
            return _walk(root, names, make=False)

    @staticmethod
    def _replace(folder: int, name: str, content: bytes, mode: int | None) -> None:
        passing = f".{uuid4().hex}.crossdock"
        with open(os.open(passing, _CREATE, 0o666, dir_fd=folder), "wb") as opened:
            try:
                opened.write(content)
                opened.flush()
                if mode is not None:
                    os.fchmod(opened.fileno(), mode)
                os.replace(passing, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(passing, dir_fd=folder)
                raise

    @contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The open directory in which a file is, and its name there."""
        root, names = self._within(path)
        if not names:
            raise Unfit("it is a directory")
        with _meant(path):
            folder = _walk(root, names[:-1], make=make)
        try:
            yield folder, names[-1]
        finally:
            os.close(folder)

    def _within(self, path: str) -> tuple[int, Sequence[str]]:
        if not path.startswith("/") or len(path) > LONGEST_PATH or "\0" in path:
            raise Outside("a path must be absolute")
        names = _names(path)
        # What ".." means depends on the links before it; the protocol's paths need none.
        if ".." in names:
            raise Outside("a path must not go up")
        for known, root in self._roots:
            if names[: len(known)] == known:
                return root, names[len(known) :]
        raise Outside("it is outside of the workspace")


def _names(path: str) -> tuple[str, ...]:
    return tuple(name for name in path.split("/") if name not in ("", "."))


def _walk(root: int, names: Sequence[str], *, make: bool) -> int:
    folder = os.dup(root)
    try:
        for name in names:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=folder)
            below = os.open(name, _DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = below
    except BaseException:
        os.close(folder)
        raise
    return folder


def _check_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise Unfit("it is a directory" if stat.S_ISDIR(found.st_mode) else "it is no regular file")


@contextmanager
def _meant(path: str) -> Iterator[None]:
    """What the system says, in our words."""
    try:
        yield
    except FileNotFoundError:
        raise Missing(path) from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise Outside("a link is on the way") from None
        if error.errno == errno.ENOTDIR:
            raise Outside("a link or a file is on the way") from None
        raise Unfit(error.strerror or "it cannot be used") from None
