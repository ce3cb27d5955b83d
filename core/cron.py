"""When a schedule is due: cron expressions in a time zone, as Debian's cron reads them. Pure.

Where clocks go forward, what was due in the hour that is left out is due right after it; where they go back,
what has a fixed time is due once. What runs every hour or minute runs so in real time.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError


class BadSchedule(ValueError):
    """The expression or the time zone cannot be read, or is never due."""


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its IANA name.

    Raises:
        BadSchedule: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadSchedule(f"{name[:80]!r} is no time zone") from None


def check(expression: str, timezone: str, now: datetime) -> datetime:
    """The next time of a schedule that can be kept.

    Raises:
        BadSchedule: it cannot.
    """
    if len(expression.split()) != 5:
        raise BadSchedule("a cron expression has five fields: minute, hour, day, month, day of the week")
    return after(expression, timezone, now)


def after(expression: str, timezone: str, moment: datetime) -> datetime:
    """The first time later than a moment.

    Raises:
        BadSchedule: as `check`.
    """
    return _step(expression, timezone, moment, reverse=False)


def latest(expression: str, timezone: str, moment: datetime) -> datetime:
    """The last time that is not later than a moment.

    Raises:
        BadSchedule: as `check`.
    """
    return _step(expression, timezone, moment + timedelta(microseconds=1), reverse=True)


def _step(expression: str, timezone: str, moment: datetime, *, reverse: bool) -> datetime:
    local = moment.astimezone(zone_of(timezone))
    try:
        found = next(CronSim(expression, local, reverse=reverse))
    except CronSimError as error:
        raise BadSchedule(f"the cron expression cannot be read: {error}") from None
    except StopIteration:
        raise BadSchedule("the cron expression is never due") from None
    return found.astimezone(UTC)
