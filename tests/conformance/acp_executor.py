"""An executor of turns over nothing but the REST API: it does what the words of a prompt say.

The first word decides: `say`, `ask`, `wait`, `break`. Everything after it is the argument.
"""

import threading
from types import TracebackType
from typing import Any

import httpx

from tests.conformance.hub_process import RunningHub

OPTIONS = [
    {"optionId": "yes", "name": "Allow", "kind": "allow_once"},
    {"optionId": "no", "name": "Reject", "kind": "reject_once"},
]
CALL = {"toolCallId": "call-1", "title": "Write notes.txt", "kind": "edit", "status": "pending"}


def chunk(text: str) -> dict[str, Any]:
    """An update by which the agent says something."""
    return {"update": {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}}


class TurnExecutor:
    """Claims turns, one thread each, until the block ends."""

    def __init__(self, hub: RunningHub, slots: int = 4) -> None:
        self._hub = hub
        self._stopping = threading.Event()
        agent = hub.post(
            "/agents/register",
            {"name": "editor's agent", "routing_tags": ["acp"], "max_concurrent": slots, "protocol": "acp"},
        )
        self.agent_id: str = agent["id"]
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(slots)]
        self.faults: list[BaseException] = []

    def __enter__(self) -> "TurnExecutor":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(5)

    def _work(self) -> None:
        wanted = {
            "agent_id": self.agent_id,
            "routing_tags": ["acp"],
            "start": True,
            "wait_seconds": 2,
            "include_context": True,
        }
        while not self._stopping.is_set():
            try:
                task = self._hub.post("/tasks/claim", wanted)
                if task is not None:
                    _Turn(self._hub, task, self._stopping).run()
            except httpx.HTTPStatusError as error:
                if error.response.status_code != 409:  # a turn that was cancelled meanwhile is no fault
                    self.faults.append(error)
            except httpx.TransportError as error:
                if not self._stopping.is_set():
                    self.faults.append(error)


class _Turn:
    def __init__(self, hub: RunningHub, task: dict[str, Any], stopping: threading.Event) -> None:
        self._hub = hub
        self._task = task
        self._stopping = stopping
        self._path = f"/tasks/{task['id']}"
        self._lease = {"lease_id": task["lease_id"]}

    def run(self) -> None:
        """Do what the text says."""
        text: str = self._task["input"]["text"]
        word, _, rest = text.partition(" ")
        {"ask": self._ask, "wait": self._wait, "break": self._break}.get(word, self._say)(rest)

    def _post(self, path: str, **body: Any) -> Any:
        return self._hub.post(self._path + path, {**self._lease, **body})

    def _tell(self, *updates: dict[str, Any]) -> None:
        self._post("/updates", updates=list(updates))

    def _done(self, text: str, reason: str = "end_turn") -> None:
        self._post("/complete", output={"text": text, "stopReason": reason})

    def _say(self, rest: str) -> None:
        for word in rest.split():
            self._tell(chunk(word + " "))
        self._done(rest)

    def _ask(self, rest: str) -> None:
        self._tell({"update": {"sessionUpdate": "tool_call", **CALL}})
        asked = self._post(
            "/approvals",
            kind="tool_call",
            title=CALL["title"],
            subject={"toolCall": CALL},
            options=[{"id": o["optionId"], "name": o["name"], "kind": o["kind"]} for o in OPTIONS],
        )
        while True:
            answer = self._hub.get(f"/approvals/{asked['id']}?wait_seconds=2")
            if answer["status"] != "pending" or self._stopping.is_set():
                break
            self._post("/lease")
        self._tell(chunk(f"{answer['status']} {rest}"))
        self._done(f"{answer['status']} {rest}")

    def _wait(self, _: str) -> None:
        self._tell(chunk("waiting"))
        while not self._stopping.is_set():
            state = self._post("/lease", wait_seconds=2)
            if state["cancel_requested"]:
                self._hub.post(f"{self._path}/cancel", self._lease)
                return

    def _break(self, rest: str) -> None:
        self._post("/fail", error={"category": "agent_error", "message": rest, "recoverable": False})
