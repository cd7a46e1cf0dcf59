"""Files that came in, on record: which bytes under which mapping went in, and what was wrong with which line.

What is wrong with a file stands, while it is read, in the table `import_note` that ends with the transaction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString, Protocol

from sqlalchemy import text
from sqlmodel import Session

from mdm.cellular.models import BatchState, CarrierAccount, ImportBatch, ImportKind

KEPT_NOTES: Final = 10_000
"""So many notes of a file are kept with its batch."""


@dataclass(frozen=True, slots=True)
class Note:
    """What is wrong (`error`) or odd (`warning`, `information`) about one line."""

    line: int
    level: str
    reason: str


class Rows(Protocol):
    """What a file did, in lines."""

    @property
    def new(self) -> int: ...  # noqa: D102
    @property
    def changed(self) -> int: ...  # noqa: D102
    @property
    def unchanged(self) -> int: ...  # noqa: D102
    @property
    def errors(self) -> int: ...  # noqa: D102


def begin(session: Session) -> None:
    """Have an empty `import_note`."""
    session.execute(text("DROP TABLE IF EXISTS pg_temp.import_note"))
    session.execute(text("CREATE TEMPORARY TABLE import_note (line integer, level text, reason text) ON COMMIT DROP"))


def note(session: Session, said: Iterable[Note]) -> None:
    """Put down what there is to say of lines."""
    copy(
        session,
        "COPY import_note (line, level, reason) FROM STDIN",
        [(each.line, each.level, each.reason[:200]) for each in said],
    )


def copy(session: Session, statement: LiteralString, rows: Sequence[Sequence[Any]]) -> None:
    """Copy rows into a table."""
    if not rows:
        return
    connection: Any = session.connection().connection.driver_connection
    with connection.cursor() as cursor, cursor.copy(statement) as into:
        for row in rows:
            into.write_row(row)


def notes(session: Session, level: str, *, limit: int) -> list[Note]:
    """Return what was found wrong (`error`) or odd, in the order of the lines."""
    wanted = "level = 'error'" if level == "error" else "level <> 'error'"
    rows = session.execute(
        text(
            "SELECT line, level, string_agg(reason, '; ' ORDER BY reason) FROM import_note"
            f" WHERE {wanted} GROUP BY line, level ORDER BY line, level LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [Note(*row) for row in rows]


def known(session: Session, account: CarrierAccount, kind: ImportKind, sha256: bytes) -> ImportBatch | None:
    """Return the import of the same bytes under the same mapping, if all of it went in."""
    row = session.execute(
        text(
            "SELECT id FROM import_batch WHERE account_id = :account AND kind = :kind AND sha256 = :sha256"
            " AND mapping_version = :version AND state = 'applied' AND rows_bad = 0"
        ),
        {"account": account.id, "kind": kind.value, "sha256": sha256, "version": account.mapping_version},
    ).first()
    return None if row is None else session.get_one(ImportBatch, row.id)


def keep(
    session: Session, account: CarrierAccount, kind: ImportKind, rows: Rows, *, sha256: bytes, size: int, by: str
) -> ImportBatch:
    """Put an import on record with the first notes; the record of the same file, imported before, is replaced."""
    gone = {"account": account.id, "kind": kind.value, "sha256": sha256, "version": account.mapping_version}
    session.execute(
        text(
            "DELETE FROM import_batch WHERE account_id = :account AND kind = :kind AND sha256 = :sha256"
            " AND mapping_version = :version AND state = 'applied'"
        ),
        gone,
    )
    now: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
    batch = ImportBatch(
        account_id=account.id or 0,
        kind=kind,
        sha256=sha256,
        mapping_version=account.mapping_version,
        size=size,
        state=BatchState.APPLIED,
        rows_new=rows.new,
        rows_changed=rows.changed,
        rows_same=rows.unchanged,
        rows_bad=rows.errors,
        started_at=now,
        finished_at=now,
        brought_by=by[:80],
    )
    session.add(batch)
    session.flush()
    session.execute(text(_KEEP_NOTES), {"batch": batch.id, "limit": KEPT_NOTES})
    return batch


_KEEP_NOTES: Final = """
INSERT INTO import_row (batch_id, line, level, reason)
SELECT :batch, line, replace(level, 'information', 'info'), left(string_agg(reason, '; '), 200)
FROM (SELECT * FROM import_note ORDER BY line LIMIT :limit) x GROUP BY line, level
"""
