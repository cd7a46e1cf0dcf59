"""The golden files of the compiler for Android: what each invented policy becomes on each kind of tablet.

`python -m tests.profiles.android_golden` writes them anew; the difference is then read like any other change, because
a changed digest is one more patch of a policy, and every tablet under it fetches it.
"""

import hashlib
import json
from pathlib import Path

import yaml

from profiles import android
from profiles.sections import Sections

FOLDER = Path(__file__).parent / "golden" / "android"
KINDS = (
    *((True, version) for version in ("7", "8", "9", "10", "12", "13", "14", "15", "16")),
    *((False, version) for version in ("12", "16")),
)


def policies() -> dict[str, Sections]:
    """The invented policies by name."""
    written = yaml.safe_load((FOLDER / "policies.yaml").read_text(encoding="utf-8"))
    return {name: Sections.model_validate(body) for name, body in written.items()}


def golden(policy: Sections) -> str:
    """The golden file of one policy: tablets that get the same stand together."""
    kinds: dict[str, list[str]] = {}
    for managed, version in KINDS:
        known = android.facts(supervised=managed, os_version=version, control_number="T-00001")
        outcome = android.compile_policy(policy, known)
        (artifact,) = outcome.artifacts
        told = {
            "cannot": [f"{wish.pointer}: {wish.reason}" for wish in outcome.cannot],
            "policy": json.loads(artifact.body),
            "sha256": hashlib.sha256(artifact.body).hexdigest(),
        }
        kind = f"{'fully managed' if managed else 'work profile'} {version}"
        kinds.setdefault(json.dumps(told, ensure_ascii=False, sort_keys=True), []).append(kind)
    listed = [{"tablets": tablets, **json.loads(outcome)} for outcome, tablets in kinds.items()]
    return json.dumps(listed, ensure_ascii=False, indent=1) + "\n"


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
