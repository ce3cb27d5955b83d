"""How whoever calls a webhook trigger proves itself, and what makes a call one call.

Replays start nothing twice: Standard Webhooks sign an id and a time with the body; of a plain HMAC the body
is all that is signed, so the same body counts once.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final
from uuid import uuid4

from standardwebhooks import Webhook, WebhookVerificationError

from core.errors import Unauthenticated
from core.triggers import Hook
from schemas.occasions import HookAuth

MAX_KEY: Final = 255
_STANDARD: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")

Header = Callable[[bytes], str | None]
"""A request header by its lower-case name."""


def proved(hook: Hook, header: Header, body: bytes) -> str:
    """The key of a call that has proved itself.

    Raises:
        Unauthenticated: it has not.
    """
    secret = hook.secret.reveal()
    match hook.auth:
        case HookAuth.STANDARD_WEBHOOKS:
            return _standard(secret, header, body)
        case HookAuth.HMAC:
            signed = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            if not _same(header(b"x-hub-signature-256"), f"sha256={signed}"):
                raise refused()
            return f"sha256:{hashlib.sha256(body).hexdigest()}"
        case HookAuth.BEARER:
            if not _same(header(b"authorization"), f"Bearer {secret}"):
                raise refused()
            return _bounded(header(b"idempotency-key") or header(b"webhook-id") or str(uuid4()))


def refused() -> Unauthenticated:
    """The one answer to an unknown webhook, a wrong signature and a wrong token."""
    return Unauthenticated("there is no such webhook, or this call does not prove that it may use it")


def _standard(secret: str, header: Header, body: bytes) -> str:
    said = {name: header(name.encode()) or "" for name in _STANDARD}
    if not all(said.values()):
        raise refused()
    try:
        Webhook(secret).verify(body, said)
    except (WebhookVerificationError, ValueError):  # it reads the body as JSON besides
        raise refused() from None
    return _bounded(said["webhook-id"])


def _bounded(key: str) -> str:
    return key if len(key) <= MAX_KEY else f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _same(given: str | None, expected: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(), expected.encode())
