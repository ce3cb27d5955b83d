"""The words that cross the wire, each said once.

Every enumeration here is closed. The integer behind a `TaskState` is what the database stores and never
changes its meaning; the lower-case name is what every face of the hub says.
"""

from enum import IntEnum, StrEnum


class Scope(StrEnum):
    """What a credential may do. The order is a hierarchy: each scope includes the ones before it."""

    AGENT = "agent"
    """Does work, or asks for it: its own objects and nothing else."""
    WORKER = "worker"
    """Hosts agents: registers them, and acts for those that it registered."""
    ADMIN = "admin"
    """Operates the hub: everything inside its tenant."""
    SERVICE = "service"
    """As admin, for programs; mints and revokes no keys, so that a leaked one cannot multiply."""

    @property
    def operator(self) -> bool:
        """Whether the scope sees every object of its tenant."""
        return self in (Scope.ADMIN, Scope.SERVICE)

    def includes(self, other: "Scope") -> bool:
        """Whether a caller with this scope may do what `other` may do."""
        order = {Scope.AGENT: 0, Scope.WORKER: 1, Scope.ADMIN: 2, Scope.SERVICE: 2}
        return order[self] >= order[other]


class TaskState(IntEnum):
    """Where a task stands. `core/lifecycle.py` says how it moves."""

    PENDING = 0
    """Waits for a dependency, a time or a free place; the hub releases it by itself."""
    READY = 1
    """May be claimed. Nothing holds it back."""
    CLAIMED = 2
    """An executor has it under a live lease and has not started. A lost lease puts it back, for free."""
    IN_PROGRESS = 3
    """Being done under a live lease. A lost lease is retried as the task's policy says."""
    INPUT_REQUIRED = 4
    """Waits for an answer, with the lease held or without one. Nothing times out by itself."""
    COMPLETED = 5
    """Final. Its output stands."""
    FAILED = 6
    """Final, unless somebody with the right reopens a task that was born on REST."""
    CANCELLED = 7
    """Final. Its executor was told at once."""
    REJECTED = 8
    """Final: refused by policy at birth, or by the executor."""
    AUTH_REQUIRED = 9
    """Waits for a credential, otherwise as INPUT_REQUIRED."""
    AWAITING_APPROVAL = 10
    """Waits for leave to start; an approval of kind `start` is pending."""
    OUTPUT_PENDING_ASSESSMENT = 11
    """The output is stored and waits for a judgement; an approval of kind `output` is pending."""
    ESCALATED = 12
    """Waits for a human or for another role."""

    @property
    def wire(self) -> str:
        """The name on the wire, `in_progress` for IN_PROGRESS."""
        return self.name.lower()

    @classmethod
    def of_wire(cls, name: str) -> "TaskState":
        """The state of that name.

        Raises:
            KeyError: no state is called so.
        """
        return cls[name.upper()]


class Face(StrEnum):
    """Through which door a task came in."""

    REST = "rest"
    A2A = "a2a"
    ACP = "acp"
    MCP = "mcp"
    WORKFLOW = "workflow"


class AttemptOutcome(StrEnum):
    """How an attempt ended. An attempt without one is running."""

    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    PARKED = "parked"
    ESCALATED = "escalated"


class Priority(StrEnum):
    """How urgent a task is. Ten minutes of waiting weigh as much as one class."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for critical to 3 for low."""
        return _RANKS[self]


_RANKS = {priority: rank for rank, priority in enumerate(Priority)}


class InputKind(StrEnum):
    """What an executor asks for."""

    INPUT = "input"
    AUTH = "auth"


class InputStatus(StrEnum):
    """Where an input request stands."""

    OPEN = "open"
    ANSWERED = "answered"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


class ApprovalKind(StrEnum):
    """What is to be allowed."""

    START = "start"
    OUTPUT = "output"
    PERMISSION = "permission"
    TOOL_CALL = "tool_call"
    GATE = "gate"


