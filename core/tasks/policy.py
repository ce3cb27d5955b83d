"""How the hub treats one task: the policy's stored form, and the decisions taken from it. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from core.errors import Invalid
from core.tasks.task import Policy, RetryPolicy
from schemas import validation
from schemas.vocabulary import BackoffStrategy, OnDependencyFailure, Priority

AGING = timedelta(minutes=10)
"""A task that waited this long overtakes those of the next higher class that come now."""

_LONGEST_BACKOFF = 24 * 3600.0


def stored(policy: Policy) -> dict[str, Any]:
    """The form in which a policy lies in the database."""
    retry = {**vars(policy.retry), "retryable_categories": list(policy.retry.retryable_categories)}
    return {**vars(policy), "retry": retry}


def loaded(stored_policy: Mapping[str, Any]) -> Policy:
    """The inverse of `stored`."""
    retry = stored_policy["retry"]
    return Policy(
        retry=RetryPolicy(
            max_attempts=retry["max_attempts"],
            backoff_strategy=retry["backoff_strategy"],
            initial_backoff_seconds=retry["initial_backoff_seconds"],
            retryable_categories=tuple(retry["retryable_categories"]),
        ),
        on_dependency_failure=OnDependencyFailure(stored_policy["on_dependency_failure"]),
        requires_approval=stored_policy["requires_approval"],
        output_schema=stored_policy["output_schema"],
        timeout_seconds=stored_policy["timeout_seconds"],
        max_rework=stored_policy["max_rework"],
        submitter_decides=stored_policy["submitter_decides"],
        approval=stored_policy.get("approval"),
    )


def checked(schema: Mapping[str, Any], field: str) -> None:
    """Accept a JSON Schema that a caller brings.

    Raises:
        Invalid: the hub cannot check anything by it; `details.field` names where it stood.
    """
    try:
        validation.check_schema(schema)
    except validation.InvalidSchema as error:
        raise Invalid(f"{field} is not accepted: it {error}", details={"field": field}) from error


def rank(ready_at: datetime, priority: Priority) -> int:
    """The order in the queue, smaller first: the time in milliseconds, later for lower classes."""
    return int((ready_at + priority.rank * AGING).timestamp() * 1000)


def retry_at(
    retry: RetryPolicy, retry_count: int, category: str, recoverable: bool, now: datetime
) -> datetime | None:
    """When to try again, or None when the failure is final.

    `retry_count` is how often the task was retried already, so `retry_count + 1` attempts have been spent.
    """
    if not recoverable or category not in retry.retryable_categories or retry_count + 1 >= retry.max_attempts:
        return None
    n, pause = retry_count + 1, retry.initial_backoff_seconds
    match BackoffStrategy(retry.backoff_strategy):
        case BackoffStrategy.LINEAR:
            pause *= n
        case BackoffStrategy.EXPONENTIAL:
            pause *= 2.0 ** min(n - 1, 32)
        case BackoffStrategy.FIXED:
            pass
    return now + timedelta(seconds=min(pause, _LONGEST_BACKOFF))
