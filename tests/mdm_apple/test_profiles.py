"""Desired state at the door: the difference is worked off one step at a time, and only the latest counts."""

from tests.mdm_apple.district import Answer, District, Tablet


def work_off(tablet: Tablet, answer: Answer) -> list[tuple[str, object]]:
    """Acknowledge everything; return which profiles were to be installed and removed."""
    done: list[tuple[str, object]] = []
    while answer.body:
        if answer.request_type not in ("ProfileList", "Restrictions"):  # asked whenever all is installed
            done.append((str(answer.request_type), answer.command.get("Payload") or answer.command.get("Identifier")))
        answer = tablet.report("Acknowledged", answer.command_id)
    return done


def test_a_manifest_is_installed_and_then_complete(district: District) -> None:
    """Each profile once, then the manifest counts as installed and the wake-up is over."""
    tablet = district.enrolled()
    manifest = district.desire(tablet, {"b": b"B1", "a": b"A1"})
    assert work_off(tablet, tablet.idle()) == [("InstallProfile", b"A1"), ("InstallProfile", b"B1")]
    assert bytes(district.enrollment(tablet, "installed_manifest")) == manifest
    assert district.one("SELECT count(*) FROM wakeup") == 0
    assert tablet.idle().body == b""


def test_only_what_changed_is_touched_and_what_is_gone_is_removed(district: District) -> None:
    """An unchanged profile is not installed again."""
    tablet = district.enrolled()
    district.desire(tablet, {"a": b"A1", "b": b"B1", "c": b"C1"})
    work_off(tablet, tablet.idle())
    district.desire(tablet, {"a": b"A1", "b": b"B2"})
    assert work_off(tablet, tablet.idle()) == [("InstallProfile", b"B2"), ("RemoveProfile", "c")]
    district.desire(tablet, {})
    assert work_off(tablet, tablet.idle()) == [("RemoveProfile", "a"), ("RemoveProfile", "b")]
    assert district.one("SELECT count(*) FROM device_profile") == 0


def test_a_tablet_that_slept_gets_only_the_latest(district: District) -> None:
    """Two rollouts went by; one profile is installed."""
    tablet = district.enrolled()
    for version in (b"A1", b"A2", b"A3"):
        district.desire(tablet, {"a": version})
    assert work_off(tablet, tablet.idle()) == [("InstallProfile", b"A3")]


def test_the_same_wish_keeps_its_command_id_and_a_new_wish_gets_another(district: District) -> None:
    """A lost answer repeats the same order; a late word about the old one changes nothing about the new one."""
    tablet = district.enrolled()
    district.desire(tablet, {"a": b"A1"})
    first = tablet.idle().command_id
    assert tablet.idle().command_id == first
    district.desire(tablet, {"a": b"A2"})
    second = tablet.idle().command_id
    assert second != first
    assert tablet.report("Acknowledged", first).command_id == second
    assert work_off(tablet, tablet.report("Acknowledged", second)) == []
    assert tablet.report("Error", second).body == b""
    assert district.one("SELECT status FROM device_profile") == "installed"


def test_what_failed_is_not_tried_again_until_something_else_is_wanted(district: District) -> None:
    """The others go on, the manifest is not complete, the tablet is left in peace."""
    tablet = district.enrolled()
    district.desire(tablet, {"a": b"A1", "b": b"B1"})
    answer = tablet.report("Error", tablet.idle().command_id, ErrorChain=[{"ErrorCode": 4001, "ErrorDomain": "MC"}])
    assert work_off(tablet, answer) == [("InstallProfile", b"B1")]
    assert district.enrollment(tablet, "installed_manifest") is None
    assert district.one("SELECT count(*) FROM wakeup") == 0
    assert tablet.idle().body == b""
    assert district.one("SELECT error FROM device_profile WHERE identifier = 'a'") == [
        {"ErrorCode": 4001, "ErrorDomain": "MC"}
    ]
    district.desire(tablet, {"a": b"A2", "b": b"B1"})
    assert work_off(tablet, tablet.idle()) == [("InstallProfile", b"A2")]


def test_a_profile_that_is_put_off_comes_again_at_the_next_session(district: District) -> None:
    """NotNow: the rest goes on, the tablet is woken later, and the order keeps its id."""
    tablet = district.enrolled()
    district.desire(tablet, {"a": b"A1", "b": b"B1"})
    first = tablet.idle().command_id
    assert work_off(tablet, tablet.report("NotNow", first)) == [("InstallProfile", b"B1")]
    assert 600 < district.one("SELECT extract(epoch FROM due_at - now()) FROM wakeup") <= 900
    assert tablet.idle().command_id == first


def test_all_profiles_that_were_put_off_come_in_one_later_session(district: District) -> None:
    """A second profile that was put off does not wait for another wake-up."""
    tablet = district.enrolled()
    district.desire(tablet, {"a": b"A1", "b": b"B1"})
    assert tablet.report("NotNow", tablet.report("NotNow", tablet.idle().command_id).command_id).body == b""
    district.connection.execute("UPDATE device_profile SET changed_at = changed_at - interval '15 minutes'")
    assert work_off(tablet, tablet.idle()) == [("InstallProfile", b"A1"), ("InstallProfile", b"B1")]


def test_commands_go_before_profiles(district: District) -> None:
    """A lock does not wait for a policy."""
    tablet = district.enrolled()
    district.desire(tablet, {"a": b"A1"})
    district.order(tablet, "lock_screen", lane=0)
    answer = tablet.idle()
    assert answer.request_type == "DeviceLock"
    assert tablet.report("Acknowledged", answer.command_id).request_type == "InstallProfile"


def test_an_install_in_doubt_that_is_no_longer_wanted_is_removed(district: District) -> None:
    """It may have landed; a tablet that says it is not there is believed."""
    tablet = district.enrolled()
    district.desire(tablet, {"a": b"A1"})
    tablet.idle()
    manifest = district.desire(tablet, {})
    answer = tablet.idle()
    assert (answer.request_type, answer.command["Identifier"]) == ("RemoveProfile", "a")
    assert tablet.report("Error", answer.command_id).body == b""
    assert bytes(district.enrollment(tablet, "installed_manifest")) == manifest


def test_work_that_comes_in_meanwhile_keeps_the_wake_up(district: District) -> None:
    """A check-in that saw less does not clear what came later."""
    tablet = district.enrolled()
    district.desire(tablet, {"a": b"A1"})
    answer = tablet.idle()
    district.connection.execute("UPDATE wakeup SET due_at = now(), generation = generation + 1")
    assert work_off(tablet, tablet.report("Acknowledged", answer.command_id)) == []
    assert district.one("SELECT count(*) FROM wakeup") == 0  # seen with its new generation: nothing was left
    district.desire(tablet, {"a": b"A2"})
    assert district.is_due(tablet)
