"""The extensions of A2A that the hub declares on its cards, and looks for on those of others."""

from typing import Any, Final

IDEMPOTENCY: Final = "urn:crossdock:a2a:idempotency:v1"
"""A send that brings the header `Idempotency-Key` happens once, however often it is repeated."""

DECLARED: Final[tuple[dict[str, Any], ...]] = (
    {
        "uri": IDEMPOTENCY,
        "description": "A send repeated with the same Idempotency-Key header happens once.",
        "required": False,
    },
)
"""As a card's `capabilities.extensions` lists them."""
