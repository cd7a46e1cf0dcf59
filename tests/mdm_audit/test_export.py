"""An export carries what is needed to verify it on a machine that has neither the database nor our secrets."""

import http.server
import json
import threading
from datetime import timedelta

import pytest

from mdm import clock
from mdm.audit import checkpoints, export
from mdm.audit.verification import Fault
from mdm.settings import get_settings
from workers import auditing


@pytest.fixture
def exported(tabane, tmp_path):
    """Export the trail into a file."""

    def run(*words):
        file = tmp_path / f"export{len(list(tmp_path.glob('*.jsonl')))}.jsonl"
        ran = tabane("export", "--out", file, *words)
        assert ran.exit_code == 0, ran.output
        return file

    return run


def _proofs(evidence, *, secret_keys=False) -> export.Proofs:
    return export.Proofs(
        public_keys=evidence / "signing.pub",
        checkpoints=(evidence / "checkpoints.jsonl",),
        witnesses=(evidence / "witness.jsonl",),
        secret_keys=get_settings().secret_key_file if secret_keys else None,
    )


def _faults(file, proofs) -> set[Fault]:
    with file.open("rb") as stream:
        return {finding.fault for finding in export.verify(stream, proofs).findings}


def test_whole_trail(write, exported, evidence):
    """An export of all verifies with public keys and witnesses alone, and is itself the last act on record."""
    write(3)
    auditing.look()
    file = exported()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert (lines[0]["format"], len(lines)) == ("tabane audit 1", 5)
    assert (lines[-1]["action"], lines[-1]["actor"]) == ("audit.export", "operator:kansa")
    write(1)
    with file.open("rb") as stream:
        verdict = export.verify(stream, _proofs(evidence))
    assert (verdict.intact, verdict.last, verdict.signed_to, verdict.witnessed_to) == (True, 4, 3, 4)


def test_from_the_middle(write, exported, evidence):
    """A range of time verifies by itself, and by the witnesses of its own part of the trail."""
    write(3)
    since = clock.now()
    write(2)
    until = clock.now()
    write(2)
    file = exported("--from", since.isoformat(), "--to", until.isoformat())
    with file.open("rb") as stream:
        verdict = export.verify(stream, _proofs(evidence, secret_keys=True))
    assert (verdict.intact, verdict.events, verdict.last, verdict.witnessed_to) == (True, 2, 5, 5)
    empty = exported("--from", (until + timedelta(days=1)).isoformat())
    assert _faults(empty, _proofs(evidence)) == set()


@pytest.mark.parametrize(("gone", "expected"), [(slice(2, 3), Fault.UNLINKED), (slice(4, None), Fault.CUT)])
def test_lines_taken_out(write, exported, evidence, gone, expected):
    """Lines that were taken out of an export, in the middle or at its end, show."""
    write(5)
    file = exported()
    lines = file.read_text().splitlines(keepends=True)
    del lines[gone]
    file.write_text("".join(lines))
    assert expected in _faults(file, _proofs(evidence))


def test_rewritten_export(write, exported, evidence, tamper, rechain):
    """An export of a trail whose digests were all made anew contradicts a signature, without any secret at hand."""
    write(3)
    auditing.look()
    write(2)
    tamper("UPDATE audit_event SET actor = 'operator:other' WHERE id = 2")
    rechain()
    file = exported()
    assert Fault.CONTRADICTED in _faults(
        file, export.Proofs(evidence / "signing.pub", (evidence / "checkpoints.jsonl",))
    )
    assert Fault.FORGED in _faults(file, _proofs(evidence, secret_keys=True))


def test_other_keys(write, exported, evidence, tmp_path, tabane):
    """Checkpoints that the keys at hand did not sign count as false."""
    write(2)
    auditing.look()
    file = exported()
    assert tabane("keys", "--new", tmp_path / "other.key", tmp_path / "other.pub").exit_code == 0
    proofs = export.Proofs(tmp_path / "other.pub", (evidence / "checkpoints.jsonl",))
    assert _faults(file, proofs) == {Fault.FALSE_WITNESS}


def test_command_line(write, exported, evidence, tabane, tamper):
    """`audit verify` here, by the API and of an export: quiet and 0 while intact, one line and 1 when not."""
    write(3)
    signed = tabane("checkpoint", "--json")
    assert json.loads(signed.output)["sequence"] == 3
    file = exported()
    apart = [
        "verify",
        "--export",
        file,
        "--public-keys",
        evidence / "signing.pub",
        "--witness",
        evidence / "witness.jsonl",
    ]
    apart += ["--checkpoints", evidence / "checkpoints.jsonl"]
    for words in (["verify"], ["verify", "--api"], apart):
        ran = tabane(*words, "--json")
        assert (ran.exit_code, json.loads(ran.output)["signed_to"]) == (0, 3), ran.output
        assert "intact: 4 events" in tabane(*words).output
    assert (evidence / "signing.pub").read_text() in tabane("keys").output
    tamper("DELETE FROM audit_event WHERE id = 4")
    for words in (["verify"], ["verify", "--api"]):
        ran = tabane(*words)
        assert (ran.exit_code, len(ran.stderr.splitlines())) == (1, 1)
        assert "place 4 cut" in ran.stderr
    assert tabane("checkpoint").exit_code == 1


def test_openssl_agrees(write, evidence, openssl, tmp_path):
    """A checkpoint can be checked by another tool: Ed25519 over a heading and canonical JSON."""
    write(1)
    _, signed = auditing.look()
    (tmp_path / "statement").write_bytes(checkpoints.statement(signed))
    (tmp_path / "signature").write_bytes(signed.signature)
    key = ["-pubin", "-inkey", evidence / "signing.pub"]
    said = openssl(
        "pkeyutl", "-verify", *key, "-rawin", "-in", tmp_path / "statement", "-sigfile", tmp_path / "signature"
    )
    assert b"Verified Successfully" in said


def test_posted_elsewhere(write, evidence, monkeypatch):
    """Each checkpoint is posted to the other system that is set; one that is down stops nothing."""
    got: list[bytes] = []

    class Other(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Other)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("TABANE_AUDIT__CHECKPOINT_URL", f"http://127.0.0.1:{server.server_port}/")
    get_settings.cache_clear()
    write(1)
    _, signed = auditing.look()
    server.shutdown()
    thread.join()
    server.server_close()
    assert got == [signed.line()]
    _, signed = auditing.look()
    assert signed is not None
    assert (evidence / "checkpoints.jsonl").read_bytes().splitlines()[-1] == signed.line()
