"""The pretended portal's files: late and corrected, and in the end what the witness says."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from simulator.clouds.carrier_script import Script
from simulator.clouds.lines import invented_numbers
from simulator.clouds.usage_files import HEADER, UsageFiles

NOON = datetime(2026, 5, 20, 3, tzinfo=UTC)


@pytest.mark.parametrize("encoding", ["cp932", "utf-8-sig"])
def test_the_last_figure_of_all_files_is_the_witness_s(encoding):
    """Taken in the order in which they came out, each line and day ends with the true bytes."""
    numbers = invented_numbers(60, seed=3)
    script = Script(late=0.1, guessed=0.1, doubled=0.1)
    portal = UsageFiles(numbers, seed=3, script=script, clock=lambda: NOON, encoding=encoding)
    last = NOON.date() - timedelta(days=6)
    first = last - timedelta(days=20)
    files = portal.deliveries(first, last)
    taken = {}
    rows = 0
    for file in files:
        for row in csv.DictReader(io.StringIO(file.body.decode(encoding), newline="")):
            assert list(row) == list(HEADER)
            day = row["利用日"].replace("/", "-")
            taken[row["ICCID"].strip('="'), day] = int(row["通信量(バイト)"])
            rows += 1
    witness = portal.lines.witness(first, last)
    assert taken == {(iccid, day): used for iccid, days in witness.items() for day, used in days.items()}
    assert rows > len(taken)
    names = [file.name for file in files]
    assert any("correction" in name for name in names)
    assert names != sorted(names)


def test_what_is_not_out_yet_is_not_handed_out():
    """Yesterday's file is there in the morning, today's is not, and a correction comes two days later."""
    portal = UsageFiles(invented_numbers(60), clock=lambda: NOON)
    yesterday = NOON.date() - timedelta(days=1)
    names = [file.name for file in portal.deliveries(yesterday, NOON.date())]
    assert names in ([f"usage_{yesterday:%Y%m%d}.csv"], [])
    assert not [name for name in names if "correction" in name]
