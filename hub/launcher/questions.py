"""What the hub has asked the editor: each question once on its screen, whichever connection asks it."""

from dataclasses import dataclass
from typing import Any, Final

from hub.launcher.messages import meta_of, params_of
from schemas.acp import APPROVAL, INPUT

MOST: Final = 1_000


@dataclass(slots=True)
class Question:
    """One question. `id` is its number at the editor, `hub_id` that at the hub, while that is connected."""

    id: int
    name: str | None
    session_id: str | None
    hub_id: Any
    answer: dict[str, Any] | None = None


class Questions:
    """The questions that the editor knows."""

    def __init__(self) -> None:
        self._by_id: dict[int, Question] = {}
        self._last = 0

    def asked(self, message: dict[str, Any]) -> tuple[Question, bool]:
        """The question of a request, and whether the editor has yet to see it."""
        params = params_of(message)
        name = meta_of(params, APPROVAL) or meta_of(params, INPUT)
        named = name if isinstance(name, str) else None
        for question in self._by_id.values():
            if named is not None and question.name == named:
                question.hub_id = message["id"]
                return question, False
        self._last += 1
        session_id = params.get("sessionId")
        question = Question(
            self._last, named, session_id if isinstance(session_id, str) else None, message["id"]
        )
        self._by_id[question.id] = question
        if len(self._by_id) > MOST:
            del self._by_id[next(iter(self._by_id))]
        return question, True

    def answered(self, message: dict[str, Any]) -> Question | None:
        """The question that the editor answers. None: it was withdrawn, or is answered already."""
        id = message.get("id")
        question = self._by_id.get(id) if type(id) is int else None
        if question is None or question.answer is not None:
            return None
        question.answer = message
        if question.name is None:
            del self._by_id[question.id]
        return question

    def withdrawn(self, hub_id: Any) -> Question | None:
        """The question that the hub takes back, if the editor still shows it."""
        for question in self._by_id.values():
            if question.hub_id == hub_id and type(question.hub_id) is type(hub_id):
                del self._by_id[question.id]
                return question if question.answer is None else None
        return None

    def disconnected(self) -> list[Question]:
        """The hub is gone: those which nobody will ask again, to be taken from the screen."""
        lost = [question for question in self._by_id.values() if question.name is None]
        for question in lost:
            del self._by_id[question.id]
        for question in self._by_id.values():
            question.hub_id = None
        return lost

    def keep_only(self, session_id: str, names: list[Any]) -> list[Question]:
        """Of a session only these are open: those to be taken from the screen."""
        settled = [q for q in self._by_id.values() if q.session_id == session_id and q.name not in names]
        for question in settled:
            del self._by_id[question.id]
        return [question for question in settled if question.answer is None]
