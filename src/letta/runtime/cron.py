"""When cron expressions come true. Knows nothing of schedules.

Read as Debian's cron reads them, also where clocks change: a job in an hour that is left out runs after it, and one in
an hour that comes twice runs once.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from letta.errors import InvalidValue

_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = 5
MOST_COUNTED = 1000


def check(expression: str, zone: str, start: datetime) -> datetime:
    """The first time after `start`.

    Raises:
        letta.errors.InvalidValue: it is no cron expression of five fields, or never comes true.
    """
    try:
        first = following(expression, zone, start)
    except CronSimError as error:
        raise InvalidValue(
            f"schedule.cron_expression: {expression!r} is not valid ({error}). It has five fields: minute, hour, day "
            "of month, month, day of week; for example `30 8 * * 1-5` for 8:30 from Monday to Friday"
        ) from None
    if first is None:
        raise InvalidValue(f"schedule.cron_expression: {expression!r} does not come true in the next fifty years")
    return first


def following(expression: str, zone: str, start: datetime) -> datetime | None:
    """The first time after `start`, in UTC. None where there is none in fifty years."""
    return _next(_walk(expression, zone, start))


def due(expression: str, zone: str, first: datetime, moment: datetime) -> tuple[datetime, int]:
    """The last time up to `moment`, and how many came before it since `first`, which is one of them.

    At most MOST_COUNTED are counted.
    """
    last, counted = first, 0
    walk = _walk(expression, zone, first)
    while (after := _next(walk)) is not None and after <= moment:
        last, counted = after, counted + 1
        if counted == MOST_COUNTED:
            # It walks back from the second before where it begins.
            back = _next(_walk(expression, zone, moment + timedelta(seconds=1), reverse=True))
            return (last if back is None else max(last, back)), counted
    return last, counted


def _walk(expression: str, zone: str, start: datetime, *, reverse: bool = False) -> CronSim:
    expression = _NAMED.get(expression.strip().lower(), expression)
    if len(expression.split()) != _FIELDS:
        raise CronSimError("wrong number of fields")
    return CronSim(expression, start.astimezone(ZoneInfo(zone)), reverse=reverse)


def _next(walk: CronSim) -> datetime | None:
    found = next(walk, None)
    return None if found is None else found.astimezone(UTC)
