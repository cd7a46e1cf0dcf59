"""The kinds of carriers, each with its pretended service."""

import pytest

from tests.contract.carriers import KINDS, MANY, line_to


@pytest.fixture(params=list(KINDS), ids=str)
def kind(request):
    return request.param


@pytest.fixture
def line(kind):
    with line_to(kind, MANY) as made:
        yield made
