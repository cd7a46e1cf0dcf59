"""A tablet that has everything installed is asked, in the same conversation, what it holds."""

from tests.mdm_apple.district import Answer, District, Tablet

HELD = {"ProfileList": [{"PayloadIdentifier": "a", "PayloadUUID": "1"}]}
ENFORCED = {"GlobalRestrictions": {"restrictedBool": {"allowChat": {"value": False}}}}


def install(tablet: Tablet, answer: Answer | None = None) -> Answer:
    """Acknowledge profiles until something else is asked; return that."""
    answer = answer or tablet.idle()
    while answer.request_type in ("InstallProfile", "RemoveProfile"):
        answer = tablet.report("Acknowledged", answer.command_id)
    return answer


def rows(district: District) -> list[object]:
    return district.all("SELECT manifest, status, healed_at FROM verification")


def test_it_is_asked_once_at_once_and_without_another_push(district: District) -> None:
    """ProfileList, Restrictions, and the wake-up is over; the answers are kept."""
    tablet = district.enrolled()
    manifest = district.desire(tablet, {"a": b"A1"})
    answer = install(tablet)
    assert answer.command == {"RequestType": "ProfileList"}
    answer = tablet.report("Acknowledged", answer.command_id, **HELD)
    assert answer.command == {"RequestType": "Restrictions"}
    assert tablet.report("Acknowledged", answer.command_id, **ENFORCED).body == b""
    assert district.one("SELECT count(*) FROM wakeup") == 0
    assert rows(district) == [(manifest, "asked", None)]
    kept = district.one("SELECT body FROM device_report WHERE kind = 'inventory_restrictions'")
    assert kept == ENFORCED["GlobalRestrictions"]
    assert tablet.idle().body == b""


def test_another_manifest_is_asked_about_again(district: District) -> None:
    """Each has its own proof."""
    tablet = district.enrolled()
    for body in (b"A1", b"A2"):
        manifest = district.desire(tablet, {"a": body})
        answer = install(tablet)
        assert answer.request_type == "ProfileList"
        answer = tablet.report("Acknowledged", answer.command_id, **HELD)
        tablet.report("Acknowledged", answer.command_id, **ENFORCED)
    assert rows(district) == [(manifest, "asked", None)]
    assert district.one("SELECT count(*) FROM command WHERE kind = 'inventory_restrictions'") == 2


def test_nothing_installed_is_nothing_to_prove(district: District) -> None:
    """An empty manifest asks nothing and takes the old proof away."""
    tablet = district.enrolled()
    district.desire(tablet, {"a": b"A1"})
    answer = install(tablet)
    answer = tablet.report("Acknowledged", answer.command_id, **HELD)
    tablet.report("Acknowledged", answer.command_id, **ENFORCED)
    district.desire(tablet, {})
    assert install(tablet).body == b""
    assert rows(district) == []


def test_a_question_that_waits_already_serves(district: District) -> None:
    """What an operator asked for is not asked for twice."""
    tablet = district.enrolled()
    district.desire(tablet, {"a": b"A1"})
    first = tablet.idle()
    asked = district.order(tablet, "inventory_restrictions", dedupe_key="inventory_restrictions")
    answer = tablet.report("Acknowledged", first.command_id)
    assert (answer.request_type, answer.command_id) == ("Restrictions", str(asked))
    answer = install(tablet, tablet.report("NotNow", answer.command_id))
    assert answer.request_type == "ProfileList"
    tablet.report("Acknowledged", answer.command_id, **HELD)
    assert district.one("SELECT count(*) FROM command WHERE kind = 'inventory_restrictions'") == 1


def test_a_conversation_that_breaks_off_is_taken_up_again_at_leisure(district: District) -> None:
    """Without a wake-up of its own the tablet gets a late one; with one, that stays."""
    tablet = district.enrolled()
    district.desire(tablet, {"a": b"A1"})
    district.connection.execute("DELETE FROM wakeup")
    assert install(tablet).request_type == "ProfileList"
    assert district.all("SELECT lane, due_at > now() + interval '50 minutes' FROM wakeup") == [(2, True)]


def test_a_new_enrolment_forgets_the_proof(district: District) -> None:
    """It holds nothing of ours then."""
    tablet = district.enrolled()
    district.desire(tablet, {"a": b"A1"})
    install(tablet)
    tablet.certificate = district.authority.issue()
    district.register(tablet.certificate, device_id=tablet.device_id)
    tablet.enroll()
    assert rows(district) == []
