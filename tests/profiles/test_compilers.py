"""What every platform's compiler promises; one suite, run for each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.platform import Platform
from profiles.compilers import compiler
from profiles.layers import merge
from profiles.policy import Permission, Sections, Store, Usb

SWITCH = st.sampled_from([None, Permission.ALLOW, Permission.DENY])
HOSTS = st.none() | st.lists(st.sampled_from([f"h{n}.example.com" for n in range(6)]), max_size=4)
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "apps": st.just({"allowlist": [{"bundle_id": "a.a"}]}),
        "store": st.fixed_dictionaries({}, optional=dict.fromkeys(Store.model_fields, SWITCH)),
        "usb": st.fixed_dictionaries({}, optional=dict.fromkeys(Usb.model_fields, SWITCH)),
        "web_filter": st.fixed_dictionaries(
            {}, optional={"adult_filter": st.none() | st.booleans(), "deny_list": HOSTS, "allow_list": HOSTS}
        ),
    },
)
VERSIONS = st.none() | st.sampled_from(["", "12.0", "14.5", "17.4", "26.1", "newer"])
FACTS = st.fixed_dictionaries({"supervised": st.none() | st.booleans(), "os_version": VERSIONS})


@pytest.fixture(params=list(Platform))
def compiling(request):
    """Each platform's compiler."""
    return compiler(request.param)


@given(said=SECTIONS, known=FACTS)
@pytest.mark.parametrize("platform", list(Platform))
def test_compiling_is_total_and_deterministic(platform, said, known):
    """Any policy for any tablet: the same bytes each time, one artifact per identifier, in order."""
    compiling, policy = compiler(platform), Sections.model_validate(said)
    outcome = compiling.compile_policy(policy, compiling.facts(**known))
    assert outcome == compiling.compile_policy(Sections.model_validate(said), compiling.facts(**known))
    identifiers = [artifact.identifier for artifact in outcome.artifacts]
    assert identifiers == sorted(set(identifiers))
    assert outcome == compiling.compile_policy(merge(policy, policy), compiling.facts(**known))


@given(said=SECTIONS, known=FACTS)
@pytest.mark.parametrize("platform", list(Platform))
def test_every_denial_is_delivered_or_owned_up_to(platform, said, known):
    """Nothing that a policy denies disappears without a word."""
    compiling, policy = compiler(platform), Sections.model_validate(said)
    outcome = compiling.compile_policy(policy, compiling.facts(**known))
    wished = {
        f"/{section}/{name}"
        for section in ("store", "usb")
        for name, value in (said.get(section) or {}).items()
        if value is Permission.DENY
    }
    missing = {wish.pointer for wish in outcome.cannot}
    without = {**said}
    for place in wished - missing:
        section, name = place[1:].split("/")
        without[section] = {key: value for key, value in without[section].items() if key != name}
    if wished - missing:
        less = compiling.compile_policy(Sections.model_validate(without), compiling.facts(**known))
        assert less.artifacts != outcome.artifacts


def test_what_is_known_only_matters_in_a_handful_of_ways(compiling):
    """Facts that change no artifact are not told apart."""
    versions = [f"{major}.{minor}.{patch}" for major in range(9, 30) for minor in range(8) for patch in range(3)]
    found = {compiling.facts(supervised=state, os_version=text) for text in versions for state in (None, False, True)}
    assert len(found) <= 30
