"""What only SORACOM's interface has: exports that fail or are slow, and lines found by other names."""

from datetime import timedelta

import pytest

from mdm.cellular.carriers.soracom_export import usage_of
from mdm.cellular.carriers.values import Act, By, Refused, SimKey, Unclear
from mdm.cellular.models import ActionKind, CarrierKind, SimStatus
from simulator.clouds.carrier_script import Fault, Mishap
from tests.contract.carriers import line_to

HEAD = "imsi,date,type,uploadByteSizeTotal,uploadPacketCountTotal,downloadByteSizeTotal,downloadPacketCountTotal,名前\n"


@pytest.fixture
def line():
    with line_to(CarrierKind.SORACOM, 30, export_takes_s=12) as made:
        yield made


def test_an_export_that_is_being_made_is_waited_for(line):
    """While the file is not there yet a page is empty and says when to ask again."""
    connection, today = line.connection(), line.cloud.lines.today()
    page = line.carrier.usage(connection, first=today, last=today, cursor=None)
    page = line.carrier.usage(connection, first=today, last=today, cursor=page.cursor)
    assert not page.items
    assert page.wait_s > 0
    line.clock.passes(seconds=13)
    page = line.carrier.usage(connection, first=today, last=today, cursor=page.cursor)
    assert page.items
    assert page.cursor is None


def test_an_export_that_is_gone_is_ordered_again(line):
    """A file that the carrier no longer has, or no longer gives out, is ordered anew and nothing is left out."""
    connection, today = line.connection(), line.cloud.lines.today()
    page = line.carrier.usage(connection, first=today - timedelta(days=1), last=today, cursor=None)
    line.clock.passes(seconds=13)
    line.cloud._exports.clear()
    page = line.carrier.usage(connection, first=today - timedelta(days=1), last=today, cursor=page.cursor)
    assert not page.items
    assert page.cursor is not None
    assert page.wait_s > 1
    found = line.all_usage(connection, today - timedelta(days=1), today)
    assert sum(usage.total for usage in found) == sum(
        used for days in line.cloud.lines.witness(today - timedelta(days=1), today).values() for used in days.values()
    )


@pytest.mark.parametrize("by", [By.ICCID, By.IMSI, By.MSISDN])
def test_a_line_is_found_by_its_other_names(line, by):
    """An act for a line that is known by another name than the carrier's reaches it and no other."""
    one = line.cloud.lines.all[7]
    connection = line.connection()
    key = SimKey(by, {By.ICCID: one.iccid, By.IMSI: one.imsi, By.MSISDN: one.msisdn}[by])
    line.carrier.act(connection, Act(ActionKind.SUSPEND, key), idempotency_key="one")
    assert line.carrier.sim(connection, key).status is SimStatus.SUSPENDED
    assert [order.iccid for order in line.cloud.orders] == [one.iccid]
    with pytest.raises(Refused):
        line.carrier.sim(connection, SimKey(by, key.value[:8]))


def test_a_download_with_a_mishap_is_fetched_again_later(line):
    """A break in the middle of the file leaves the cursor where it was."""
    connection, today = line.connection(), line.cloud.lines.today()
    line.cloud.script.faults = [Fault(Mishap.GARBAGE, on="/exports/", times=1)]
    with pytest.raises(Unclear):
        line.all_usage(connection, today, today)


@pytest.mark.parametrize(
    "rows",
    [
        "440100070000001,2026-05-01,s1.fast,1,1,1,1,\n",
        "440100070000001,20260501,s1.fast,-1,1,1,1,\n",
        "440100070000001,20260501,s1.fast,1.5,1,1,1,\n",
        "440100070000001,20260501,s1.fast\n",
        "440100070000001,20260501,s1.fast,1,1,1,1,\n440100070000001,20260501,s1.fast,2,1,1,1,\n",
        '"440100070000001,20260501,s1.fast,1,1,1,1,\n',
    ],
)
def test_a_file_in_another_form_is_unclear(rows, line):
    """Figures that are not whole numbers, days in another form, broken rows and two figures for one are not guessed."""
    day = line.cloud.lines.today()
    with pytest.raises(Unclear):
        usage_of((HEAD + rows).encode("utf-8-sig"), day, day)
