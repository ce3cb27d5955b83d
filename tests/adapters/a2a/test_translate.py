"""Translation of the platform's values, with random data; the official types are the oracle."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from a2a.types import a2a_pb2
from hypothesis import given
from hypothesis import strategies as st

from adapters.a2a import translate, wire
from core.approvals import DEFAULT_OPTIONS, Approval
from core.caller import Caller
from core.tasks.task import Artifact, InputRequest, Message, Origin, Task, TaskView
from core.transitions import ASKING, FINAL, QUEUED
from schemas.vocabulary import ApprovalKind, ApprovalStatus, Face, InputKind, InputStatus, Priority, TaskState
from tests.adapters.a2a.support import ANN, BEN, ROOT, TENANT, official

TASK, AGENT = UUID(int=1), UUID(int=2)
NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
NAMES = TEXT.filter(bool)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=3)
CONTENTS = st.one_of(
    st.fixed_dictionaries({"text": TEXT}),
    st.fixed_dictionaries({"data": JSON}),
    st.fixed_dictionaries({"url": NAMES}),
    st.fixed_dictionaries({"raw": st.sampled_from(["", "AA==", "AAE="])}),
)
PARTS = st.lists(
    st.tuples(
        CONTENTS,
        st.fixed_dictionaries({}, optional={"media_type": NAMES, "filename": NAMES, "metadata": OBJECTS}),
    ).map(lambda pair: {**pair[0], **pair[1]}),
    min_size=1,
    max_size=3,
)


def task(**changes: Any) -> Task:
    base = Task(
        id=TASK,
        tenant_id=TENANT,
        submitter_id=ANN.principal_id,
        origin=Origin(Face.A2A, ANN.principal_id, None),
        context_id="c",
        previous_task_id=None,
        parent_id=None,
        workflow_id=None,
        work_item_id=None,
        workspace_id=None,
        state=TaskState.IN_PROGRESS,
        version=3,
        status_at=NOW,
        status_message=None,
        left_queue=True,
        priority=Priority.NORMAL,
        ready_at=NOW,
        attempt=1,
        held=False,
        agent_id=AGENT,
        worker_id=None,
        preferred_agent_id=None,
        cancel_requested_at=None,
        timeout_at=None,
        retry_count=0,
        rework_count=0,
        title="t",
        description=None,
        type="custom",
        role=None,
        stage_name=None,
        required_tags=(),
        required_tools=(),
        depends_on=(),
        policy={},
        input={},
        context={},
        metadata={},
        extras={},
        output=None,
        error=None,
        report=None,
        created_at=NOW,
        updated_at=NOW,
        claimed_at=NOW,
        started_at=NOW,
        finished_at=None,
    )
    return replace(base, **changes)


def approval(decider: UUID | None = ANN.principal_id, **changes: Any) -> Approval:
    base = Approval(
        id=UUID(int=9),
        tenant_id=TENANT,
        task_id=TASK,
        workflow_id=None,
        attempt=1,
        kind=ApprovalKind.PERMISSION,
        title="Really?",
        status=ApprovalStatus.PENDING,
        subject=None,
        subject_digest=None,
        options=DEFAULT_OPTIONS,
        policy={},
        routed=False,
        votes=(),
        answer=None,
        requested_by=AGENT,
        decider_id=decider,
        option_id=None,
        feedback=None,
        remember=False,
        decided_by=None,
        decided_via=None,
        decided_at=None,
        expires_at=None,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(base, **changes)


MESSAGES = st.builds(
    Message,
    task_id=st.just(TASK),
    n=st.integers(1, 100),
    message_id=NAMES,
    role=st.sampled_from(["user", "agent"]),
    parts=PARTS,
    metadata=OBJECTS,
    final=st.booleans(),
    sender_id=st.just(AGENT),
    at=st.just(NOW),
)
ARTIFACTS = st.builds(
    Artifact,
    task_id=st.just(TASK),
    artifact_id=NAMES,
    name=st.none() | NAMES,
    description=st.none() | NAMES,
    path=st.none() | NAMES,
    content_type=st.none(),
    size_bytes=st.just(0),
    complete=st.booleans(),
    metadata=OBJECTS,
    parts=PARTS | st.just([]),
    created_at=st.just(NOW),
    updated_at=st.just(NOW),
)
INPUTS = st.builds(
    InputRequest,
    id=st.uuids(),
    task_id=st.just(TASK),
    attempt=st.just(1),
    kind=st.sampled_from(InputKind),
    parts=PARTS,
    schema=st.none() | OBJECTS,
    status=st.just(InputStatus.OPEN),
    answer=st.none(),
    created_at=st.just(NOW),
    answered_at=st.none(),
)
TASKS = st.builds(
    task,
    state=st.sampled_from(TaskState),
    left_queue=st.booleans(),
    output=JSON,
    metadata=OBJECTS,
    status_message=st.none() | PARTS,
    error=st.none() | st.just({"category": "x", "message": "y", "recoverable": True}),
)
VIEWS = st.builds(
    TaskView,
    TASKS,
    st.lists(MESSAGES, max_size=3),
    st.lists(ARTIFACTS, max_size=2),
    st.lists(INPUTS, max_size=2),
    st.lists(st.builds(approval, title=TEXT, subject=JSON), max_size=2),
)


@given(VIEWS, st.sampled_from([ANN, BEN, ROOT]), st.none() | st.integers(0, 3), st.booleans())
def test_every_view_of_a_task_is_one_that_the_official_type_accepts(
    view: TaskView, viewer: Caller, length: int | None, with_artifacts: bool
) -> None:
    made = translate.task_of(view, viewer, history_length=length, with_artifacts=with_artifacts)
    read = official(made, a2a_pb2.Task)
    assert (read.id, read.context_id) == (str(TASK), "c")
    assert read.status.state != a2a_pb2.TASK_STATE_UNSPECIFIED
    assert len(read.history) <= (translate.HISTORY if length is None else length)
    assert all(m.role != a2a_pb2.ROLE_UNSPECIFIED and m.parts and m.message_id for m in read.history)
    assert all(a.parts and a.artifact_id for a in read.artifacts)
    assert with_artifacts or "artifacts" not in made
    if read.status.state == a2a_pb2.TASK_STATE_AUTH_REQUIRED and view.inputs:
        assert read.status.message.parts, "an interruption says what is wanted"


@given(PARTS)
def test_parts_go_out_as_they_came_in(parts: list[dict[str, Any]]) -> None:
    sent = {"messageId": "m", "role": "ROLE_USER", "parts": translate.parts_of(parts)}
    assert wire.send_message({"message": sent}).parts == parts


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize(("left_queue", "decides"), list(itertools.product([False, True], repeat=2)))
def test_every_state_has_its_a2a_state(state: TaskState, left_queue: bool, decides: bool) -> None:
    shown = translate.state_of(state, left_queue=left_queue, decides=decides)
    assert shown in wire.STATES
    assert (shown in wire.TERMINAL) == (state in FINAL)
    if left_queue:
        assert shown != wire.SUBMITTED, "nothing returns to SUBMITTED"
    if decides and state not in FINAL and state not in ASKING:
        assert shown == wire.INPUT_REQUIRED
    found = [
        name
        for name in wire.STATES
        for part in translate.slices_of(name)
        if state in part.states
        and part.left_queue in (None, left_queue)
        and part.decides in (None, decides)
        # The store never has these together: a queue is left for good, and final tasks have no open approval.
        and not (state not in QUEUED and not left_queue)
        and not (decides and (state in FINAL or state in ASKING))
    ]
    possible = (left_queue or state in QUEUED) and not (decides and (state in FINAL or state in ASKING))
    assert found == ([shown] if possible else [])


@pytest.mark.parametrize(
    ("viewer", "holder", "decides"),
    [
        (ANN, AGENT, True),
        (ROOT, AGENT, True),
        (BEN, AGENT, False),
        (ANN, ANN.principal_id, False),
        (ROOT, ROOT.principal_id, False),
    ],
)
def test_the_decider_and_operators_may_decide_and_the_executor_never(
    viewer: Caller, holder: UUID, decides: bool
) -> None:
    assert bool(translate.decidable([approval()], task(agent_id=holder), viewer)) is decides
    assert bool(translate.decidable([approval()], task(worker_id=holder), viewer)) is decides


def test_times_are_utc_with_milliseconds() -> None:
    assert translate.stamp(NOW) == "2026-01-31T12:00:00.123Z"
    assert translate.stamp(NOW.replace(microsecond=0)) == "2026-01-31T12:00:00.000Z"


def test_the_current_status_message_is_not_repeated_in_the_history() -> None:
    asked = InputRequest(
        UUID(int=5), TASK, 1, InputKind.INPUT, [{"text": "?"}], None, InputStatus.OPEN, None, NOW, None
    )
    said = [
        Message(TASK, n, id, "agent", [{"text": "x"}], {}, False, AGENT, NOW)
        for n, id in ((1, "m"), (2, str(asked.id)))
    ]
    view = TaskView(task(state=TaskState.INPUT_REQUIRED), said, (), [asked])
    made = translate.task_of(view, ANN)
    assert made["status"]["message"]["messageId"] == str(asked.id)
    assert [m["messageId"] for m in made["history"]] == ["m"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"state": TaskState.FAILED, "error": {"category": "x", "message": "y"}}, "y"),
        ({"state": TaskState.FAILED, "status_message": [{"text": "z"}]}, "z"),
        ({"state": TaskState.COMPLETED, "error": {"category": "x", "message": "of an earlier try"}}, None),
        ({"state": TaskState.CANCELLED}, None),
    ],
)
def test_a_final_state_says_why_when_there_is_a_reason(changes: dict[str, Any], text: str | None) -> None:
    words = translate.closing_words(task(**changes))
    assert (words["parts"][0]["text"] if words else None) == text
