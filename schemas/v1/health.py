"""Health: whether the hub lives, and whether it can serve."""

from typing import Literal

from typing_extensions import TypedDict

from schemas.v1.fields import answer


@answer
class Health(TypedDict):
    """`ok` or `unavailable`. Deliberately without an envelope: probes compare the plain body."""

    status: Literal["ok", "unavailable"]
