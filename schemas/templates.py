"""`{{ tasks.plan.output.items[0] }}`: places in a playbook that are filled in when a task is made.

A template names a path and nothing else: no code, no loops, no functions. A text that is one template
becomes the value itself, whatever its kind; a template inside a text becomes text. A path leads through
members of objects and items of lists.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.strict_json import dump_json

_TEMPLATE: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[(\d{1,6})\]")
_ROOT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

Step = str | int


class BadTemplate(ValueError):
    """The text between the braces is no path."""


class Unfilled(LookupError):
    """A path leads nowhere."""


@dataclass(frozen=True)
class Reference:
    """A path: where it begins, and what it leads through."""

    root: str
    steps: tuple[Step, ...]
    text: str

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """The path that a template names.

        Raises:
            BadTemplate: it is none.
        """
        path = text.strip()
        root = _ROOT.match(path)
        if root is None:
            raise BadTemplate(f"{text.strip()!r} is no path such as parameters.name or tasks.plan.output")
        steps: list[Step] = []
        at = root.end()
        while at < len(path):
            step = _STEP.match(path, at)
            if step is None:
                raise BadTemplate(f"{path!r} is no path: it goes wrong at {path[at:]!r}")
            steps.append(step[1] if step[1] is not None else int(step[2]))
            at = step.end()
        return cls(root[0], tuple(steps), path)

    def find(self, values: Mapping[str, Any]) -> Any:
        """What the path leads to.

        Raises:
            Unfilled: nothing is there.
        """
        if self.root not in values:
            raise Unfilled(f"{self.text}: there is no {self.root}")
        value, way = values[self.root], self.root
        for step in self.steps:
            if isinstance(step, str) and isinstance(value, Mapping) and step in value:
                value, way = value[step], f"{way}.{step}"
            elif isinstance(step, int) and isinstance(value, list) and step < len(value):
                value, way = value[step], f"{way}[{step}]"
            else:
                raise Unfilled(f"{self.text}: {way} has no {step if isinstance(step, str) else f'[{step}]'}")
        return value


def references(value: Any, path: str = "") -> Iterator[tuple[str, Reference]]:
    """Every template in a JSON value, with the JSON Pointer of the text that holds it.

    Raises:
        BadTemplate: one is no path.
    """
    if isinstance(value, str):
        for found in _TEMPLATE.finditer(value):
            try:
                yield path, Reference.parse(found[1])
            except BadTemplate as error:
                raise BadTemplate(f"{path or '/'}: {error}") from None
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from references(inner, f"{path}/{str(name).replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from references(inner, f"{path}/{index}")


def fill(value: Any, values: Mapping[str, Any]) -> Any:
    """The JSON value with its templates filled in.

    Raises:
        Unfilled: a path leads nowhere.
    """
    if isinstance(value, str):
        return _fill_text(value, values)
    if isinstance(value, Mapping):
        return {name: fill(inner, values) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [fill(inner, values) for inner in value]
    return value


def _fill_text(text: str, values: Mapping[str, Any]) -> Any:
    if "{{" not in text:
        return text
    whole = _TEMPLATE.fullmatch(text.strip())
    if whole is not None and "{{" not in whole[1]:
        return Reference.parse(whole[1]).find(values)
    return _TEMPLATE.sub(lambda found: _as_text(Reference.parse(found[1]).find(values)), text)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else dump_json(value).decode()
