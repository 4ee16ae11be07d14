"""The database: reachable, migrated, and by the same clock as we are."""

from __future__ import annotations

from collections.abc import Sequence

from peewee import PeeweeException

from app import migrate
from app.database import DatabaseUnavailable, now
from app.replication.check.examination import Examination
from app.replication.check.finding import Finding, Id, error, fine, warning

#: Seconds that two clocks may differ before it is worth a word: lag is measured across them.
TOLERANCE = 5.0

_SUBJECT = "database"


def check(examination: Examination) -> Sequence[Finding]:
    """Reach it, look for pending migrations, and compare the clocks."""
    missing = examination.missing_file
    if missing is not None:
        return [
            _unreachable(
                f"there is no database at {missing}",
                "Go to the directory where `geo up` or `geo migrate` made it, or set DATABASE_URL.",
            )
        ]
    try:
        differs = migrate.difference()
        with examination.stored():
            ahead = now().timestamp() - examination.clock()
    except (DatabaseUnavailable, PeeweeException) as problem:
        said = str(problem).partition("\n")[0]
        return [_unreachable(f"it cannot be used: {said}", "Start the database, or put DATABASE_URL right.")]
    if differs.unknown:
        return [
            error(
                Id.DATABASE_NEWER,
                _SUBJECT,
                f"a newer version has migrated it ({', '.join(differs.unknown)})",
                "This version stands back: events are refused, which the registry keeps, and nothing is replicated.",
                "Install the newer version here, or have it roll the schema back with `geo migrate --to`.",
            )
        ]
    if differs.pending:
        return [
            error(
                Id.DATABASE_UNMIGRATED,
                _SUBJECT,
                f"its schema is {len(differs.pending)} migrations behind, beginning with {differs.pending[0]}",
                "No event can be stored, and nothing be replicated.",
                "geo migrate",
            )
        ]
    found = [fine(_SUBJECT, "reachable and migrated")]
    if abs(ahead) > TOLERANCE:
        found.append(
            warning(
                Id.DATABASE_CLOCK,
                _SUBJECT,
                f"its clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} ours",
                "Lag and ages are told wrong by as much.",
                "Set both clocks by NTP: timedatectl set-ntp true",
            )
        )
    return found


def _unreachable(title: str, fix: str) -> Finding:
    why = "Events are refused (the registry keeps them and tries again), and nothing is replicated."
    return error(Id.DATABASE_UNREACHABLE, _SUBJECT, title, why, fix)
