"""The hub's one secret, and the keys derived from it: a different one for every purpose.

The secret itself is never used as a key. A purpose that is not in `Purpose` has no key.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LEAST_BYTES = 32
_SALT = b"crossdock"  # RFC 5869 §3.1: public, and the same for everybody; it separates us from other products


class WeakSecret(Exception):
    """The secret is too short to derive keys from."""


class Purpose(StrEnum):
    """What a derived key is for. The word is part of the derivation and never changes its meaning."""

    PEPPER = "pepper"
    """Hashes API keys before they are stored."""
    JWT = "jwt"
    """Signs access and refresh tokens."""
    SEAL = "seal"
    """Encrypts secrets at rest."""
    COOKIE = "cookie"
    """Binds what a browser holds to its session."""
    CURSOR = "cursor"
    """Signs the cursors of lists."""
    STATE = "state"
    """Signs what goes to another server and comes back through a browser."""


@dataclass(frozen=True, slots=True)
class DerivedKey:
    """32 bytes for one purpose, and the id of the secret that they come from."""

    id: str
    key: bytes = field(repr=False)


class Keyring:
    """The keys of the present secret, and of the one before it, which still reads and never writes.

    Raises:
        WeakSecret: a secret has fewer than 32 bytes.
    """

    def __init__(self, secret: str, previous: str | None = None) -> None:
        secrets = [secret] if previous is None or previous == secret else [secret, previous]
        self._keys = {purpose: tuple(_derive(one, purpose) for one in secrets) for purpose in Purpose}

    def __repr__(self) -> str:
        return f"Keyring(ids={self.ids!r})"

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the secrets, the present one first. They tell nothing about the secrets."""
        return tuple(key.id for key in self._keys[Purpose.PEPPER])

    def current(self, purpose: Purpose) -> DerivedKey:
        """The key to write with."""
        return self._keys[purpose][0]

    def every(self, purpose: Purpose) -> tuple[DerivedKey, ...]:
        """The keys to read with, the present one first."""
        return self._keys[purpose]

    def find(self, purpose: Purpose, key_id: str) -> DerivedKey | None:
        """The key with this id, or None when the hub has no such secret any more."""
        return next((key for key in self._keys[purpose] if key.id == key_id), None)


def _derive(secret: str, purpose: Purpose) -> DerivedKey:
    material = secret.encode()
    if len(material) < LEAST_BYTES:
        raise WeakSecret(f"a secret needs at least {LEAST_BYTES} bytes, this one has {len(material)}")
    return DerivedKey(_expand(material, "id", 4).hex(), _expand(material, purpose, 32))


def _expand(material: bytes, label: str, length: int) -> bytes:
    return HKDF(SHA256(), length, _SALT, label.encode()).derive(material)
