"""`tabane policy compile`: compiled profiles and policies as files, for anyone to check with other tools.

Without a serial number it needs no server. It stores nothing but the files it was asked for.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from mdm.cli.client import connected, fail
from mdm.cli.policy_text import read_file
from mdm.platform import Platform
from profiles.compiled import Compiled
from profiles.compilers import compiler
from profiles.layers import Excepted, Said, check_sizes, effective
from profiles.policy import Layer, LayerKind, PolicyDocument, read
from profiles.sections import HIDDEN, Sections

_SUFFIXES = {"apple": ".mobileconfig"}
_PLACEHOLDER = "(hidden)"


def compile_(
    file: Annotated[str, typer.Option("--file", "-f", help="Policy file (YAML); - for standard input.")],
    out: Annotated[Path, typer.Option(help="The folder to write into.")],
    *,
    platform: Annotated[Platform | None, typer.Option(help="Needed without --serial.")] = None,
    serial: Annotated[str | None, typer.Option(help="A tablet: its facts and its other layers are asked for.")] = None,
    layer: Annotated[str | None, typer.Option(help="school=CODE or class=CODE/6/1: which layers of the file.")] = None,
    supervised: Annotated[bool | None, typer.Option("--supervised/--unsupervised")] = None,
    os_version: Annotated[str | None, typer.Option(help="The newest when absent.")] = None,
    control_number: Annotated[str | None, typer.Option(help="For texts that name the tablet.")] = None,
) -> None:
    """Write the compiled profiles or policies of a file, and cannot.json beside them."""
    documents = read_file(file)
    if serial is not None:
        said, facts = _of_tablet(documents, serial)
        if platform is not None and platform.value != facts["platform"]:
            fail(f"{serial} is not an {platform.value} tablet")
        platform = Platform(facts["platform"])
        supervised = facts["supervised"] if supervised is None else supervised
        os_version = os_version or facts["os_version"]
    else:
        said = [Said(each.name, each.layer, each.sections()) for each in _one_chain(documents, layer)]
    if platform is None:
        fail("name a --platform, or a tablet with --serial", code=2)
    sections = effective(said).sections
    check_sizes(sections)
    known = compiler(platform).facts(supervised=supervised, os_version=os_version)
    if sections.screen is not None and sections.screen.per_tablet:
        known = replace(known, control_number=control_number)
    _write(out, platform, compiler(platform).compile_policy(sections, known))


def _write(out: Path, platform: Platform, outcome: Compiled) -> None:
    suffix = _SUFFIXES.get(platform.value, ".json")
    cannot = [{"pointer": wish.pointer, "reason": wish.reason} for wish in outcome.cannot]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for artifact in outcome.artifacts:
            name = re.sub(r"[^A-Za-z0-9._-]", "_", artifact.identifier) + suffix
            (out / name).write_bytes(artifact.body)
            print(f"{name}: {len(artifact.body)} bytes")
        (out / "cannot.json").write_text(json.dumps(cannot, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        fail(f"{out}: {error.strerror}")
    print(f"cannot.json: {len(cannot)} wishes that this tablet cannot fulfil")


def _one_chain(documents: Sequence[PolicyDocument], layer: str | None) -> list[PolicyDocument]:
    """The documents that speak to one tablet of a layer; without a layer the file must hold but one of each kind."""
    if layer is None:
        kinds = [document.layer.kind for document in documents]
        if len(set(kinds)) < len(kinds):
            fail("the file speaks to several places; name one with --layer", code=2)
        return list(documents)
    try:
        place = Layer.parse(layer)
    except ValueError:
        fail("the layer is not understood: write fleet, school=CODE or class=CODE/6/1", code=2)
    speaking = {"fleet", str(place)}
    if place.kind is LayerKind.CLASS:
        speaking.add(f"school={place.key.partition('/')[0]}")
    return [document for document in documents if str(document.layer) in speaking]


def _of_tablet(documents: Sequence[PolicyDocument], serial: str) -> tuple[list[Said | Excepted], dict[str, Any]]:
    """What would speak to a tablet if the file were stored and rolled out; also what is known of the tablet."""
    with connected() as api:
        found = api.get("/api/v1/effective-policy", serial=serial)
    fresh = {document.name: document for document in documents if str(document.layer) in found["layers"]}
    said: list[Said | Excepted] = [Said(each.name, each.layer, each.sections()) for each in fresh.values()]
    for voice in found["voices"]:
        document, layer = _with_placeholders(voice["document"]), Layer.parse(voice["layer"])
        if voice["exception"]:
            halves = (_half(document[name], layer) for name in ("set", "without"))
            said.append(Excepted(voice["name"], layer, *halves))
        elif voice["name"] not in fresh:
            said.append(Said(voice["name"], layer, read(document).sections()))
    return said, found


def _half(sections: dict[str, Any], layer: Layer) -> Sections:
    if not sections:
        return Sections()
    return read({"version": 1, "name": "exception", "layer": {layer.kind.value: layer.key}, **sections}).sections()


def _with_placeholders(value: Any) -> Any:
    """Passwords never leave the server: what is compiled from it here carries a word in their place."""
    if isinstance(value, dict):
        return {key: _with_placeholders(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_placeholders(part) for part in value]
    return _PLACEHOLDER if value == HIDDEN else value
