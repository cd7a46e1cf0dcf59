"""The support desk at work through either of its doors: the operator API, or `tabane case` on the command line."""

import json
from typing import Any

from typer.testing import CliRunner

from mdm.cli import build
from tests.journeys.district import District

Case = dict[str, Any]


class ByApi:
    """The first administrator's own requests."""

    def __init__(self, district: District) -> None:
        self.district = district

    def open(self, kind: str, serial: str) -> Case:
        """Open a case of a guardian who was called back."""
        body = {"kind": kind, "serial": serial, "caller": "guardian", "verified": "call_back"}
        return self._ask("POST", "", body)

    def show(self, case: Case) -> Case:
        return self._ask("GET", f"/{case['id']}")

    def message(self, case: Case, message: str, phone: str) -> None:
        self._ask("POST", f"/{case['id']}/message", {"message": message, "phone_number": phone})

    def ask_where(self, case: Case) -> Case:
        return self._ask("POST", f"/{case['id']}/locate", {})

    def look_where(self, case: Case) -> Case:
        return self._ask("GET", f"/{case['id']}/location")

    def sound(self, case: Case) -> None:
        self._ask("POST", f"/{case['id']}/sound", {})

    def wipe(self, case: Case) -> Case:
        return self._ask("POST", f"/{case['id']}/wipe", {"reason": "a journey"})

    def found(self, case: Case) -> Case:
        return self._ask("POST", f"/{case['id']}/found", {})

    def write_off(self, case: Case, police_report: str) -> Case:
        return self._ask("POST", f"/{case['id']}/written-off", {"police_report_no": police_report})

    def swap(self, case: Case, control_number: str) -> Case:
        return self._ask("POST", f"/{case['id']}/swap", {"control_number": control_number})

    def undo_swap(self, case: Case) -> Case:
        return self._ask("POST", f"/{case['id']}/swap/undo")

    def send(self, case: Case, order: str) -> None:
        body = {"order_number": order, "vendor": "Invented Repairs", "sent_on": "2026-04-01"}
        self._ask("POST", f"/{case['id']}/repairs", body)

    def back(self, case: Case) -> Case:
        return self._ask("POST", f"/{case['id']}/repairs/back", {"back_on": "2026-04-08"})

    def close(self, case: Case, outcome: str) -> Case:
        return self._ask("POST", f"/{case['id']}/close", {"outcome": f"closed_{outcome}"})

    def report(self, case: Case) -> str:
        return json.dumps(self._ask("GET", f"/{case['id']}/incident-report"), ensure_ascii=False)

    def _ask(self, method: str, path: str, body: Any = None) -> Case:
        return dict(self.district.first.ask(method, f"/cases{path}", **({} if body is None else {"json": body})))


class ByCli:
    """The same person's command line; TABANE_URL and TABANE_TOKEN say who and where."""

    def open(self, kind: str, serial: str) -> Case:
        return self._told("open", kind, "--serial", serial, "--caller", "guardian", "--verified", "call_back")

    def show(self, case: Case) -> Case:
        return self._told("show", case["id"])

    def message(self, case: Case, message: str, phone: str) -> None:
        self._told("message", case["id"], "--message", message, "--phone", phone)

    def ask_where(self, case: Case) -> Case:
        return self._told("locate", case["id"], "--ask")

    def look_where(self, case: Case) -> Case:
        return self._told("locate", case["id"])

    def sound(self, case: Case) -> None:
        self._told("sound", case["id"])

    def wipe(self, case: Case) -> Case:
        return self._told("wipe", case["id"], "--reason", "a journey")

    def found(self, case: Case) -> Case:
        return self._told("found", case["id"])

    def write_off(self, case: Case, police_report: str) -> Case:
        return self._told("written-off", case["id"], "--police-report", police_report)

    def swap(self, case: Case, control_number: str) -> Case:
        return self._told("swap", case["id"], control_number)

    def undo_swap(self, case: Case) -> Case:
        return self._told("swap", case["id"], "--undo")

    def send(self, case: Case, order: str) -> None:
        self._told("repair", case["id"], "--order", order, "--vendor", "Invented Repairs", "--on", "2026-04-01")

    def back(self, case: Case) -> Case:
        return self._told("repair", case["id"], "--back", "--on", "2026-04-08")

    def close(self, case: Case, outcome: str) -> Case:
        return self._told("close", case["id"], outcome)

    def report(self, case: Case) -> str:
        return self.run("export", case["id"], "report")

    def _told(self, *words: Any) -> Case:
        return dict(json.loads(self.run(*words, "--json")))

    @staticmethod
    def run(*words: Any, status: int = 0) -> str:
        """Run `tabane case` and return what it prints."""
        result = CliRunner().invoke(build("case"), ("case", *map(str, words)), prog_name="tabane")
        assert result.exit_code == status, result.output
        return result.output


Desk = ByApi | ByCli
