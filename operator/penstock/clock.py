"""The wall clock. Everything that decides takes `now` as a parameter; only the shell asks here."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the one place where time enters.
