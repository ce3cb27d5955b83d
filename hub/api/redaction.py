"""What looks like a secret, covered for those who look. Only views are covered: what is stored stays."""

import re
from collections.abc import Mapping
from typing import Any, Final

_KEYS: Final = re.compile(
    r"secret|token|passw|api_?key|credential|authorization|private_?key|known_hosts|webhook_?url",
    re.IGNORECASE,
)
_VALUES: Final = re.compile(
    r"(?:enc:v\d+:|Bearer\s+\S|sk-[\w-]{8}|(?:xd|ar|ab)_[a-z]+_[\w-]{20}).*"
    r"|[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"
    r"|[a-z][a-z0-9+.-]*://[^\s/@]+:[^\s/@]+@.*",
    re.DOTALL,
)
_NUMBERS: Final = (bool, int, float, type(None))
"""A count of tokens is no token."""


def redacted(value: Any, cover: str) -> Any:
    """The same value with `cover` in place of whatever looks like a secret, by its name or by its form."""
    if isinstance(value, Mapping):
        return {
            name: cover
            if _KEYS.search(str(name)) and not isinstance(inner, _NUMBERS)
            else redacted(inner, cover)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [redacted(inner, cover) for inner in value]
    return cover if isinstance(value, str) and _VALUES.fullmatch(value) else value


_WITHIN: Final = re.compile(
    r"enc:v\d+:\S+|Bearer\s+[^\s\"',;]+|sk-[\w-]{8,}|(?:xd|ar|ab)_[a-z]+_[\w-]{20,}"
    r"|[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"
)


def redacted_text(text: str, cover: str) -> str:
    """The same text with `cover` in place of every piece that has the form of a secret."""
    return _WITHIN.sub(cover, text)


def covered(value: Any, cover: str) -> Any:
    """As `redacted`, and within longer texts, too: for what is kept for readers only."""
    if isinstance(value, str):
        return redacted_text(value, cover)
    if isinstance(value, Mapping):
        return {
            name: cover
            if _KEYS.search(str(name)) and not isinstance(inner, _NUMBERS)
            else covered(inner, cover)
            for name, inner in value.items()
        }
    return [covered(inner, cover) for inner in value] if isinstance(value, list) else value
