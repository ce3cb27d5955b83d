"""Files in a bucket keep the promises that those on a disk keep. A real server has the bucket."""

import asyncio
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

pytest.importorskip("aiobotocore")
pytest.importorskip("moto")

from aiobotocore.session import get_session

from adapters.files.s3 import PART, S3Files
from core.ports import FilesAway, TooLong


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def whole(files: S3Files, file_id: UUID, start: int, length: int) -> bytes:
    return b"".join([piece async for piece in files.read(file_id, start, length)])


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server that speaks S3."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 40
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


@pytest.fixture
async def client(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A client of that server, which the environment names, with a bucket of the test's own."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    async with get_session().create_client("s3") as client:
        await client.create_bucket(Bucket="hub")
        yield client


@pytest.fixture
async def files(client: Any) -> AsyncIterator[S3Files]:
    """The bucket as a store of files, below a prefix of the test's own."""
    files = S3Files(f"s3://hub/{uuid4().hex}/files/")
    yield files
    await files.close()


async def left(client: Any, files: S3Files) -> int:
    """How many objects and unfinished uploads there are below the prefix."""
    prefix = files._prefix
    objects = await client.list_objects_v2(Bucket="hub", Prefix=prefix)
    uploads = await client.list_multipart_uploads(Bucket="hub", Prefix=prefix)
    return len(objects.get("Contents", ())) + len(uploads.get("Uploads", ()))


@pytest.mark.parametrize("size", [0, 1000, PART, 2 * PART + 77])
async def test_a_file_is_read_from_anywhere(files: S3Files, size: int) -> None:
    file_id = uuid4()
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    half = size // 2
    kept = await files.keep(file_id, pieces(body[:half], body[half:]), len(body))
    assert (kept.size_bytes, kept.sha256) == (len(body), hashlib.sha256(body).digest())
    assert kept.md5 == hashlib.md5(body).digest()
    assert await whole(files, file_id, 0, len(body)) == body
    if size:
        assert await whole(files, file_id, size - 7, 7) == body[-7:]


async def test_too_much_leaves_nothing(files: S3Files, client: Any) -> None:
    with pytest.raises(TooLong):
        await files.keep(uuid4(), pieces(b"x" * PART, b"y"), PART)
    assert await left(client, files) == 0


async def test_a_sender_that_goes_away_leaves_nothing(files: S3Files, client: Any) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * PART
        begun.set()
        await asyncio.Event().wait()

    keeping = asyncio.ensure_future(files.keep(uuid4(), endless(), 10**9))
    await asyncio.wait_for(begun.wait(), 20)
    assert await left(client, files) == 1
    keeping.cancel()
    await asyncio.wait({keeping}, timeout=20)
    assert keeping.cancelled()
    assert await left(client, files) == 0


async def test_removing_takes_what_a_crash_has_left(files: S3Files, client: Any) -> None:
    file_id = uuid4()
    await client.create_multipart_upload(Bucket="hub", Key=files._key(file_id))
    assert await left(client, files) == 1
    await files.drop(file_id)
    assert await left(client, files) == 0


async def test_removing_is_repeatable_and_a_removed_file_is_away(files: S3Files) -> None:
    file_id = uuid4()
    await files.keep(file_id, pieces(b"x"), 10)
    for _ in range(2):
        await files.drop(file_id)
    with pytest.raises(FilesAway):
        await whole(files, file_id, 0, 1)


async def test_a_bucket_that_is_not_there_is_told_as_away(files: S3Files) -> None:
    await files.check()
    lost = S3Files("s3://nobodys")
    with pytest.raises(FilesAway):
        await lost.check()
    with pytest.raises(FilesAway):
        await lost.keep(uuid4(), pieces(b"x"), 10)
    await lost.close()


async def test_no_more_than_a_part_is_held(files: S3Files, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    send = files._send_part

    async def counted(target: dict[str, str], upload: str, number: int, part: bytes) -> dict[str, Any]:
        sent.append(len(part))
        return await send(target, upload, number, part)

    monkeypatch.setattr(files, "_send_part", counted)
    taken = 0

    async def slow() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(3 * PART // 2**20):
            taken += 2**20
            yield b"x" * 2**20
            assert taken - sum(sent) < PART + 2**20

    await files.keep(uuid4(), slow(), 10**9)
    assert sent == [PART] * 3
    assert os.environ["AWS_ENDPOINT_URL"]
