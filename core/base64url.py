"""Base64url without padding (RFC 4648 §5), read strictly: each value has one text and no other is taken."""

from base64 import urlsafe_b64decode, urlsafe_b64encode


class NotBase64Url(ValueError):
    """The text is not the encoding of anything."""


def encode(value: bytes) -> str:
    """The text for `value`."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes that `encode` made this text from.

    Raises:
        NotBase64Url: `encode` never makes such a text.
    """
    try:
        value = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise NotBase64Url("not base64url") from None
    if encode(value) != text:  # the decoder skips foreign characters and surplus bits
        raise NotBase64Url("not base64url")
    return value
