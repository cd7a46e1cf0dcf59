"""What every platform's compiler promises; one suite, run for each."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdm.platform import Platform
from profiles.compilers import compiler
from profiles.layers import merge
from profiles.policy import pointer
from profiles.sections import Permission, Sections
from tests.profiles.documents import SECTIONS

VERSIONS = st.none() | st.sampled_from(["", "8.1", "12.0", "14.5", "17.4", "26.1", "newer"])
FACTS = st.fixed_dictionaries({"supervised": st.none() | st.booleans(), "os_version": VERSIONS})
WISHES = [
    (section, name, field)
    for section, part in Sections.model_fields.items()
    # The switches of an examination speak only of the single application beside them.
    if section != "exam"
    for name, field in part.annotation.__args__[0].model_fields.items()
]
DENIALS = [(section, name, "deny") for section, name, field in WISHES if Permission in field.annotation.__args__]
DEMANDS = [(section, name, True) for section, name, field in WISHES if bool in field.annotation.__args__]

ELSE = {"apps": {"required": [{"bundle_id": "a.a", "package": "a.a"}]}}
"""What stands beside each wish: some speak of required applications only."""


@pytest.fixture(params=list(Platform))
def compiling(request):
    """Each platform's compiler."""
    return compiler(request.param)


@given(said=SECTIONS, known=FACTS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@pytest.mark.parametrize("platform", list(Platform))
def test_compiling_is_total_and_deterministic(platform, said, known):
    """Any policy for any tablet: the same bytes each time, one artifact per identifier, in order."""
    compiling = compiler(platform)
    outcome = compiling.compile_policy(said, compiling.facts(**known))
    assert outcome == compiling.compile_policy(said.model_copy(deep=True), compiling.facts(**known))
    identifiers = [artifact.identifier for artifact in outcome.artifacts]
    assert identifiers == sorted(set(identifiers))
    assert outcome == compiling.compile_policy(merge(said, said), compiling.facts(**known))


@pytest.mark.parametrize(("section", "name", "strict"), DENIALS + DEMANDS)
def test_every_denial_is_delivered_or_owned_up_to(compiling, section, name, strict):
    """Nothing that a policy denies or demands disappears without a word, whatever the tablet."""
    said = {**ELSE, section: {**ELSE.get(section, {}), name: strict}}
    at_rest = compiling.support()[pointer(section, name)].startswith("nothing")
    for supervised, os_version in ((None, None), (False, None), (True, ""), (False, "")):
        facts = compiling.facts(supervised=supervised, os_version=os_version)
        before = compiling.compile_policy(Sections.model_validate(ELSE), facts)
        outcome = compiling.compile_policy(Sections.model_validate(said), facts)
        owned_up = pointer(section, name) in {wish.pointer for wish in outcome.cannot}
        assert outcome.artifacts != before.artifacts or owned_up or at_rest


def test_every_field_says_what_the_platform_does_with_it(compiling):
    """The documentation has a sentence for each field and platform."""
    said = compiling.support()
    assert [place for section, name, _ in WISHES if not said.get(place := pointer(section, name))] == []


def test_what_is_known_only_matters_in_a_handful_of_ways(compiling):
    """Facts that change no artifact are not told apart."""
    versions = [f"{major}.{minor}.{patch}" for major in range(9, 30) for minor in range(8) for patch in range(3)]
    found = {compiling.facts(supervised=state, os_version=text) for text in versions for state in (None, False, True)}
    assert len(found) <= 30
