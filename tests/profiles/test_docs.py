"""The generated pages of docs/policy say what the code says."""

from pathlib import Path

import pytest

from mdm.platform import Platform
from profiles import docs
from profiles.compilers import compiler
from profiles.policy import Sections, pointer
from profiles.sections.schema import section_model

FOLDER = Path(__file__).parents[2] / "docs" / "policy"
POINTERS = {
    pointer(section, name)
    for section, field in Sections.model_fields.items()
    for name in section_model(field.annotation).model_fields
}


PAGES = docs.pages()


@pytest.mark.parametrize("name", PAGES)
def test_the_page_in_the_repository_is_the_generated_one(name):
    """`python -m profiles.docs` was run after the last change of schema, compilers, presets or catalogue."""
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name]


def test_no_page_is_left_of_a_section_that_is_gone():
    """What lies in the folder is what is generated."""
    assert {f"sections/{path.name}" for path in (FOLDER / "sections").iterdir()} == {
        name for name in PAGES if name.startswith("sections/")
    }


@pytest.mark.parametrize("platform", Platform)
def test_each_compiler_says_for_every_field_what_it_does(platform):
    """A new field without an answer fails here, and so does an answer to a field that is gone."""
    support = compiler(platform).support()
    assert set(support) == POINTERS
    assert all(support.values())


def test_writing_makes_the_same_files(tmp_path):
    """The command writes all pages and nothing else."""
    docs.write(tmp_path)
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == set(PAGES)


def test_every_field_of_a_section_is_explained():
    """Services speak for themselves; every other field has a sentence."""
    unsaid = [
        pointer(section, name)
        for section, field in Sections.model_fields.items()
        for name, part in section_model(field.annotation).model_fields.items()
        if section != "sns_mail" and not part.description
    ]
    assert unsaid == []
