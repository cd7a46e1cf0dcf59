"""The golden files of the compiler for iPadOS: what each invented policy becomes on each kind of tablet.

`python -m tests.profiles.apple_golden` writes them anew; the difference is then read like any other change, because
each changed digest is a profile that every tablet of such a kind installs again.
"""

import base64
import hashlib
import json
import plistlib
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from profiles import apple
from profiles.compiled import Compiled
from profiles.sections import Sections

FOLDER = Path(__file__).parent / "golden" / "apple"
VERSIONS = ("15.8", "16.7", "17.7", "18.3", "26.1", "27.0")
_ENVELOPE = ("PayloadIdentifier", "PayloadUUID", "PayloadVersion")


def policies() -> dict[str, Sections]:
    """The invented policies by name."""
    written = yaml.safe_load((FOLDER / "policies.yaml").read_text(encoding="utf-8"))
    return {name: Sections.model_validate(body) for name, body in written.items()}


def golden(policy: Sections) -> str:
    """The golden file of one policy: tablets that get the same stand together."""
    kinds: dict[str, list[str]] = {}
    for supervised in (True, False):
        for version in VERSIONS:
            known = apple.facts(supervised=supervised, os_version=version, control_number="T-00001")
            outcome = json.dumps(_readable(apple.compile_policy(policy, known)), ensure_ascii=False, sort_keys=True)
            kinds.setdefault(outcome, []).append(f"{'supervised' if supervised else 'unsupervised'} {version}")
    told = [{"tablets": tablets, **json.loads(outcome)} for outcome, tablets in kinds.items()]
    return json.dumps(told, ensure_ascii=False, indent=1) + "\n"


def _readable(outcome: Compiled) -> dict[str, Any]:
    return {
        "cannot": {wish.pointer: wish.reason for wish in outcome.cannot},
        "profiles": {
            artifact.identifier: {"sha256": hashlib.sha256(artifact.body).hexdigest(), **_content(artifact.body)}
            for artifact in outcome.artifacts
        },
    }


def _content(body: bytes) -> dict[str, Any]:
    profile = plistlib.loads(body)
    payloads = [
        {key: _plain(value) for key, value in payload.items() if key not in _ENVELOPE}
        for payload in profile["PayloadContent"]
    ]
    ends = {"RemovalDate": _plain(profile["RemovalDate"])} if "RemovalDate" in profile else {}
    return {"payloads": payloads, **ends}


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return {"data": base64.b64encode(value).decode()}
        case datetime():
            return value.isoformat() + "Z"
        case dict():
            return {key: _plain(member) for key, member in value.items()}
        case list():
            return [_plain(member) for member in value]
        case _:
            return value


def write() -> None:
    """Replace every golden file, and remove those of policies that are gone."""
    wanted = policies()
    for path in FOLDER.glob("*.json"):
        if path.stem not in wanted:
            path.unlink()
    for name, policy in wanted.items():
        (FOLDER / f"{name}.json").write_text(golden(policy), encoding="utf-8")


if __name__ == "__main__":
    write()
