"""The README's map against the tree."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
NAMED = set(re.findall(r"`((?:[a-z_]+/)*(?:[a-z_]+\.(?:py|md)|[a-z_]+/))`", TEXT))


def test_what_the_readme_names_is_there() -> None:
    """Every folder and module that the README names exists, by its path or somewhere under its name."""
    assert len(NAMED) > 40
    assert [name for name in sorted(NAMED) if not (ROOT / name).exists() and not list(ROOT.glob(f"*/**/{name}"))] == []


def test_every_room_is_on_the_map() -> None:
    """Each folder of the house stands on the map."""
    rooms = [path.parent for path in ROOT.glob("mdm/*/__init__.py")]
    rooms += [ROOT / name for name in ("enrollment", "profiles", "workers", "simulator", "bench", "tests", "deploy")]
    assert [room.name for room in rooms if f"{room.relative_to(ROOT)}/" not in NAMED] == []
