"""What only ICMS has: options without which nothing is asked, and a unit of usage that an account states."""

import pytest

from mdm.cellular.carriers.values import Refused
from mdm.cellular.models import CarrierKind
from simulator.clouds.icms import GROUPS, TENANT
from tests.contract.carriers import line_to


@pytest.fixture
def line():
    with line_to(CarrierKind.ICMS, 6) as made:
        yield made


def test_options_as_the_command_line_gives_them(line):
    """Groups parted by a comma and a unit in digits are read, and usage is in bytes."""
    today = line.cloud.lines.today()
    plain = {usage.key: usage.total for usage in line.all_usage(line.connection(), today, today)}
    given = {"tenant_id": TENANT, "sim_groups": ", ".join(GROUPS), "usage_unit_bytes": "1024"}
    connection = line.connection(options={**given, "keystone_url": f"{line.url}/keystone"})
    found = {usage.key: usage.total for usage in line.all_usage(connection, today, today)}
    assert found == {key: total * 1024 for key, total in plain.items()}


@pytest.mark.parametrize(
    "change",
    [
        {"sim_groups": []},
        {"tenant_id": ""},
        {"keystone_url": ""},
        {"keystone_url": "http://keystone.invented.example"},
        {"usage_unit_bytes": "KB"},
    ],
)
def test_options_that_are_missing_or_unfit_are_refused_in_words(line, change):
    """An account that is not set up to its end is told so; no secret goes to an address without protection."""
    options = {"tenant_id": TENANT, "sim_groups": list(GROUPS), "keystone_url": f"{line.url}/keystone"} | change
    today = line.cloud.lines.today()
    with pytest.raises(Refused, match="option"):
        line.all_usage(line.connection(options=options), today, today)
    assert not [call for call in line.cloud.journal if "tokens" not in call.path]
