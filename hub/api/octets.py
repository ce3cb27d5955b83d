"""Answers that are a file's bytes: whole, one range of them, or not at all when the caller has them.

RFC 9110: conditional requests (section 13) and one range (section 14). Several ranges in one request are
answered with the whole, as the section allows.
"""

import base64
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from core.ports import FilesAway
from hub.api.call import header_of
from hub.sse import ABORT

_RANGE: Final = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)
_INERT: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    (b"cache-control", b"private, no-cache"),
)

Read = Callable[[int, int], AsyncIterator[bytes]]
"""(start, length) of the bytes wanted."""


@dataclass(frozen=True)
class Octets:
    """A content to be sent. It is downloaded under its name unless `inline`."""

    read: Read
    size: int
    sha256: bytes
    content_type: str
    filename: str
    inline: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what the request asks for. A storage that fails half way ends the connection."""
        tag = f'"{self.sha256.hex()}"'
        headers = [
            (b"etag", tag.encode()),
            (b"accept-ranges", b"bytes"),
            (b"repr-digest", b"sha-256=:" + base64.b64encode(self.sha256) + b":"),
            *_INERT,
        ]
        if _names(header_of(scope, b"if-none-match"), tag):
            await _send_head(send, 304, headers)
            await send({"type": "http.response.body", "body": b""})
            return
        asked = header_of(scope, b"range")
        start, length, status = 0, self.size, 200
        if asked is not None and header_of(scope, b"if-range") in (None, tag):
            found = wanted(asked, self.size)
            if found is None:
                headers.append((b"content-range", b"bytes */%d" % self.size))
                headers.append((b"content-length", b"0"))
                await _send_head(send, 416, headers)
                await send({"type": "http.response.body", "body": b""})
                return
            start, length = found
            if length != self.size:
                status = 206
                span = b"bytes %d-%d/%d" % (start, start + length - 1, self.size)
                headers.append((b"content-range", span))
        headers += [
            (b"content-type", self.content_type.encode("latin-1", "replace")),
            (b"content-length", b"%d" % length),
            (b"content-disposition", _disposition(self.filename, inline=self.inline)),
        ]
        await _send_head(send, status, headers)
        if scope["method"] != "HEAD":
            try:
                async for piece in self.read(start, length):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except FilesAway:
                abort = scope.get(ABORT)
                if abort is not None:  # the status is out: only a broken connection can still tell
                    abort()
                raise
        await send({"type": "http.response.body", "body": b""})


def wanted(header: str, size: int) -> tuple[int, int] | None:
    """Start and length of the one range that a `Range` header asks for; None when it is past the end.

    A header that is malformed, or asks for several ranges, asks for everything.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.group() == "bytes=-":
        return 0, size
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return (size - length, length) if length else None
    start = int(first)
    if last and int(last) < start:
        return 0, size
    if start >= size:
        return None
    end = min(int(last), size - 1) if last else size - 1
    return start, end - start + 1


def _names(header: str | None, tag: str) -> bool:
    if header is None:
        return False
    return header.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in header.split(","))


def _disposition(filename: str, *, inline: bool) -> bytes:
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", filename)
    how = "inline" if inline else "attachment"
    return f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}".encode()


async def _send_head(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def of_bytes(data: bytes, start: int, length: int) -> AsyncIterator[bytes]:
    """A piece of what is in memory."""
    yield data[start : start + length]
