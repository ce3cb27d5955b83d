"""What the hub should do, in plain Python: tasks as objects, time as a number, no database and no events.

Every change of state goes through the same `TRANSITIONS` as the hub's; what is written down here a second
time is what the commands add to it. A command that the hub must refuse raises `Refused`.
"""

from dataclasses import dataclass, field

from core.transitions import ASKING, FINAL, LEASED, TRANSITIONS, Move
from schemas.vocabulary import AttemptOutcome, Priority, TaskState
from schemas.vocabulary import OnDependencyFailure as Wish

S = TaskState
AGING_MS = 600_000


class Refused(Exception):
    """The hub must refuse this, and nothing may change."""


@dataclass(eq=False)
class Lease:
    """One attempt's lease. It stays known after its end, so that late and repeated calls can be tried."""

    agent: int
    until: float
    seconds: int
    outcome: AttemptOutcome | None = None


@dataclass(eq=False)
class Work:
    """A task."""

    n: int
    wish: Wish
    priority: Priority
    most_attempts: int
    timeout: int | None
    strict: bool
    ready_at: float
    approval_open: bool
    state: TaskState = S.PENDING
    waiting: set[int] = field(default_factory=set)
    leases: list[Lease] = field(default_factory=list)
    held: bool = False
    questions: int = 0
    only: int | None = None
    only_until: float = 0
    retries: int = 0
    reworks: int = 0
    timeout_at: float | None = None
    cancel_due: float | None = None
    output: object = None

    @property
    def lease(self) -> Lease | None:
        """The lease under which it is, live or not yet swept."""
        return self.leases[-1] if self.leases and self.leases[-1].outcome is None else None

    @property
    def urgency(self) -> tuple[float, int]:
        return self.ready_at * 1000 + self.priority.rank * AGING_MS, self.n


