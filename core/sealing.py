"""Secrets at rest: AES-256-GCM, each value bound to the one place it belongs to.

A sealed value is text, `enc:v2:<key id>:<nonce>:<ciphertext>:<tag>`, the last three in base64url. Copied to
another row, column, table or tenant it no longer opens. Not for API keys: those are hashed (`core/keys.py`).
"""

import secrets
from dataclasses import dataclass
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.base64url import NotBase64Url, decode, encode
from core.keyring import Keyring, Purpose

_HEAD = "enc:v2:"
_NONCE = 12  # NIST SP 800-38D §8.2.2: 96 random bits
_TAG = 16


class Unsealable(Exception):
    """The value was damaged, belongs elsewhere, or was sealed with a secret that the hub no longer has."""


class Secret:
    """Plain text that shows itself only when asked. Equal to nothing but itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Secret(…)"

    def reveal(self) -> str:
        """The text."""
        return self._text


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value lives: one column of one row of one tenant."""

    tenant_id: UUID
    table: str
    row: UUID | str
    column: str

    def binding(self) -> bytes:
        """The place as bytes; two places never give the same."""
        parts = [part.encode() for part in (str(self.tenant_id), self.table, str(self.row), self.column)]
        return b"".join(len(part).to_bytes(4) + part for part in parts)


class Sealer:
    """Seals with the present secret; opens with the one before, too."""

    def __init__(self, keyring: Keyring) -> None:
        self._current = keyring.current(Purpose.SEAL).id
        self._ciphers = {key.id: AESGCM(key.key) for key in keyring.every(Purpose.SEAL)}

    def seal(self, secret: Secret | str, place: Place) -> str:
        """Encrypt. Two calls never give the same text."""
        plain = secret.reveal() if isinstance(secret, Secret) else secret
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._ciphers[self._current].encrypt(nonce, plain.encode(), place.binding())
        parts = (nonce, sealed[:-_TAG], sealed[-_TAG:])
        return f"{_HEAD}{self._current}:" + ":".join(encode(part) for part in parts)

    def open(self, sealed: str, place: Place) -> Secret:
        """Decrypt what was sealed for this place.

        Raises:
            Unsealable: it was not, or it was changed, or its secret is gone.
        """
        key_id, nonce, ciphertext, tag = _parts(sealed)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise Unsealable(f"sealed with secret {key_id!r}, which this hub does not have")
        try:
            plain = cipher.decrypt(nonce, ciphertext + tag, place.binding())
        except InvalidTag:
            raise Unsealable("damaged, or sealed for another place") from None
        return Secret(plain.decode())

    def current(self, sealed: str) -> bool:
        """Whether the present secret sealed it. What is not a sealed value is not current either."""
        return sealed.startswith(f"{_HEAD}{self._current}:")

    def reseal(self, sealed: str, place: Place) -> str | None:
        """The same secret under the present key, or None when it is already; doing it twice changes nothing.

        Raises:
            Unsealable: as `open`.
        """
        return None if self.current(sealed) else self.seal(self.open(sealed, place), place)


def is_sealed(text: str) -> bool:
    """Whether the text says that it is a sealed value."""
    return text.startswith(_HEAD)


def _parts(sealed: str) -> tuple[str, bytes, bytes, bytes]:
    pieces = sealed.removeprefix(_HEAD).split(":")
    if not is_sealed(sealed) or len(pieces) != 4:
        raise Unsealable("not a sealed value")
    try:
        nonce, ciphertext, tag = (decode(piece) for piece in pieces[1:])
    except NotBase64Url:
        raise Unsealable("not a sealed value") from None
    if len(nonce) != _NONCE or len(tag) != _TAG:
        raise Unsealable("not a sealed value")
    return pieces[0], nonce, ciphertext, tag
