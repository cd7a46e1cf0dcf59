"""Which line of an account a carrier means by an ICCID, its own id, an IMSI or a telephone number. Writes nothing."""

from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.cellular.carriers.values import By, SimKey
from mdm.devices import identifiers
from mdm.errors import Invalid

_COLUMNS: Final = {By.ICCID: "iccid_core", By.CARRIER_ID: "carrier_sim_id", By.IMSI: "imsi", By.MSISDN: "msisdn"}
_FORMS: Final[Mapping[By, Callable[[str], str]]] = {
    By.ICCID: lambda value: identifiers.iccid(value).key,
    By.CARRIER_ID: str.strip,
    By.IMSI: identifiers.imsi,
    By.MSISDN: identifiers.msisdn,
}


_REMEMBERED: Final = 200_000


class Lines:
    """The lines of one account by name. Holds a number per line and kind of name, so that each is looked up once."""

    def __init__(self, session: Session, account_id: int) -> None:
        self._session = session
        self._account_id = account_id
        self._known: dict[By, dict[str, int]] = {}
        self._met: dict[By, dict[str, int]] = {by: {} for by in By}

    def id_of(self, key: SimKey) -> int | None:
        """Return the id of a line, None for one that the inventory does not have under this account."""
        met = self._met[key.by]
        try:
            return met[key.value]
        except KeyError:
            pass
        try:
            found = self._named(key.by).get(_FORMS[key.by](key.value))
        except Invalid:
            found = None
        if found is not None and len(met) < _REMEMBERED:  # a file may name millions of lines that nobody has
            met[key.value] = found
        return found

    def _named(self, by: By) -> dict[str, int]:
        if by not in self._known:
            column = _COLUMNS[by]
            # A number that two lines have (one of them terminated) means the one that lives.
            rows = self._session.execute(
                text(
                    f"SELECT {column} AS name, id FROM sim WHERE account_id = :account AND {column} IS NOT NULL"
                    " ORDER BY effective_status <> 'terminated', id"
                ),
                {"account": self._account_id},
            )
            self._known[by] = {row.name: row.id for row in rows}
        return self._known[by]
