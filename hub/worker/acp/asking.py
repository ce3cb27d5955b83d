"""What an agent asks in a turn: leave, which becomes an approval, and input, which becomes an input request.

Neither has a deadline. When the turn is stopped, what is asked is answered `cancelled`.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from hub.client import Approval, Conflict, Message
from hub.worker.acp.policy import Effect, Policy, Tool, Verdict, option_for
from hub.worker.acp.updates import Updates
from hub.worker.acp.wire import notice
from hub.worker.reporter import Reporter

CANCELLED: Final[Mapping[str, Any]] = {"outcome": {"outcome": "cancelled"}}
RAW: Final = "acp/elicitation"
"""Under this an input request has what the agent asked, word by word, for editors to show it."""
SUBJECT_BYTES: Final = 512 * 1024
"""A request to the hub takes twice as much."""
MOST_OPTIONS: Final = 20
TITLE: Final = 500
NAME: Final = 255
KINDS: Final = frozenset({"allow_once", "allow_always", "reject_once", "reject_always"})
_BIG: Final = ("content", "rawOutput", "rawInput", "locations")
"""Members of a tool call that are left out of a question when it is too large, the first first."""


class Memory:
    """Decisions that hold for the rest of their session: about exactly what was asked, and nothing wider."""

    SESSIONS: Final = 1000
    DECISIONS: Final = 1000

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, dict[tuple[str, str | None, str], Effect]] = OrderedDict()

    def recall(self, session_id: str, tool: Tool) -> Effect | None:
        """What was decided."""
        return self._sessions.get(session_id, {}).get(tool.key)

    def keep(self, session_id: str, tool: Tool, effect: Effect) -> None:
        """Remember a decision."""
        decisions = self._sessions.setdefault(session_id, {})
        self._sessions.move_to_end(session_id)
        if len(decisions) < self.DECISIONS:
            decisions[tool.key] = effect
        while len(self._sessions) > self.SESSIONS:
            self._sessions.popitem(last=False)


class Asking:
    """The questions of one turn."""

    def __init__(
        self,
        reporter: Reporter,
        updates: Updates,
        policy: Policy,
        memory: Memory,
        *,
        session_id: str,
        autonomy: Callable[[], Awaitable[str]],
        rejects_expired: bool = False,
    ) -> None:
        self._reporter = reporter
        self._updates = updates
        self._policy = policy
        self._memory = memory
        self._session_id = session_id
        self._autonomy = autonomy
        self._rejects_expired = rejects_expired
        self._no_question = asyncio.Lock()

    async def permission(self, params: Mapping[str, Any], call: Mapping[str, Any]) -> Any:
        """Answer a request for leave: by the rules, or by whoever decides the approval."""
        tool = Tool.of(call)
        options = [option for option in params["options"] if _is_option(option)]
        remembered = self._memory.recall(self._session_id, tool)
        try:
            # Asked for each time: the owner may have changed it since the turn began.
            verdict = self._policy.judge(tool, await self._autonomy(), remembered)
            chosen = None if verdict.effect is Effect.ASK else option_for(verdict.effect, options)
            if chosen is not None or verdict.effect is Effect.DENY:
                await self._tell(tool, call, verdict, chosen)
                return _selected(chosen)
            return await self._ask(tool, params, call, options)
        except (asyncio.CancelledError, Conflict):
            # The turn is being stopped, or is somebody else's by now; an answer must come all the same.
            return CANCELLED

    async def elicit(self, params: Mapping[str, Any]) -> Any:
        """Answer a request for input by whoever answers the input request."""
        kind = "auth" if params.get("mode") == "url" else "input"
        text = str(params.get("message") or "The agent asks for something.")
        part: dict[str, Any] = {
            "text": text,
            "metadata": {RAW: {name: value for name, value in params.items() if name != "sessionId"}},
        }
        parts = [part]
        if kind == "auth" and isinstance(params.get("url"), str):
            parts.append({"url": params["url"]})
        try:
            # An open question holds the task; leave can be asked for again once it is answered.
            async with self._no_question:
                await self._updates.flush()
                return answer_to(params, await self._reporter.question(parts, kind=kind))
        except (asyncio.CancelledError, Conflict):
            return {"action": "cancel"}

    async def _ask(
        self,
        tool: Tool,
        params: Mapping[str, Any],
        call: Mapping[str, Any],
        options: list[Mapping[str, Any]],
    ) -> Any:
        await self._updates.flush()  # what is asked about was announced before it is asked
        subject: dict[str, Any] = {"toolCall": shortened(call)}
        if isinstance(params.get("_meta"), Mapping):
            subject["_meta"] = params["_meta"]
        asked = [
            {
                "id": option["optionId"],
                "name": str(option.get("name") or option["optionId"])[:NAME],
                "kind": option["kind"] if option.get("kind") in KINDS else "reject_once",
            }
            for option in options
        ]
        async with self._no_question:
            approval = await self._reporter.permission(
                (tool.title or tool.kind)[:TITLE], subject=shortened_subject(subject), options=asked
            )
        return self._decided(tool, options, await self._reporter.decision(approval))

    def _decided(self, tool: Tool, options: list[Mapping[str, Any]], decided: Approval) -> Any:
        if decided.status not in ("approved", "rejected"):
            expired = decided.status == "expired" and self._rejects_expired
            reject = option_for(Effect.DENY, options) if expired else None
            answer = CANCELLED if reject is None else _selected(reject)
            return {**answer, "_meta": {"crossdock/reason": decided.status}}
        effect = Effect.ALLOW if decided.status == "approved" else Effect.DENY
        chosen = decided.raw.get("option_id") or option_for(effect, options)
        kind = next((option.get("kind") for option in options if option["optionId"] == chosen), None)
        if decided.raw.get("remember") or str(kind).endswith("_always"):
            self._memory.keep(self._session_id, tool, effect)
        return _selected(chosen)

    async def _tell(self, tool: Tool, call: Mapping[str, Any], verdict: Verdict, chosen: str | None) -> None:
        """Leave a trace in the log of what was decided without asking."""
        said = "Allowed" if verdict.effect is Effect.ALLOW else "Refused"
        await self._updates.add(
            notice(
                f"{said} without asking: {tool.title or tool.kind}"[:TITLE],
                verdict.reason,
                severity="info",
                permission={
                    "toolCallId": call.get("toolCallId"),
                    "kind": tool.kind,
                    "effect": verdict.effect.value,
                    "optionId": chosen,
                    "reason": verdict.reason,
                },
            )
        )


def answer_to(params: Mapping[str, Any], message: Message) -> dict[str, Any]:
    """The answer to an elicitation, from what somebody said; words are taken where one text was asked for."""
    for part in message.parts:
        data = part.get("data")
        if isinstance(data, Mapping) and data.get("action") in ("accept", "decline", "cancel"):
            return {name: data[name] for name in ("action", "content") if name in data}
        if isinstance(data, Mapping):
            return {"action": "accept", "content": dict(data)}
    if params.get("mode") == "url":
        return {"action": "accept"}
    schema = params.get("requestedSchema")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if isinstance(properties, Mapping) and len(properties) == 1:
        (name, member), text = next(iter(properties.items())), message.text
        value = _typed(text, member.get("type") if isinstance(member, Mapping) else None)
        if value is not None:
            return {"action": "accept", "content": {name: value}}
    return {"action": "decline"}


def _typed(text: str, kind: Any) -> Any:
    if kind in ("integer", "number", "boolean"):
        try:
            value = json.loads(text.strip().lower())
        except ValueError:
            return None
        right = {"integer": (int,), "number": (int, float), "boolean": (bool,)}[kind]
        return value if type(value) in right else None
    return text


def shortened(call: Mapping[str, Any]) -> dict[str, Any]:
    """The tool call, without its largest members where it is too large to be asked about as it is."""
    kept = {name: value for name, value in call.items() if name != "sessionUpdate"}
    for name in _BIG:
        if len(json.dumps(kept)) <= SUBJECT_BYTES:
            break
        kept.pop(name, None)
    return kept


def shortened_subject(subject: dict[str, Any]) -> dict[str, Any]:
    """The subject, without what its agent put beside it where that is too large."""
    return subject if len(json.dumps(subject)) <= SUBJECT_BYTES else {"toolCall": subject["toolCall"]}


def _is_option(option: Any) -> bool:
    named = option.get("optionId") if isinstance(option, Mapping) else None
    return isinstance(named, str) and 0 < len(named) <= NAME


def _selected(option: str | None) -> Mapping[str, Any]:
    return CANCELLED if option is None else {"outcome": {"outcome": "selected", "optionId": option}}
