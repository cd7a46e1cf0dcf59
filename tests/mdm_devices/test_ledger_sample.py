"""The invented district: reproducible, consistent, of the size that was asked for."""

import io
from collections import Counter

import pytest
from stdnum import luhn

from mdm.devices import csvfile, sample
from mdm.devices.ledger_columns import Column
from mdm.devices.ledger_entry import Entry, read_entry


def test_a_seed_gives_one_district() -> None:
    """The same seed gives the same lines, another seed others."""
    assert list(sample.lines(200, seed=5)) == list(sample.lines(200, seed=5))
    assert list(sample.lines(200, seed=5)) != list(sample.lines(200, seed=6))


@pytest.mark.parametrize(("tablets", "schools"), [(1, None), (2, 5), (37, 3), (1500, None)])
def test_every_line_is_right_and_nothing_comes_twice(tablets: int, schools: int | None) -> None:
    """Each line reads without fault or doubt; numbers are valid and unique; holders have one tablet each."""
    body = "".join(sample.lines(tablets, schools=schools)).encode("cp932")
    entries = [read_entry(row) for row in csvfile.read_rows(io.BytesIO(body))]
    assert len(entries) == tablets
    assert all(isinstance(entry, Entry) and entry.doubt is None for entry in entries)
    for field in ("control_number", "serial", "imei", "iccid"):
        assert len({getattr(entry, field) for entry in entries}) == tablets
    holders = [entry.user_id for entry in entries if entry.user_id]
    assert len(set(holders)) == len(holders)
    assert all(luhn.is_valid(entry.imei) and luhn.is_valid(entry.iccid) for entry in entries)


def test_a_district_of_15000_has_40_schools_of_all_kinds() -> None:
    """About 40 schools: elementary, junior high and one for special needs, with classes of a plausible size."""
    schools = sample.district(15_000, sample.default_schools(15_000))
    assert len(schools) == 40
    assert sum(school.tablets for school in schools) == 15_000
    assert Counter(school.code[0] for school in schools) == {"E": 26, "J": 13, "S": 1}
    classes = Counter(
        (row[Column.SCHOOL_CODE], row[Column.YEAR], row[Column.CLASS])
        for row in sample.rows(15_000)
        if row[Column.YEAR]
    )
    assert min(classes.values()) >= 15
    assert max(classes.values()) <= 45


def test_the_stream_does_not_wait_for_its_end() -> None:
    """The first lines of a large district come at once: it is made line by line."""
    lines = sample.lines(200_000)
    assert next(lines).startswith("管理番号,")
    assert next(lines).startswith("T000001,")
