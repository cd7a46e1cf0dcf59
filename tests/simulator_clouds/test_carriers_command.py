"""`tabane-sim carriers`: a process with two carriers and a portal, as the demo starts it."""

import json
import re
import subprocess
import sys

import httpx2
import pytest

from simulator.clouds.lines import invented_numbers


@pytest.fixture
def running(tmp_path):
    accounts = ("soracom", "control_center", "files")
    lines = [
        {"account": accounts[index % 3], "iccid": iccid, "imei": imei}
        for index, (iccid, imei) in enumerate(invented_numbers(9))
    ]
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "soracom.json").write_text(json.dumps({"authKeyId": "keyId-x", "authKey": "secret-x"}))
    (tmp_path / "control-center.json").write_text(json.dumps({"username": "x", "api_key": "key-x"}))
    command = [sys.executable, "-m", "simulator", "carriers", "--lines", str(tmp_path / "lines.jsonl")]
    command += ["--secrets", str(tmp_path), "--files", str(tmp_path / "files"), "--days", "10"]
    command += ["--sims", str(tmp_path / "sims.csv")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield tmp_path, lines, re.findall(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        finally:
            process.terminate()
            process.wait(20)


def test_two_carriers_answer_and_the_portal_has_put_out_its_files(running):
    """Each carrier lets its own key in and has its own third of the lines; the files are in the folder, whole."""
    folder, lines, (soracom, control_center) = running
    with httpx2.Client(timeout=10) as client:
        body = {"authKeyId": "keyId-x", "authKey": "secret-x"}
        session = client.post(f"{soracom}/v1/auth", json=body).json()
        headers = {"X-Soracom-API-Key": session["apiKey"], "X-Soracom-Token": session["token"]}
        listed = client.get(f"{soracom}/v1/sims", headers=headers).json()
        params = {"modifiedSince": "2000-01-01T00:00:00+00:00"}
        devices = client.get(f"{control_center}/rws/api/v1/devices", params=params, auth=("x", "key-x")).json()
    assert [sim["activeProfileId"] for sim in listed] == [line["iccid"] for line in lines[::3]]
    assert {device["iccid"] for device in devices["devices"]} == {line["iccid"] for line in lines[1::3]}
    names = {file.name for file in (folder / "files").iterdir()}
    assert len(names) >= 8
    assert not [name for name in names if not name.startswith("usage_")]
    assert len((folder / "sims.csv").read_bytes().splitlines()) == 1 + 3
