"""Who may decide an approval, and when enough have: its policy as it is stored, and what follows. Pure.

A policy is made when the approval is opened, from what the task or the gate declares, and never changes. It
also says who is barred. Roles are looked up when somebody decides, since agents come and go.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from core.caller import SYSTEM_PRINCIPAL, Caller
from core.errors import Unprocessable
from schemas import validation
from schemas.vocabulary import ApprovalStatus, Scope

Stored = Mapping[str, Any]


@dataclass(frozen=True)
class Named:
    """One line of who may decide, or may not: a principal, or a word for several."""

    principal_id: UUID | None
    word: str | None
    barred: bool = False


def opened(declared: Stored | None, parties: Sequence[UUID]) -> dict[str, Any]:
    """The policy of an approval that is asked for now. `parties` asked for it or gave the work."""
    if not declared:
        return {}
    barred: list[str] = []
    if declared.get("separation_of_duties"):
        barred = sorted({str(party) for party in parties if party != SYSTEM_PRINCIPAL})
    return {**declared, "barred": barred}


def routed(policy: Stored) -> bool:
    """Whether the policy names who decides."""
    return any(policy.get("deciders", {}).values())


def lines(policy: Stored) -> Sequence[Named]:
    """Who may decide and who may not, as rows."""
    deciders = policy.get("deciders", {})
    named = [Named(UUID(p), None) for p in dict.fromkeys(deciders.get("principals", ()))]
    named += [Named(None, role_word(name)) for name in dict.fromkeys(deciders.get("roles", ()))]
    scopes = {s for s in Scope for least in deciders.get("scopes", ()) if s.includes(Scope(least))}
    named += [Named(None, scope_word(scope)) for scope in Scope if scope in scopes]
    return [*named, *(Named(UUID(p), None, barred=True) for p in policy.get("barred", ()))]


def role_word(name: str) -> str:
    """How a role is named: as it stands among an agent's tags in JSON."""
    return f'"role:{name}"'


def scope_word(scope: Scope) -> str:
    """How a scope is named."""
    return f"scope:{scope.value}"


def open_to(
    policy: Stored,
    decider_id: UUID | None,
    votes: Sequence[Mapping[str, Any]],
    caller: Caller,
    roles: frozenset[str] = frozenset(),
) -> bool:
    """Whether this caller may decide by this policy. Of roles only those count that are known of it."""
    me = str(caller.principal_id)
    if me in policy.get("barred", ()) or any(vote["principal_id"] == me for vote in votes):
        return False
    if not routed(policy):
        return caller.operator or caller.principal_id == decider_id
    deciders = policy["deciders"]
    return (
        me in deciders.get("principals", ())
        or any(caller.scope.includes(Scope(least)) for least in deciders.get("scopes", ()))
        or not roles.isdisjoint(deciders.get("roles", ()))
    )


def outcome(policy: Stored, votes: Sequence[Mapping[str, Any]]) -> ApprovalStatus | None:
    """What so many votes come to: what the quorum shares, or a rejection once nothing can reach it."""
    counted = Counter(vote["status"] for vote in votes)
    quorum = policy.get("quorum", 1)
    status, most = counted.most_common(1)[0]
    if most >= quorum:
        return ApprovalStatus(status)
    deciders = policy.get("deciders", {})
    if deciders.get("principals") and not deciders.get("roles") and not deciders.get("scopes"):
        voted = {vote["principal_id"] for vote in votes}
        left = set(deciders["principals"]) - voted - set(policy.get("barred", ()))
        if most + len(left) < quorum:
            return ApprovalStatus.REJECTED
    return None


def deadline(policy: Stored, now: datetime, given: datetime | None) -> datetime | None:
    """When the approval ends: what was given, or the policy's deadline when that comes first."""
    seconds = policy.get("deadline_seconds")
    if seconds is None:
        return given
    own = now + timedelta(seconds=seconds)
    return own if given is None else min(own, given)


def check_answer(policy: Stored, answer: Any, approving: bool) -> None:
    """Compare an answer with the form. One that does not approve may leave it out.

    Raises:
        Unprocessable: it does not fit.
    """
    form = policy.get("form")
    if form is None or (answer is None and not approving):
        return
    issues = validation.validate(form, answer)
    if issues:
        raise Unprocessable(
            "the answer does not fit the form",
            fields={f"data{issue.path}": [issue.message] for issue in issues},
        )
