"""The words of what starts work by itself: schedules and triggers."""

from enum import StrEnum


class RunStatus(StrEnum):
    """What became of one occasion on which a schedule or a trigger was to start something."""

    QUEUED = "queued"
    """Waits: for a run before it, or for its turn."""
    STARTED = "started"
    """There is a task or a workflow."""
    SKIPPED = "skipped"
    """Nothing was started, as declared; `reason` says why."""
    FAILED = "failed"
    """Nothing could be started; `error` says why."""


class MissedRuns(StrEnum):
    """What becomes of times at which a schedule was due and no hub was there."""

    SKIP = "skip"
    CATCH_UP = "catch_up"
    """Each is made up for, in order."""
    LATEST = "latest"
    """Only the last one is made up for."""


class Overlap(StrEnum):
    """What a schedule does when what it started before still goes on."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE = "queue"


class TriggerKind(StrEnum):
    """What a trigger waits for."""

    EVENT = "event"
    WEBHOOK = "webhook"


class HookAuth(StrEnum):
    """How whoever calls a webhook trigger proves that it may."""

    STANDARD_WEBHOOKS = "standard_webhooks"
    """Signature and timestamp of Standard Webhooks."""
    HMAC = "hmac"
    """`X-Hub-Signature-256: sha256=<hex>` over the body, as GitHub and Gitea send it."""
    BEARER = "bearer"
    """`Authorization: Bearer <the trigger's token>`."""
