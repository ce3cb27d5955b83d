"""Files in a directory: `aa/bb/<id>` below it, where `aa` and `bb` are the last digits of the id.

A file is written under another name, flushed to the disk, and then renamed: it is there as a whole or not at
all. What a crash leaves under the other name is removed with the file's id.
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

from core.ports import FilesAway, Kept, TooLong

PIECE: Final = 256 * 1024
_PART: Final = ".part"


class DiskFiles:
    """`core.ports.Files` in a local directory, or in one that several hubs share."""

    def __init__(self, directory: Path) -> None:
        """The directory is made with the first file, for its owner alone."""
        self._directory = directory

    async def keep(self, file_id: UUID, content: AsyncIterator[bytes], most: int) -> Kept:
        """As `core.ports.Files.keep`. Whatever ends it early leaves nothing."""
        path = self._path(file_id)
        part = path.with_suffix(_PART)
        sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        try:
            file = await asyncio.to_thread(_create, part)
            try:
                held: list[bytes] = []
                gathered = 0
                async for piece in content:
                    size += len(piece)
                    if size > most:
                        raise TooLong
                    held.append(piece)
                    gathered += len(piece)
                    if gathered >= PIECE:
                        await asyncio.to_thread(_write, file, held, sha256, md5)
                        held, gathered = [], 0
                await asyncio.to_thread(_write, file, held, sha256, md5)
                await asyncio.to_thread(_finish, file, part, path)
            except BaseException:
                file.close()
                with contextlib.suppress(OSError):
                    part.unlink()  # one system call; a thread might not be waited for any more
                raise
        except OSError as error:
            raise FilesAway(str(error)) from error
        return Kept(size, sha256.digest(), md5.digest())

    async def read(self, file_id: UUID, start: int, length: int) -> AsyncIterator[bytes]:
        """As `core.ports.Files.read`."""
        try:
            file = await asyncio.to_thread(_open, self._path(file_id), start)
            with file:
                left = length
                while left > 0:
                    piece = await asyncio.to_thread(file.read, min(PIECE, left))
                    if not piece:
                        raise FilesAway(f"{file_id} is shorter than it was")
                    left -= len(piece)
                    yield piece
        except OSError as error:
            raise FilesAway(str(error)) from error

    async def drop(self, file_id: UUID) -> None:
        """As `core.ports.Files.drop`."""
        path = self._path(file_id)
        try:
            for one in (path, path.with_suffix(_PART)):
                await asyncio.to_thread(one.unlink, missing_ok=True)
        except OSError as error:
            raise FilesAway(str(error)) from error

    def _path(self, file_id: UUID) -> Path:
        name = file_id.hex
        return self._directory / name[-2:] / name[-4:-2] / name


def _create(part: Path) -> BinaryIO:
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb", buffering=0)


def _write(file: BinaryIO, pieces: list[bytes], *digests: "hashlib._Hash") -> None:
    whole = b"".join(pieces)
    for digest in digests:
        digest.update(whole)
    view = memoryview(whole)
    while view:
        view = view[file.write(view) :]


def _finish(file: BinaryIO, part: Path, path: Path) -> None:
    os.fsync(file.fileno())
    file.close()
    part.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _open(path: Path, start: int) -> BinaryIO:
    file = path.open("rb")
    file.seek(start)
    return file
