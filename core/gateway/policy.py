"""What a caller may do with a tool, as pure rules over the grants that concern it.

The most specific grant decides: one for the task before its agent's, its agent's before the principal's, the
principal's before its role's; among those of one subject the one that names the tool most exactly; and where
two are equal, deny before approve before allow. Without a grant a tool does not exist.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import rfc8785

from core.caller import Caller
from core.errors import Invalid
from core.principals import OwnerType
from schemas.vocabulary import GrantEffect, GrantSubject

CALL_SECONDS: Final = 300
"""How long a call may take where nothing says otherwise."""
RESULT_BYTES: Final = 10 * 1024 * 1024
"""How large a result may be where nothing says otherwise."""

_SUBJECTS: Final[Mapping[GrantSubject, int]] = MappingProxyType(
    {GrantSubject.ROLE: 0, GrantSubject.PRINCIPAL: 1, GrantSubject.AGENT: 2, GrantSubject.TASK: 3}
)
_EFFECTS: Final[Mapping[GrantEffect, int]] = MappingProxyType(
    {GrantEffect.ALLOW: 0, GrantEffect.APPROVE: 1, GrantEffect.DENY: 2}
)


@dataclass(frozen=True)
class Rule:
    """One grant, as far as it decides."""

    id: UUID
    server_id: UUID
    subject: GrantSubject
    tool: str
    effect: GrantEffect
    timeout_seconds: int | None = None
    calls_per_minute: int | None = None
    max_result_bytes: int | None = None


def subjects_of(caller: Caller, role: str | None = None) -> Sequence[tuple[GrantSubject, str]]:
    """Whose grants are the caller's. With a task's token they are its task's, its agent's and its role's."""
    found = [(GrantSubject.PRINCIPAL, str(caller.principal_id))]
    if caller.owner_type == OwnerType.AGENT:
        found.append((GrantSubject.AGENT, str(caller.principal_id)))
    if caller.task_id is not None:
        found.append((GrantSubject.TASK, str(caller.task_id)))
        if role is not None:
            found.append((GrantSubject.ROLE, role))
    return found


def choose(rules: Iterable[Rule], server_id: UUID, tool: str) -> Rule | None:
    """The grant that decides about a tool; None when none concerns it."""
    fitting = [rule for rule in rules if rule.server_id == server_id and matches(rule.tool, tool)]
    return max(fitting, key=_weight, default=None)


def offered(rules: Iterable[Rule], server_id: UUID, tool: str) -> bool:
    """Whether the tool exists for the caller."""
    rule = choose(rules, server_id, tool)
    return rule is not None and rule.effect is not GrantEffect.DENY


def reaches(rules: Iterable[Rule], server_id: UUID) -> bool:
    """Whether anything of a server may be the caller's: its prompts and resources follow from that."""
    return any(rule.server_id == server_id and rule.effect is not GrantEffect.DENY for rule in rules)


def matches(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern: `*` is any text, `?` one character, everything else itself."""
    # Two positions to go back to suffice, so that no pattern takes more than the product of the lengths.
    p = n = 0
    star, mark = -1, 0
    while n < len(name):
        if p < len(pattern) and pattern[p] == "*":
            star, mark = p, n
            p += 1
        elif p < len(pattern) and pattern[p] in ("?", name[n]):
            p += 1
            n += 1
        elif star >= 0:
            mark += 1
            p, n = star + 1, mark
        else:
            return False
    return all(character == "*" for character in pattern[p:])


def _weight(rule: Rule) -> tuple[int, bool, int, int]:
    exact = not set("*?") & set(rule.tool)
    literal = sum(character not in "*?" for character in rule.tool)
    return _SUBJECTS[rule.subject], exact, literal, _EFFECTS[rule.effect]


def digest(value: Any) -> str:
    """The SHA-256 of a value's canonical JSON (RFC 8785).

    Raises:
        Invalid: it has none.
    """
    try:
        return hashlib.sha256(rfc8785.dumps(value)).hexdigest()
    except rfc8785.CanonicalizationError as error:
        raise Invalid(f"the arguments have no canonical form: {error}") from None


_LEFT_OUT: Final = "[redacted]"
_SECRET_WORDS: Final = (
    "password", "passwd", "passphrase", "secret", "token", "apikey", "authorization", "credential",
    "privatekey", "cookie",
)  # fmt: skip
_MOST_TEXT: Final = 4_096


def redacted(value: Any, schema: Any = None) -> Any:
    """A value to be shown and kept: without what looks like a secret, or what its schema calls write-only."""
    if isinstance(schema, Mapping) and (
        schema.get("writeOnly") is True or schema.get("format") == "password"
    ):
        return _LEFT_OUT
    if isinstance(value, Mapping):
        members = schema.get("properties") if isinstance(schema, Mapping) else None
        known = members if isinstance(members, Mapping) else {}
        return {
            key: _LEFT_OUT if _is_secret(key) else redacted(member, known.get(key))
            for key, member in value.items()
        }
    if isinstance(value, list):
        items = schema.get("items") if isinstance(schema, Mapping) else None
        return [redacted(item, items) for item in value]
    if isinstance(value, str) and len(value) > _MOST_TEXT:
        return value[:_MOST_TEXT] + "…"
    return value


def _is_secret(key: str) -> bool:
    plain = "".join(character for character in key.lower() if character.isalnum())
    plain = plain.replace("tokens", "")  # how many a model may use is no secret
    return any(word in plain for word in _SECRET_WORDS)
