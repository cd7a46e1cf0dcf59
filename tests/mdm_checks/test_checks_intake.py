"""What handheld scanners and spreadsheets send, and worse: through the door, no failure and no wrong tablet."""

import random
import threading

import pytest
from sqlalchemy import text

from mdm import db
from mdm.checks import evidence
from mdm.checks.evidence import MAX_LINES

from .conftest import outcomes, tasks

JUNK = ("", " ", ",", ";", "\t", '"', "'", "=A01", "'=A01", "\x00", "\ufeff", "\u2028", "\x85", "\u3000", "A01 A02")
JUNK += ("\uff19\uff19", "A" * 33, "A" * 5000, "😀", "管理番号", "control_number", "-1", "1E5", "\r", "%s", ":id", "{}")
GOOD = ("A01", "A02", "A03", "A04", "B01", "B02")


@pytest.fixture
def send(running):
    """Send a file to a running check; returns the answer."""
    path = running()

    def post(content, **params):
        headers = {"Content-Type": "text/csv"}
        return running.api.post(f"{path}/scans/file", content=content, headers=headers, params=params)

    post.path, post.api = path, running.api
    return post


@pytest.mark.parametrize(
    "content",
    [
        b"A01\nA02\n",
        b"A01\r\nA02",
        b"A01\rA02\r",
        b"\xef\xbb\xbfA01\r\n\r\n  A02  \r\n",
        "管理番号,備考\nA01,教室\nA02,\n".encode("cp932"),
        "備考;管理番号\n教室;A01\n;A02\n".encode(),
        b"2026-04-13\tcontrol_number\nx\tA01\ny\tA02\n",
        b'"control_number"\n"A01"\n"A02"\n',
        "\uff21\uff10\uff11\n\uff21\uff10\uff12\n".encode("cp932"),
        b"A01,2026/04/13 10:00\nA02,2026/04/13 10:01\n",
    ],
)
def test_scanners_write_in_many_ways(send, content):
    """Line ends, byte order marks, CP932, separators, headers, full width: the same two tablets."""
    assert outcomes(send(content)) == [("A01", "verified"), ("A02", "verified")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n\n , \n", "no control number"),
        (b"control_number\n", "no control number"),
        ("A01\nA02\n".encode("utf-16"), "UTF-16"),
        (b"A01\n\x81\x20\n", "neither UTF-8 nor CP932"),
        (b'A01\n"A02', "line 2"),
        (b"A01\n" * (MAX_LINES + 1), "1,000 lines"),
        (b"A" * (257 * 1024), "KiB"),
    ],
)
def test_what_is_no_list_is_refused_whole(send, content, said):
    """A file that cannot be read is refused in a sentence, and nothing of it is taken."""
    answer = send(content)
    assert answer.status_code == 400
    assert said in answer.json()["detail"]
    assert send.api.get(f"{send.path}/evidence").json()["items"] == []


def test_a_line_is_told_by_its_number_in_the_file(send):
    """Lines are counted as an editor counts them, header and empty ones too; a thousand are fine."""
    answer = send(b"control_number\n\nA01\n\nA99\n")
    assert [(line["line"], line["outcome"]) for line in answer.json()["lines"]] == [(3, "verified"), (5, "unknown")]
    many = send("".join(f"Q{number}\n" for number in range(MAX_LINES)).encode())
    assert many.json()["counts"] == {"unknown": MAX_LINES}


@pytest.mark.parametrize("seed", range(15))
def test_whatever_comes_is_answered(send, session, seed):
    """Random lists of good numbers and junk in random encodings: what is told verified is verified, nothing else."""
    dice = random.Random(seed)
    lines = [dice.choice(GOOD if dice.random() < 0.4 else JUNK) for _ in range(dice.randint(1, 60))]
    encoding = dice.choice(("utf-8", "utf-8-sig", "cp932", "utf-16-le", "latin-1"))
    content = dice.choice(("\n", "\r\n", "\r")).join(lines).encode(encoding, errors="ignore")
    answer = send(content[: dice.randint(1, len(content))] if content and dice.random() < 0.3 else content)
    assert answer.status_code in (200, 400), answer.text
    taken = set() if answer.status_code == 400 else {n for n, outcome in outcomes(answer) if outcome == "verified"}
    assert taken <= set(GOOD)
    session.rollback()
    assert set(tasks(send.api, send.path, status="verified")) == taken
    # As JSON there is no encoding to mistake: exactly the good ones are taken, whatever stands beside them.
    again = outcomes(send.api.post(f"{send.path}/scans", json={"control_numbers": [line[:200] for line in lines]}))
    assert {number for number, outcome in again if outcome in ("verified", "again")} == set(lines) & set(GOOD)


def test_half_characters_are_no_number(send):
    """A lone surrogate in JSON is refused or answered as no number: no failure."""
    headers = {"Content-Type": "application/json"}
    body = b'{"control_numbers": ["\\ud800", "A01"]}'
    answer = send.api.post(f"{send.path}/scans", content=body, headers=headers)
    assert answer.status_code in (200, 422), answer.text


def test_numbers_at_once_and_twice(running, session, speak, time, fleet):
    """Scans of the same tablets from several hands beside the job: each is verified once, all are on record."""
    path = running()
    time.go(hours=1)
    speak("A01", "A02", "B01")
    session.rollback()
    wrong = []

    def scan():
        answer = running.api.post(f"{path}/scans", json={"control_numbers": ["B01", "A04", "A02", "A01"]})
        if answer.status_code != 200:
            wrong.append(answer.text)

    def take():
        with db.transaction() as own:
            evidence.take_checkins(own)

    hands = [threading.Thread(target=act) for act in (scan, take, scan, take, scan)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join(30)
    assert wrong == []
    assert set(tasks(running.api, path, status="verified")) == {"A01", "A02", "A04", "B01"}
    kinds = session.execute(text("SELECT kind, count(*), count(DISTINCT device_id) FROM check_evidence GROUP BY kind"))
    counts = {kind: (rows, tablets) for kind, rows, tablets in kinds}
    assert counts["scan"] == (12, 4)
    assert counts.get("checkin", (0, 0))[0] == counts.get("checkin", (0, 0))[1]  # at most one of each tablet


def test_a_scan_while_a_check_is_closed(running, fleet):
    """A scan and a closing at the same moment: the scan is in the frozen report or refused, never half of it."""
    path = running()
    answers = {}

    def act(name, what, body):
        answers[name] = running.api.post(f"{path}/{what}", json=body)

    hands = [
        threading.Thread(target=act, args=("scan", "scans", {"control_numbers": ["A01", "A02"]})),
        threading.Thread(target=act, args=("close", "close", None)),
    ]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join(30)
    assert answers["close"].status_code == 200
    verified = set(tasks(running.api, path, status="verified"))
    assert (answers["scan"].status_code, verified) in [(200, {"A01", "A02"}), (409, set())]