class Model:
    """All tasks, and how many leases each agent may hold."""

    def __init__(self, places: list[int]) -> None:
        self.places = places
        self.tasks: list[Work] = []
        self.now = 0.0

    def submit(self, work: Work, depends_on: set[int]) -> Work:
        for n in depends_on:
            state = self.tasks[n].state
            if state is S.COMPLETED or (state in FINAL and work.wish is Wish.RUN):
                continue
            if state in FINAL and work.wish is Wish.CANCEL:
                raise Refused
            work.waiting.add(n)
        self.tasks.append(work)
        self._release(work)
        return work

    def claim(self, agent: int, start: bool, seconds: int) -> list[Work]:
        mine = [t for t in self.tasks if t.lease is not None and t.lease.agent == agent]
        if len(mine) >= self.places[agent]:
            return [t for t in mine if t.lease is not None and t.lease.until > self.now]
        ready = [t for t in self.tasks if t.state is S.READY and t.only in (None, agent)]
        if not ready:
            return []
        work = min(ready, key=lambda t: t.urgency)
        self._move(work, Move.CLAIM)
        work.leases.append(Lease(agent, self.now + seconds, seconds))
        work.only = None
        if start:
            self._start(work)
        return [work]

    def start(self, work: Work, lease: Lease) -> None:
        if work.lease is lease and work.state is S.IN_PROGRESS:
            return
        self._own(work, lease)
        self._start(work)

    def renew(self, work: Work, lease: Lease) -> None:
        self._own(work, lease)
        lease.until = self.now + lease.seconds

    def complete(self, work: Work, lease: Lease, output: object) -> None:
        if self._repeats(work, lease, AttemptOutcome.COMPLETED):
            if work.output != output:
                raise Refused
            return
        self._own(work, lease)
        self._move(work, Move.SUBMIT_OUTPUT if work.strict and output != "ok" else Move.COMPLETE)
        work.output = output

    def fail(self, work: Work, lease: Lease, flaky: bool) -> None:
        if self._repeats(work, lease, AttemptOutcome.FAILED):
            return
        self._own(work, lease)
        if flaky and work.retries + 1 < work.most_attempts:
            self._retry_later(work, AttemptOutcome.FAILED)
        else:
            self._move(work, Move.FAIL)

    def refuse(self, work: Work, lease: Lease, requeue: bool) -> None:
        self._own(work, lease)
        self._move(work, Move.REQUEUE if requeue else Move.REFUSE)
        if requeue:
            work.ready_at = self.now + 1

    def ask(self, work: Work, lease: Lease, hold: bool) -> None:
        self._own(work, lease)
        if not work.held:
            self._move(work, Move.ASK_INPUT, keeps=hold)
            work.held, work.timeout_at = hold, None
        work.questions += 1

    def answer(self, work: Work) -> None:
        if work.state not in ASKING:
            raise Refused
        work.questions -= 1
        if work.questions:
            return
        if work.held and work.lease is not None and work.lease.until > self.now:
            self._move(work, Move.ANSWER_HELD)
            work.held = False
            self._arm(work)
            return
        self._park(work)
        self._move(work, Move.ANSWER_PARKED)
        work.ready_at, work.only, work.only_until = self.now, work.leases[-1].agent, self.now + 60
        self._release(work)

    def judge(self, work: Work, action: str) -> None:
        if work.state not in (S.AWAITING_APPROVAL, S.OUTPUT_PENDING_ASSESSMENT):
            raise Refused
        starting = work.state is S.AWAITING_APPROVAL
        if action == "approve":
            self._move(work, Move.APPROVE if starting else Move.APPROVE_OUTPUT)
            work.approval_open = False
        elif action == "reject":
            self._move(work, Move.REJECT)
        elif starting:
            raise Refused
        elif work.reworks + 1 > 2:
            self._move(work, Move.REJECT)
        else:
            self._move(work, Move.REWORK)
            work.reworks, work.ready_at = work.reworks + 1, self.now
        self._release(work)

    def cancel(self, work: Work, grace: int) -> None:
        if work.state in (S.COMPLETED, S.CANCELLED):
            return
        if work.state in FINAL:
            self._move(work, Move.CLOSE_FAILED)
        elif grace and work.lease is not None:
            work.cancel_due = self.now + grace if work.cancel_due is None else work.cancel_due
        else:
            self._move(work, Move.CANCEL)

    def confirm(self, work: Work, lease: Lease) -> None:
        if self._repeats(work, lease, AttemptOutcome.CANCELLED):
            return
        self._own(work, lease)
        self._move(work, Move.CANCEL)

    def retry(self, work: Work, force: bool) -> None:
        if work.state is S.READY and force:
            return
        if work.state is S.PENDING and force:
            work.ready_at = self.now
        elif work.state is S.FAILED or (force and work.state in FINAL):
            self._move(work, Move.REOPEN_RETRY)
            work.retries, work.ready_at, work.output = work.retries + 1, self.now, None
        elif force:
            self._move(work, Move.FORCE_RETRY)
            work.retries, work.ready_at = work.retries + 1, self.now
        else:
            raise Refused
        self._release(work)

    def sweep(self) -> None:
        """What falls due by now, until nothing does."""
        while sum(self._expire(t) for t in self.tasks) + sum(self._fall_due(t) for t in self.tasks):
            pass

    def _expire(self, work: Work) -> bool:
        if work.lease is None or work.lease.until > self.now:
            return False
        if work.state is S.CLAIMED:
            self._move(work, Move.EXPIRE)
            work.ready_at = self.now
            self._release(work)
        elif work.state is S.IN_PROGRESS:
            self._lose(work, retried=work.most_attempts > 1)
        else:
            self._park(work)
        return True

    def _fall_due(self, work: Work) -> bool:
        before = work.state
        self._release(work)
        if work.only_until <= self.now and work.state is S.READY:
            work.only = None
        if work.timeout_at is not None and work.timeout_at <= self.now and work.state in LEASED:
            self._lose(work, retried=False)
        if work.cancel_due is not None and work.cancel_due <= self.now:
            self._move(work, Move.CANCEL)
        return work.state is not before

    def _lose(self, work: Work, retried: bool) -> None:
        if retried and work.retries + 1 < work.most_attempts:
            self._retry_later(work, AttemptOutcome.EXPIRED)
        else:
            self._move(work, Move.GIVE_UP)

    def _retry_later(self, work: Work, outcome: AttemptOutcome) -> None:
        self._move(work, Move.RETRY_LATER, outcome=outcome)
        work.retries, work.ready_at = work.retries + 1, self.now + 5

    def _start(self, work: Work) -> None:
        self._move(work, Move.START)
        self._arm(work)

    def _arm(self, work: Work) -> None:
        work.timeout_at = None if work.timeout is None else self.now + work.timeout

    def _park(self, work: Work) -> None:
        if work.lease is not None:
            work.lease.outcome = AttemptOutcome.EXPIRED
        work.held = False

    def _own(self, work: Work, lease: Lease) -> None:
        if work.lease is not lease or lease.until <= self.now:
            raise Refused

    def _repeats(self, work: Work, lease: Lease, outcome: AttemptOutcome) -> bool:
        return lease is work.leases[-1] and lease.outcome is outcome

    def _release(self, work: Work) -> None:
        if work.state is not S.PENDING or work.waiting or work.ready_at > self.now:
            return
        if work.approval_open:
            self._move(work, Move.ASK_APPROVAL)
            return
        self._move(work, Move.RELEASE)
        if work.only_until <= self.now:
            work.only = None

    def _move(
        self, work: Work, move: Move, *, outcome: AttemptOutcome | None = None, keeps: bool = False
    ) -> None:
        arc = TRANSITIONS[move]
        if work.state not in arc.sources:
            raise Refused
        answered = move in (Move.ANSWER_HELD, Move.ANSWER_PARKED)
        if work.state in ASKING and not answered:
            work.questions = 0
        work.state = arc.target
        if arc.ends and not keeps:
            if work.lease is not None:
                work.lease.outcome = outcome or arc.ends
            work.held, work.timeout_at = False, None
        if arc.target in FINAL:
            work.timeout_at = work.cancel_due = None
            for dependant in self.tasks:
                self._settle(dependant, work)

    def _settle(self, dependant: Work, ended: Work) -> None:
        if ended.n not in dependant.waiting:
            return
        if ended.state is S.COMPLETED or dependant.wish is Wish.RUN:
            dependant.waiting.discard(ended.n)
            self._release(dependant)
        elif dependant.wish is Wish.CANCEL and dependant.state not in FINAL:
            self._move(dependant, Move.CANCEL)
