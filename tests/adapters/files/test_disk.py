"""Files on disk are there as a whole or not at all."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.files import DiskFiles
from adapters.files.disk import PIECE
from core.ports import FilesAway, TooLong


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def whole(files: DiskFiles, file_id: object, start: int, length: int) -> bytes:
    return b"".join([piece async for piece in files.read(file_id, start, length)])  # type: ignore[arg-type]


def left(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def test_a_file_is_read_from_anywhere(tmp_path: Path) -> None:
    files, file_id = DiskFiles(tmp_path / "f"), uuid4()
    body = bytes(range(256)) * 2048
    kept = await files.keep(file_id, pieces(body[:1000], body[1000:]), len(body))
    assert (kept.size_bytes, kept.sha256) == (len(body), hashlib.sha256(body).digest())
    assert await whole(files, file_id, 0, len(body)) == body
    assert await whole(files, file_id, PIECE - 3, 7) == body[PIECE - 3 : PIECE + 4]
    assert [path.stat().st_mode & 0o777 for path in left(tmp_path)] == [0o600]


async def test_too_much_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TooLong):
        await DiskFiles(tmp_path).keep(uuid4(), pieces(b"x" * 10, b"y"), 10)
    assert left(tmp_path) == []


async def test_a_sender_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * PIECE
        begun.set()
        await asyncio.Event().wait()

    keeping = asyncio.ensure_future(DiskFiles(tmp_path).keep(uuid4(), endless(), 10**9))
    await asyncio.wait_for(begun.wait(), 10)
    keeping.cancel()
    await asyncio.wait({keeping}, timeout=10)
    assert keeping.cancelled()
    assert left(tmp_path) == []


async def test_removing_is_repeatable_and_a_removed_file_is_away(tmp_path: Path) -> None:
    files, file_id = DiskFiles(tmp_path), uuid4()
    await files.keep(file_id, pieces(b"x"), 10)
    for _ in range(2):
        await files.drop(file_id)
    with pytest.raises(FilesAway):
        await whole(files, file_id, 0, 1)


async def test_a_directory_that_takes_nothing_is_told_as_away(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("no directory")
    with pytest.raises(FilesAway):
        await DiskFiles(tmp_path / "f").keep(uuid4(), pieces(b"x"), 10)
