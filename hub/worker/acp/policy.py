"""Which permissions are answered without asking anybody. Pure.

The operator's rules come first, and the strictest of those that match; then what was remembered in the
session; then how freely the session's owner lets the agent act. A tool's kind and title are the agent's
words: they allow only what the operator or the owner has allowed by just these words.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final


class Effect(StrEnum):
    """What becomes of a request for permission."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


CHANGING: Final = frozenset({"edit", "delete", "move", "execute"})
"""Kinds of tools that change something, which an agent that only plans may not."""
_STRICTNESS: Final = (Effect.DENY, Effect.ASK, Effect.ALLOW)
_JOINS: Final = re.compile(r"[;&|<>`\n\r]|\$\(")
"""What makes a line for a shell do more than its first word says."""


@dataclass(frozen=True)
class Tool:
    """What an agent wants to do, as far as rules look at it."""

    kind: str
    name: str | None
    title: str
    command: str | None

    @classmethod
    def of(cls, call: Mapping[str, Any]) -> "Tool":
        """From a tool call as the protocol has it; what cannot be read counts as absent."""
        kind, name, title = call.get("kind"), call.get("name"), call.get("title")
        return cls(
            kind if isinstance(kind, str) else "other",
            name if isinstance(name, str) else None,
            title if isinstance(title, str) else "",
            _command(call.get("rawInput")),
        )

    @property
    def key(self) -> tuple[str, str | None, str]:
        """What a remembered decision is about: this and nothing wider."""
        return self.kind, self.name, self.command if self.command is not None else self.title


def _command(given: Any) -> str | None:
    command = given.get("command") if isinstance(given, Mapping) else None
    if isinstance(command, list) and all(isinstance(word, str) for word in command):
        return " ".join(command)
    return command if isinstance(command, str) else None


@dataclass(frozen=True)
class Rule:
    """`KIND` or `KIND:GLOB`: a tool's kind or name or `*`, and what its command is like, else its title."""

    effect: Effect
    subject: str
    glob: str | None = None

    @classmethod
    def parse(cls, effect: Effect, text: str) -> "Rule":
        """Read a rule.

        Raises:
            ValueError: it says of no kind.
        """
        subject, colon, glob = text.partition(":")
        if not subject or (colon and not glob):
            raise ValueError(f"{text!r} is no rule; one is KIND or KIND:GLOB, like execute:git status*")
        return cls(effect, subject, glob or None)

    def matches(self, tool: Tool) -> bool:
        """Whether it is about this."""
        if self.subject not in ("*", tool.kind, tool.name):
            return False
        if self.glob is None:
            return True
        if self.effect is not Effect.ALLOW:
            return any(fnmatchcase(said, self.glob) for said in (tool.command, tool.title) if said)
        said = tool.title if tool.command is None else tool.command
        # An allowed beginning must not carry a second command behind it.
        return fnmatchcase(said, self.glob) and not _JOINS.search(said)


@dataclass(frozen=True)
class Verdict:
    """What becomes of a request, and by whose word."""

    effect: Effect
    reason: str


@dataclass(frozen=True)
class Policy:
    """The operator's rules."""

    rules: Sequence[Rule] = ()

    def judge(self, tool: Tool, autonomy: str, remembered: Effect | None = None) -> Verdict:
        """The verdict. `autonomy` is the owner's: `plan`, `ask` or `auto`."""
        found = [rule for rule in self.rules if rule.matches(tool)]
        for effect in _STRICTNESS:
            for rule in found:
                if rule.effect is effect:
                    return Verdict(effect, f"the worker's rule {_shown(rule)}")
        if autonomy == "plan" and tool.kind in CHANGING:
            return Verdict(Effect.DENY, "the session only plans")
        if remembered is not None:
            return Verdict(remembered, "remembered from an earlier decision")
        if autonomy == "auto" and tool.kind != "switch_mode":
            return Verdict(Effect.ALLOW, "the session goes ahead by itself")
        return Verdict(Effect.ASK, "nobody has decided it before")


def _shown(rule: Rule) -> str:
    return rule.subject if rule.glob is None else f"{rule.subject}:{rule.glob}"


def option_for(effect: Effect, options: Sequence[Mapping[str, Any]]) -> str | None:
    """The option that says yes or no for this once; None where the agent offers none."""
    wanted = "allow_once" if effect is Effect.ALLOW else "reject_once"
    for option in options:
        if option.get("kind") == wanted and isinstance(option.get("optionId"), str):
            return str(option["optionId"])
    return None
