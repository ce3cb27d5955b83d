"""One setting: what documents it, and how its text is found in the environment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class SettingsError(Exception):
    """A setting cannot be used. The message names the key, what is wrong with it, and a value that works."""

    def __init__(self, key: str, problem: str, example: str) -> None:
        super().__init__(f"{key} {problem}; for example {key}={example}")
        self.key = key
        self.problem = problem
        self.example = example


@dataclass(frozen=True)
class Setting:
    """One documented setting: the field it fills and the variable it comes from."""

    name: str
    variable: str
    doc: str
    default: str
    example: str
    secret: bool
    parse: Callable[[str], Any]


def setting(
    doc: str,
    *,
    parse: Callable[[str], Any],
    default: Any = None,
    default_text: str | None = None,
    example: str,
    secret: bool = False,
) -> Any:
    shown = default_text if default_text is not None else ("" if default in (None, ()) else str(default))
    meta = {"doc": doc, "parse": parse, "default_text": shown, "example": example, "secret": secret}
    return field(default=default, metadata=meta, repr=not secret)


def variables(one: Setting) -> Sequence[str]:
    """The names under which it may be given: a secret may also stand in a file."""
    return [one.variable, f"{one.variable}_FILE"] if one.secret else [one.variable]


def value_of(one: Setting, environ: Mapping[str, str]) -> str | None:
    """Its text; None when it is not given.

    Raises:
        SettingsError: it is given twice, or its file cannot be read.
    """
    direct = environ.get(one.variable, "").strip()
    from_file = environ.get(f"{one.variable}_FILE", "").strip() if one.secret else ""
    if direct and from_file:
        raise SettingsError(one.variable, f"is given twice, also as {one.variable}_FILE", one.example)
    if not from_file:
        return direct or None
    try:
        content = Path(from_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as failure:
        raise SettingsError(
            f"{one.variable}_FILE", f"cannot be read: {failure}", "/run/secrets/crossdock"
        ) from failure
    if not content:
        raise SettingsError(
            f"{one.variable}_FILE", f"names an empty file, {from_file}", "/run/secrets/crossdock"
        )
    return content
