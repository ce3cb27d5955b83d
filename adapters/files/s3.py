"""Files in a bucket of S3 or of something that speaks like it: `<prefix>/aa/bb/<id>`, as on a disk.

A large file goes up in parts, one at a time, so that no more than a part of it is held; each part is compared
by its digest on the other side. Until the last step nobody can read it. What a crash leaves is removed with
the file's id. Needs the extra `s3`.
"""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from core.ports import FilesAway, Kept, TooLong

PIECE: Final = 256 * 1024
PART: Final = 8 * 1024 * 1024
"""Of this size are the parts of a large file; S3 wants at least 5 MiB, and takes 10,000 of them."""
_CONFIG: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "read_timeout": 60,
    "retries": {"mode": "standard", "max_attempts": 3},
    # Digests of every part are sent as Content-MD5, which all of them know; trailing checksums not all do.
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}


class S3Files:
    """`core.ports.Files` in a bucket, which several hubs may share."""

    def __init__(self, address: str) -> None:
        """`address` is `s3://bucket` or `s3://bucket/prefix`. Nothing is called before the first use.

        Endpoint, region and credentials come from where the AWS SDKs look for them.
        """
        parts = urlsplit(address)
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/")
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._opening = asyncio.Lock()

    async def check(self) -> None:
        """Find out whether the bucket is there for us.

        Raises:
            FilesAway: it is not; the reason is the operator's to read.
        """
        with _answering():
            await (await self._open()).head_bucket(Bucket=self._bucket)

    async def close(self) -> None:
        """Close the connections. The next use opens them again."""
        self._client = None
        await self._stack.aclose()

    async def keep(self, file_id: UUID, content: AsyncIterator[bytes], most: int) -> Kept:
        """As `core.ports.Files.keep`. Whatever ends it early leaves nothing that can be read."""
        target = {"Bucket": self._bucket, "Key": self._key(file_id)}
        sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        held = bytearray()
        upload: str | None = None
        done: list[dict[str, Any]] = []
        try:
            async for piece in content:
                size += len(piece)
                if size > most:
                    raise TooLong
                held += piece
                while len(held) >= PART:
                    part, held = bytes(held[:PART]), held[PART:]
                    await asyncio.to_thread(_update, part, sha256, md5)
                    if upload is None:
                        with _answering():
                            begun = await (await self._open()).create_multipart_upload(**target)
                        upload = begun["UploadId"]
                    done.append(await self._send_part(target, upload, len(done) + 1, part))
            last = bytes(held)
            await asyncio.to_thread(_update, last, sha256, md5)
            if upload is None:
                with _answering():
                    await (await self._open()).put_object(**target, Body=last, ContentMD5=_md5(last))
            else:
                if last:
                    done.append(await self._send_part(target, upload, len(done) + 1, last))
                with _answering():
                    await (await self._open()).complete_multipart_upload(
                        **target, UploadId=upload, MultipartUpload={"Parts": done}
                    )
            await self._compare(target, size)
        except BaseException:
            if upload is not None:
                with contextlib.suppress(FilesAway), _answering():
                    await (await self._open()).abort_multipart_upload(**target, UploadId=upload)
            raise
        return Kept(size, sha256.digest(), md5.digest())

    async def _send_part(
        self, target: dict[str, str], upload: str, number: int, part: bytes
    ) -> dict[str, Any]:
        with _answering():
            sent = await (await self._open()).upload_part(
                **target, UploadId=upload, PartNumber=number, Body=part, ContentMD5=_md5(part)
            )
        return {"ETag": sent["ETag"], "PartNumber": number}

    async def _compare(self, target: dict[str, str], size: int) -> None:
        with _answering():
            stored = await (await self._open()).head_object(**target)
        if stored["ContentLength"] != size:
            raise FilesAway(f"{target['Key']} has another length in the bucket")

    async def read(self, file_id: UUID, start: int, length: int) -> AsyncIterator[bytes]:
        """As `core.ports.Files.read`."""
        left = length
        if left <= 0:
            return
        span = f"bytes={start}-{start + length - 1}"
        with _answering():
            found = await (await self._open()).get_object(
                Bucket=self._bucket, Key=self._key(file_id), Range=span
            )
        async with found["Body"] as body:
            while left > 0:
                with _answering():
                    piece: bytes = await body.read(min(PIECE, left))
                if not piece:
                    raise FilesAway(f"{file_id} is shorter than it was")
                left -= len(piece)
                yield piece

    async def drop(self, file_id: UUID) -> None:
        """As `core.ports.Files.drop`, with what an upload left that never ended."""
        key = self._key(file_id)
        with _answering():
            client = await self._open()
            await client.delete_object(Bucket=self._bucket, Key=key)
            left = await client.list_multipart_uploads(Bucket=self._bucket, Prefix=key)
            for upload in left.get("Uploads", ()):
                if upload["Key"] == key:
                    await client.abort_multipart_upload(
                        Bucket=self._bucket, Key=key, UploadId=upload["UploadId"]
                    )

    async def _open(self) -> Any:
        async with self._opening:
            if self._client is None:
                made = get_session().create_client("s3", config=AioConfig(**_CONFIG))
                self._client = await self._stack.enter_async_context(made)
            return self._client

    def _key(self, file_id: UUID) -> str:
        name = file_id.hex
        path = f"{name[-2:]}/{name[-4:-2]}/{name}"
        return f"{self._prefix}/{path}" if self._prefix else path


def _update(piece: bytes, *digests: "hashlib._Hash") -> None:
    for digest in digests:
        digest.update(piece)


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    """Failures of the storage, its client and the network as the one that callers know."""
    try:
        yield
    except (BotoCoreError, ClientError, aiohttp.ClientError, OSError) as error:
        raise FilesAway(f"{type(error).__name__}: {error}") from error
