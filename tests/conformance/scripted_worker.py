"""A worker that does what the words of a task say, over nothing but the REST API.

The first word of the task's text decides: `echo`, `stream`, `ask`, `hold`, `auth`, `leave`, `final`, `fail`,
`refuse`, `wait`. Everything after it is the argument.
"""

import threading
from collections.abc import Callable
from typing import Any

import httpx

from tests.conformance.hub_process import RunningHub

SLOTS = 8
LONG_POLL = 1
"""Seconds; short, as an answer that came before the poll began does not end it."""


class ScriptedWorker:
    """Claims with several threads at once, so that a task that waits holds nobody up."""

    def __init__(self, hub: RunningHub) -> None:
        self._hub = hub
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(SLOTS)]
        agent = hub.post("/agents/register", {"name": "scripted", "max_concurrent": SLOTS})
        self._agent_id = agent["id"]
        self.faults: list[BaseException] = []

    def __enter__(self) -> "ScriptedWorker":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(5)

    def _work(self) -> None:
        wanted = {"agent_id": self._agent_id, "start": True, "wait_seconds": 2, "include_context": True}
        while not self._stopping.is_set():
            try:
                task = self._hub.post("/tasks/claim", wanted)
                if task is not None:
                    Attempt(self._hub, task, self._stopping).run()
            except httpx.HTTPStatusError as error:
                if error.response.status_code != 409:  # a task that was cancelled meanwhile is no fault
                    self.faults.append(error)
            except (httpx.TransportError, httpx.TimeoutException) as error:
                if not self._stopping.is_set():
                    self.faults.append(error)


class Attempt:
    """One claimed task."""

    def __init__(self, hub: RunningHub, task: dict[str, Any], stopping: threading.Event) -> None:
        self._hub = hub
        self._task = task
        self._stopping = stopping
        self._path = f"/tasks/{task['id']}"
        self._lease = {"lease_id": task["lease_id"]}

    def run(self) -> None:
        """Do what the text says."""
        word, _, rest = self._task["input"]["text"].partition(" ")
        script: Callable[[str], None] = getattr(self, word, self.echo)
        script(rest)

    def _post(self, path: str, **body: Any) -> Any:
        return self._hub.post(self._path + path, {**self._lease, **body})

    def _done(self, output: Any = None) -> None:
        self._post("/complete", output=output)

    def _answer(self) -> str:
        said = self._hub.get(f"{self._path}/messages")
        text: str = [m for m in said if m["role"] == "user"][-1]["parts"][0]["text"]
        return text

    def _until_answered(self) -> str | None:
        while not self._stopping.is_set():
            state = self._post("/lease", wait_seconds=LONG_POLL)["state"]
            if state == "in_progress":
                return self._answer()
        return None

    def echo(self, text: str) -> None:
        """Complete with the text."""
        self._done(text)

    def stream(self, count: str) -> None:
        """Say so many things, bring an artifact in two chunks, complete."""
        for n in range(int(count)):
            self._post("/messages", parts=[{"text": f"step {n}"}])
        self._post("/artifacts", artifact_id="a", name="report", parts=[{"text": "one "}], last_chunk=False)
        self._post("/artifacts", artifact_id="a", parts=[{"text": "two"}], append=True)
        self._done()

    def ask(self, question: str) -> None:
        """Ask and let go; whoever claims the task next has the answer."""
        if self._task["attempt"] == 1:
            self._post("/request-input", parts=[{"text": question}])
        else:
            self._done(f"you said {self._answer()}")

    def hold(self, question: str, kind: str = "input") -> None:
        """Ask and wait for the answer."""
        self._post("/request-input", parts=[{"text": question}], kind=kind, hold=True)
        answer = self._until_answered()
        if answer is not None:
            self._done(f"you said {answer}")

    def auth(self, what: str) -> None:
        """Ask for a credential and wait for it."""
        self.hold(what, kind="auth")

    def leave(self, title: str) -> None:
        """Ask for leave, and tell what was decided."""
        asked = self._post("/approvals", title=title, kind="permission")
        while not self._stopping.is_set():
            approval = self._hub.get(f"/approvals/{asked['id']}?wait_seconds=10")
            if approval["status"] != "pending":
                self._done(approval["status"])
                return

    def final(self, text: str) -> None:
        """Answer with a message."""
        self._post("/messages", parts=[{"text": text}], final=True)
        self._done()

    def fail(self, reason: str) -> None:
        """Fail for good."""
        self._post("/fail", error={"category": "bad_input", "message": reason, "recoverable": False})

    def refuse(self, reason: str) -> None:
        """Decline."""
        self._post("/refuse", reason=reason)

    def wait(self, _: str) -> None:
        """Keep the task until it is cancelled."""
        while not self._stopping.is_set():
            self._post("/lease", wait_seconds=LONG_POLL)
