"""Schools, classes and holders: what lists show, what is sealed, and what a holder may consist of (R-26)."""

import pytest
from sqlalchemy import text
from sqlmodel import Session

from mdm.auth import Scope
from mdm.errors import NotFound
from mdm.organization import holders, schools
from mdm.organization.holders import Person
from mdm.organization.models import Holder

ALL = Scope(all_schools=True)


@pytest.fixture
def district(session: Session) -> Session:
    schools.write_schools(session, {"E001": "青葉小学校", "E002": "泉小学校"})
    schools.write_classes(session, [("E001", 2, "1"), ("E001", 1, "2"), ("E001", 1, "1"), ("E001", 1, "1")])
    holders.write_people(
        session, [Person("p1", "E001", 1, "2", "青葉　海"), Person("t1", "E001", None, None, "泉　樹")]
    )
    return session


def test_a_holder_is_exactly_the_approved_items() -> None:
    """A holder has school, class (which holds the year), user id and name; anything more needs approval (R-26)."""
    assert set(Holder.model_fields) == {"id", "school_id", "class_id", "user_id", "name_sealed"}
    assert set(Person.__slots__) == {"user_id", "school_code", "year", "class_name", "name"}


def test_classes_are_listed_by_year_with_their_holders(district: Session) -> None:
    """Classes come once each, by year and name, with the number of holders in them."""
    found = schools.list_classes(district, ALL, "E001")
    assert [(each.year, each.name, each.holders) for each in found] == [(1, "1", 0), (1, "2", 1), (2, "1", 0)]


def test_scope_holds_in_every_list(district: Session) -> None:
    """A school outside the scope is not found, by list or by code."""
    id_ = schools.find_school(district, ALL, "E001").id
    scope = Scope(all_schools=False, school_ids=frozenset([id_]))
    assert [school.code for school in schools.list_schools(district, scope)] == ["E001"]
    assert schools.list_schools(district, Scope(all_schools=False)) == []
    for ask in (schools.find_school, schools.list_classes):
        with pytest.raises(NotFound):
            ask(district, scope, "E002")


def test_writing_twice_renames_and_adds_nothing(district: Session) -> None:
    """Schools and holders are written over by their keys."""
    schools.write_schools(district, {"E001": "青葉台小学校"})
    holders.write_people(district, [Person("p1", "E002", None, None, "朝倉　凛")])
    assert [school.name for school in schools.list_schools(district, ALL)] == ["青葉台小学校", "泉小学校"]
    person = holders.sealed_people(district)["p1"].opened(with_name=True)
    assert person == Person("p1", "E002", None, None, "朝倉　凛")
    assert district.execute(text("SELECT count(*) FROM holder")).scalar_one() == 2


def test_names_are_sealed_and_values_do_not_show_them(district: Session) -> None:
    """The table holds no name in clear, and neither does the text of a value that carries one."""
    sealed = holders.sealed_people(district)["p1"]
    assert "青葉".encode() not in sealed.name_sealed
    assert "青葉" not in repr(sealed.opened(with_name=True))
    assert sealed.opened(with_name=False).name == ""
    id_ = district.execute(text("SELECT id FROM holder WHERE user_id = 'p1'")).scalar_one()
    assert holders.open_name(district, id_) == "青葉　海"
    with pytest.raises(NotFound):
        holders.open_name(district, 0)
