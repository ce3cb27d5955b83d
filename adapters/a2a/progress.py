"""What a stream tells about a task, event by event (specification §3.1.2, §3.1.6). Pure: no I/O, no waiting.

The log says more than A2A has words for. What changes nothing for an A2A reader (a claim after a start, a
user's own message) is left out; everything else is told once, in the order of the log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from adapters.a2a import translate, wire
from core.approval_policy import open_to
from core.caller import Caller
from core.events import Event
from core.tasks.task import Part, TaskView
from core.transitions import ASKING, FINAL
from schemas.vocabulary import TaskState

_JUDGED: Final = frozenset({TaskState.AWAITING_APPROVAL, TaskState.OUTPUT_PENDING_ASSESSMENT})


class Progress:
    """Where one reader of one task stands."""

    def __init__(self, view: TaskView, viewer: Caller) -> None:
        task = view.task
        self.task_id = str(task.id)
        self.context_id = task.context_id
        self._over = task.state in FINAL
        self._viewer = viewer
        self._state = task.state
        self._left_queue = task.left_queue
        self._executors = {task.agent_id, task.worker_id}
        self._deciding = {a.id for a in translate.decidable(view.approvals, task, viewer)}
        self._artifacts = bool(view.artifacts)
        self._shown = self._seen()

    @classmethod
    def after(cls, view: TaskView, story: Sequence[Event], viewer: Caller) -> "Progress":
        """Where a reader stood once it had been told a story that begins with the task's creation."""
        made = cls(at_birth(view, story[0] if story else None), viewer)
        for event in story:
            made.apply(event)
        made._over = made._state in FINAL  # what it was asked then, it may have answered since
        return made

    def over(self) -> bool:
        """Whether there is nothing more to tell: the task is final, or waits for its reader."""
        return self._over

    def asks(self) -> bool:
        """Whether the reader itself is asked for something, so that nothing happens until it answers."""
        return self._shown == wire.INPUT_REQUIRED

    def wants_view(self, event: Event) -> bool:
        """Whether `apply` needs the task as it stands, beside the event."""
        if event.kind != "task.state_changed":
            return False
        state = TaskState.of_wire(event.data["to_state"])
        return state in FINAL or (state in _JUDGED and self._viewer.operator)

    def apply(
        self, event: Event, view: TaskView | None = None, parts: Sequence[Part] | None = None
    ) -> list[dict[str, Any]]:
        """The `StreamResponse`s that an event is worth. `parts` were too large to travel in it."""
        match event.kind:
            case "task.state_changed":
                return self._moved(event, view)
            case "task.message_sent":
                return self._said(event, parts)
            case "task.artifact_updated":
                return self._brought(event, parts)
            case "approval.requested":
                return self._asked_leave(event)
            case "approval.decided":
                self._deciding.discard(UUID(event.data["approval_id"]))
                return self._if_changed(event)
            case _:
                return []

    def _seen(self) -> str:
        return translate.state_of(self._state, left_queue=self._left_queue, decides=bool(self._deciding))

    def _moved(self, event: Event, view: TaskView | None) -> list[dict[str, Any]]:
        data = event.data
        self._state = TaskState.of_wire(data["to_state"])
        self._left_queue = data.get("left_queue", True)
        self._executors = {_id(data.get("agent_id")), _id(data.get("worker_id"))}
        self._deciding = set()  # a permission ends with its attempt
        if self._state in FINAL:
            return self._finished(event, view)
        if self._state in ASKING:
            self._shown = self._seen()
            self._over = self._state is TaskState.INPUT_REQUIRED
            return [self._status(event, message=self._question(data))]
        if view is not None and view.task.state is self._state:
            deciding = translate.decidable(view.approvals, view.task, self._viewer)
            self._deciding = {a.id for a in deciding}
            if deciding:
                self._shown = self._seen()
                self._over = True
                return [
                    self._status(event, message=translate.request_for_decision(deciding[0], self.context_id))
                ]
        if "retry_at" in data:
            self._shown = self._seen()
            return [self._status(event, metadata={"crossdock/retry": _retry(data)})]
        return self._if_changed(event)

    def _finished(self, event: Event, view: TaskView | None) -> list[dict[str, Any]]:
        self._shown = self._seen()
        self._over = True
        made: list[dict[str, Any]] = []
        message = None
        if view is not None and view.task.state is self._state:
            task = view.task
            if self._state is TaskState.COMPLETED and not self._artifacts and task.output is not None:
                made.append(self._artifact(translate.output_artifact(task.output)))
            message = translate.closing_words(task)
        return [*made, self._status(event, message=message)]

    def _said(self, event: Event, parts: Sequence[Part] | None) -> list[dict[str, Any]]:
        data = event.data
        if data["role"] == "user":
            return []
        message = translate.said(
            data["message_id"],
            "ROLE_AGENT",
            data["parts"] or parts or (),
            self.context_id,
            self.task_id,
            data.get("metadata"),
        )
        return [self._status(event, message=message)]

    def _brought(self, event: Event, parts: Sequence[Part] | None) -> list[dict[str, Any]]:
        data = event.data
        self._artifacts = True
        brought = translate.parts_of(data["parts"] or parts or ())
        if not brought:  # replaced since; the replacement's own event follows
            return []
        artifact: dict[str, Any] = {"artifactId": data["artifact_id"], "parts": brought}
        for name in ("name", "description", "metadata"):
            if data.get(name):
                artifact[name] = data[name]
        return [self._artifact(artifact, append=data["append"], last=data["last_chunk"])]

    def _asked_leave(self, event: Event) -> list[dict[str, Any]]:
        data = event.data
        viewer = self._viewer
        decider = data["decider_id"]
        mine = open_to(data.get("policy", {}), decider and UUID(decider), (), viewer)
        if not mine or viewer.principal_id in self._executors:
            return []
        self._deciding.add(UUID(data["approval_id"]))
        self._shown = self._seen()
        self._over = True
        asked = translate.decision_wanted(
            data["approval_id"],
            data["kind"],
            data["title"],
            data["options"],
            data.get("subject"),
            self.context_id,
            self.task_id,
        )
        return [self._status(event, message=asked)]

    def _if_changed(self, event: Event) -> list[dict[str, Any]]:
        before, self._shown = self._shown, self._seen()
        return [] if before == self._shown else [self._status(event)]

    def _question(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return translate.asked(
            data["input_id"], data["kind"], data["message"], data.get("schema"), self.context_id, self.task_id
        )

    def _status(
        self,
        event: Event,
        *,
        message: dict[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        status: dict[str, Any] = {"state": self._shown, "timestamp": translate.stamp(event.at)}
        if message is not None:
            status["message"] = message
        update = {"taskId": self.task_id, "contextId": self.context_id, "status": status}
        return {"statusUpdate": {**update, "metadata": metadata} if metadata else update}

    def _artifact(
        self, artifact: dict[str, Any], *, append: bool = False, last: bool = True
    ) -> dict[str, Any]:
        return {
            "artifactUpdate": {
                "taskId": self.task_id,
                "contextId": self.context_id,
                "artifact": artifact,
                "append": append,
                "lastChunk": last,
            }
        }


def _id(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)


def _retry(data: Mapping[str, Any]) -> dict[str, Any]:
    error = data.get("error") or {}
    return {"attempt": data.get("attempt"), "retryAt": data["retry_at"], "reason": error.get("message")}


def at_birth(view: TaskView, created: Event | None) -> TaskView:
    """The task as it was when it was submitted."""
    known = created is not None and created.kind == "task.created"
    state = TaskState.of_wire(created.data["to_state"]) if known and created else TaskState.READY
    task = replace(
        view.task,
        state=state,
        status_at=view.task.created_at,
        status_message=None,
        left_queue=False,
        agent_id=None,
        worker_id=None,
    )
    return TaskView(task, [m for m in view.messages if m.n == 1], (), ())
