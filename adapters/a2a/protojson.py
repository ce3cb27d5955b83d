"""ProtoJSON, read strictly (https://protobuf.dev/programming-guides/json): members of objects that arrive.

`null` and empty strings are absent, enumerations are names, unknown members are nobody's business. It knows
none of the protocol's messages.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from adapters.a2a.errors import INVALID_PARAMS, A2AError, Violation

Params = Mapping[str, Any]

_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z")
_INTEGER: Final = re.compile(r"-?\d{1,10}")
_URL_SAFE: Final = str.maketrans("-_", "+/")


class Reader:
    """Reads members of one object and gathers what is wrong, so that a caller hears it all at once."""

    __slots__ = ("at", "source", "wrong")

    def __init__(self, source: Params, wrong: list[Violation], at: str = "") -> None:
        self.source = source
        self.wrong = wrong
        self.at = at

    def refuse(self, name: str, why: str) -> None:
        """Note what is wrong with a member."""
        self.wrong.append(Violation(self.at + name, why))

    def text(self, name: str, *, required: bool = False, longest: int | None = None) -> str | None:
        """A string that is not empty."""
        value = self.source.get(name)
        if type(value) is str and value:
            if longest is not None and len(value) > longest:
                self.refuse(name, f"at most {longest} characters")
            return value
        if value is not None and value != "":
            self.refuse(name, "must be a string")
        elif required:
            self.refuse(name, "is required")
        return None

    def flag(self, name: str) -> bool:
        """A boolean, also as a query string writes it; false when absent."""
        value = self.source.get(name)
        if value is True or value == "true":
            return True
        if value is None or value is False or value == "false":
            return False
        self.refuse(name, "must be true or false")
        return False

    def number(self, name: str, *, least: int, most: int | None = None) -> int | None:
        """An int32; a string of digits too, as ProtoJSON and query strings write it."""
        value = self.source.get(name)
        if value is None:
            return None
        digits = type(value) is str and _INTEGER.fullmatch(value) is not None
        if digits or (type(value) is float and value.is_integer()):
            value = int(value)
        if type(value) is not int or not -(2**31) <= value < 2**31:
            self.refuse(name, "must be a 32-bit integer")
        elif value < least or (most is not None and value > most):
            self.refuse(name, f"must be at least {least}" if most is None else f"must be {least} to {most}")
        else:
            return value
        return None

    def object(self, name: str, *, required: bool = False) -> Params | None:
        """An object."""
        value = self.source.get(name)
        if type(value) is dict:
            return value
        if value is not None:
            self.refuse(name, "must be an object")
        elif required:
            self.refuse(name, "is required")
        return None

    def texts(self, name: str) -> Sequence[str]:
        """An array of strings; empty when absent."""
        value = self.source.get(name)
        if value is None:
            return ()
        if type(value) is list and all(type(item) is str for item in value):
            return value
        self.refuse(name, "must be an array of strings")
        return ()

    def moment(self, name: str) -> datetime | None:
        """A time in UTC, as `google.protobuf.Timestamp` is written; offsets are not allowed (§5.6)."""
        value = self.text(name)
        if value is None:
            return None
        if _TIMESTAMP.fullmatch(value):
            try:
                return datetime.fromisoformat(value).astimezone(UTC)
            except ValueError:
                pass
        self.refuse(name, "must be a time in UTC like 2026-01-31T12:00:00.000Z")
        return None

    def finish(self) -> None:
        """Tell what was noted.

        Raises:
            A2AError: InvalidParams, when anything was.
        """
        if self.wrong:
            first = self.wrong[0]
            more = f" (and {len(self.wrong) - 1} more)" if len(self.wrong) > 1 else ""
            raise A2AError(
                INVALID_PARAMS, f"{first.field}: {first.description}{more}", violations=tuple(self.wrong)
            )


def base64_of(value: Any) -> str | None:
    """Standard base64 with padding, from any form that ProtoJSON takes (URL-safe, unpadded)."""
    if type(value) is not str:
        return None
    standard = value.translate(_URL_SAFE).rstrip("=")
    standard += "=" * (-len(standard) % 4)
    try:
        base64.b64decode(standard, validate=True)
    except (binascii.Error, ValueError):
        return None
    return standard
