"""API keys as text: how one is made, recognised, hashed and shown. No database here.

A key of ours is `xd_<scope>_<43 characters><6 characters>`: 32 random bytes and the CRC-32 of all before, in
base64url. The check characters let a typing error, and a scanner for leaked secrets, tell a key without
asking. The scope in the text is for people: what a key may do is decided by its row.
"""

import hashlib
import hmac
import re
import secrets
import zlib

from core.base64url import encode
from core.keyring import DerivedKey
from schemas.vocabulary import Scope

LEAST = 24
MOST = 512
_SCOPES = "|".join(Scope)
_OURS = re.compile(rf"xd_(?:{_SCOPES})_[A-Za-z0-9_-]{{49}}")
_PRINTABLE = re.compile(r"[!-~][ -~]*[!-~]")
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")


class MalformedKey(Exception):
    """The text cannot be an API key. The message says why and never repeats the text."""


def mint(scope: Scope) -> str:
    """A new key that nobody has seen before."""
    body = f"xd_{scope}_{encode(secrets.token_bytes(32))}"
    return body + _check(body)


def check_form(text: str) -> None:
    """Pass only what may be an API key: one of ours, or another text of 24 to 512 characters.

    The `ar_` and `ab_` keys of older platforms are such texts.

    Raises:
        MalformedKey: it is too short or too long, has characters that a header does not carry, looks like a
            token, or is a key of ours with a typing error.
    """
    if not LEAST <= len(text) <= MOST:
        raise MalformedKey(f"an API key has {LEAST} to {MOST} characters")
    if not _PRINTABLE.fullmatch(text):
        raise MalformedKey("an API key has printable ASCII characters only, and no space at its ends")
    if _TOKEN.fullmatch(text):
        raise MalformedKey("this is a token, not an API key")
    if _OURS.fullmatch(text) and not hmac.compare_digest(_check(text[:-6]), text[-6:]):
        raise MalformedKey("the check characters do not fit: the key was mistyped or cut")


def is_token(text: str) -> bool:
    """Whether a bearer credential is a JSON Web Token rather than a key."""
    return _TOKEN.fullmatch(text) is not None


def lookup_hash(text: str, pepper: DerivedKey) -> bytes:
    """What is stored instead of the key: HMAC-SHA-256, of no use without the hub's secret."""
    return hmac.digest(pepper.key, text.encode(), hashlib.sha256)


def shown(text: str, pepper: DerivedKey) -> str:
    """How a key is named in lists and logs: the beginning of one of ours, else `k` and a fingerprint."""
    if _OURS.fullmatch(text):
        return text[: text.index("_", 3) + 7]
    return "k" + encode(lookup_hash(text, pepper))[:11]


def _check(body: str) -> str:
    return encode(zlib.crc32(body.encode()).to_bytes(4))
