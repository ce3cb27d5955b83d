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