class ApprovalStatus(StrEnum):
    """Where an approval stands. Only `pending` can be decided; the first decision wins."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    CHANGES_REQUESTED = "changes_requested"
    BLOCKED = "blocked"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


class AgentStatus(StrEnum):
    """How an agent is doing. No status decides who may write; the lease does."""

    ACTIVE = "active"
    IDLE = "idle"
    BUSY = "busy"
    DEGRADED = "degraded"
    INACTIVE = "inactive"
    OFFLINE = "offline"


class WorkerStatus(StrEnum):
    """How a worker is doing."""

    ONLINE = "online"
    BUSY = "busy"
    DRAINING = "draining"
    DEGRADED = "degraded"
    DISCONNECTED = "disconnected"
    OFFLINE = "offline"


class WorkerSignalType(StrEnum):
    """What a worker is told to do."""

    CANCEL_TASK = "cancel_task"
    SET_DRAINING = "set_draining"
    CONFIG_UPDATE = "config_update"


class AgentProtocol(StrEnum):
    """What an agent speaks."""

    REST = "rest"
    ACP = "acp"
    A2A = "a2a"
    MCP = "mcp"


class ExposureKind(StrEnum):
    """What an exposed agent stands for: who does what is sent to it."""

    AGENT = "agent"
    """One agent."""
    ROLE = "role"
    """Every agent that offers a role."""
    PLAYBOOK = "playbook"
    """The version in use of a playbook: each task that is sent to it runs as a workflow."""


class ExecutionMode(StrEnum):
    """What kind of tasks an agent takes."""

    SPECIALIST = "specialist"
    ORCHESTRATOR = "orchestrator"
    HYBRID = "hybrid"


class OnDependencyFailure(StrEnum):
    """What becomes of a task whose dependency failed, was cancelled or was rejected."""

    WAIT = "wait"
    CANCEL = "cancel"
    RUN = "run"


class BackoffStrategy(StrEnum):
    """How the pause before a retry grows: b, b*n or b*2^(n-1)."""

    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class DeliveryState(StrEnum):
    """Where a notification to somebody outside stands."""

    PENDING = "pending"
    """Not tried yet."""
    FAILED = "failed"
    """Tried, and will be tried again."""
    DELIVERED = "delivered"
    """The receiver said 2xx."""
    DEAD = "dead"
    """Given up; only a redelivery tries it again."""


class VerificationStatus(StrEnum):
    """What the hub knows about a server that it calls: whether it is what it was registered as."""

    UNKNOWN = "unknown"
    """Not verified yet, or what it was verified with has changed."""
    VERIFIED = "verified"
    """It answered as it should; the snapshot is what it said."""
    FAILED = "failed"
    """It answered wrongly the last time; the snapshot is from before."""


class Health(StrEnum):
    """How a server that the hub calls is doing. It says nothing about whether it is the right one."""

    OK = "ok"
    DEGRADED = "degraded"
    """It answers, but not as the protocol asks."""
    UNREACHABLE = "unreachable"
    NEEDS_REAUTH = "needs_reauth"
    """It does not accept the credential that the hub has for it."""


class DelegationState(StrEnum):
    """Where a task stands that was given to a remote agent. `core/delegations.py` says how it moves."""

    UNSENT = "unsent"
    """Nothing has reached the remote agent."""
    SENDING = "sending"
    """It is on its way, or nobody knows whether it arrived."""
    ACTIVE = "active"
    """The remote agent has a task for it."""
    ASKED = "asked"
    """The remote agent waits for an answer, and so does our task."""
    DONE = "done"
    """The remote agent's last word was taken over, or is not wanted any more."""
    LOST = "lost"
    """What became of it cannot be known. It is not sent again by itself."""


class SessionStatus(StrEnum):
    """Where an editor's session stands. `core/session_moves.py` says how it moves."""

    INITIALIZING = "initializing"
    """Being opened; nothing was asked yet."""
    ACTIVE = "active"
    """A turn runs or waits for its turn."""
    IDLE = "idle"
    """Ready for the next prompt."""
    CLOSED = "closed"
    """Put away by its owner; its history stays, and loading opens it again."""


class GrantSubject(StrEnum):
    """To whom a grant of MCP tools is given; later ones are more specific."""

    ROLE = "role"
    PRINCIPAL = "principal"
    AGENT = "agent"
    TASK = "task"


class GrantEffect(StrEnum):
    """What a grant does to a tool."""

    ALLOW = "allow"
    APPROVE = "approve"
    """Each call needs leave of its own."""
    DENY = "deny"


class CallState(StrEnum):
    """Where a call of a granted tool stands."""

    REQUESTED = "requested"
    AWAITING_APPROVAL = "awaiting_approval"
    STARTED = "started"
    """It may have reached its server."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It was started, and the hub died before it knew what became of it. It is not repeated."""
    REFUSED = "refused"
    """It never reached its server."""


class Lifecycle(StrEnum):
    """Whether a workflow comes to an end by itself."""

    PLANNED = "planned"
    ONGOING = "ongoing"


class OnTaskFailure(StrEnum):
    """What the final failure of a task means for its workflow."""

    FAIL_WORKFLOW = "fail_workflow"
    """The workflow fails, and what is open in it is cancelled."""
    WAIT = "wait"
    """The workflow stands still until the task is retried, skipped or overridden."""
    CONTINUE = "continue"
    """The task counts as done, without an output."""


class WorkflowState(StrEnum):
    """Where a workflow stands. It is derived after every change (`core/workflows/standing.py`)."""

    PENDING = "pending"
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StageStatus(StrEnum):
    """Where a stage stands."""

    PENDING = "pending"
    ACTIVE = "active"
    AWAITING_GATE = "awaiting_gate"
    COMPLETED = "completed"
    BLOCKED = "blocked"


class GateStatus(StrEnum):
    """What became of a stage's gate."""

    NOT_REQUESTED = "not_requested"
    AWAITING_APPROVAL = "awaiting_approval"
    APPROVED = "approved"
    REJECTED = "rejected"
    CHANGES_REQUESTED = "changes_requested"
    BLOCKED = "blocked"


class PauseMode(StrEnum):
    """What a pause does with what is being done."""

    DRAIN = "drain"
    """It is finished; nothing new is begun."""
    INTERRUPT = "interrupt"
    """It is taken back, and done again after the pause."""


class ActivationState(StrEnum):
    """Where the wake-up of an orchestrator stands."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
