"""What chains of policies come to, kept by content: a change recompiles only the chains and facts that it touches.

It decides nothing and reads no database. Everything here can be forgotten at any time; it is only made again.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

from mdm.commands import artifacts
from mdm.platform import Platform
from profiles.compiled import Facts
from profiles.compilers import compiler
from profiles.layers import Effective, Excepted, Said, effective
from profiles.sections import Sections

Name = bytes
"""SHA-256 of a stored revision, or the id of an exception: the same name is the same content for ever."""
Chain = tuple[Name, ...]

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


@dataclass(slots=True)
class _Kept(Generic[_Key, _Value]):
    """The most recently used values; threads may share it."""

    most: int
    values: OrderedDict[_Key, _Value] = field(default_factory=OrderedDict)
    lock: Lock = field(default_factory=Lock)

    def get(self, key: _Key) -> _Value | None:
        with self.lock:
            if key in self.values:
                self.values.move_to_end(key)
            return self.values.get(key)

    def put(self, key: _Key, value: _Value) -> _Value:
        with self.lock:
            self.values[key] = value
            self.values.move_to_end(key)
            while len(self.values) > self.most:
                self.values.popitem(last=False)
        return value


# A district has some 250 chains and a handful of facts; a manifest that carries a wallpaper may weigh a megabyte.
_voices: _Kept[Name, Said | Excepted] = _Kept(50_000)
_merged: _Kept[Chain, Effective] = _Kept(2000)
_drafts: _Kept[tuple[Platform, Chain, Facts, bool], artifacts.Draft] = _Kept(2000)


def unknown(names: Iterable[Name]) -> set[Name]:
    """Which of these have to be read and given to `learn`."""
    return {name for name in names if _voices.get(name) is None}


def learn(name: Name, voice: Said | Excepted) -> None:
    """Keep what a revision or exception says."""
    _voices.put(name, voice)


def merged(chain: Chain) -> Effective:
    """Return the merge of a chain, made at most once; its voices were learnt just before."""
    return _merged.get(chain) or _merged.put(chain, effective(voices(chain)))


def voices(chain: Chain) -> list[Said | Excepted]:
    """What each name of a chain says, in no particular order; KeyError for one that was not learnt."""
    found = [_voices.get(name) for name in chain]
    if any(voice is None for voice in found):
        raise KeyError("a voice of the chain was not learnt")
    return [voice for voice in found if voice is not None]


def draft(platform: Platform, chain: Chain, facts: Facts, sections: Sections, *, at_exam: bool) -> artifacts.Draft:
    """Return the manifest that a merged chain gives tablets of these facts, compiled at most once.

    `sections` are the chain's, with the examination taken out when `at_exam` is false.
    """
    if facts.control_number is not None:  # nobody shares it: keeping it would push out what is shared
        return compiled(platform, sections, facts)
    key = (platform, chain, facts, at_exam)
    return _drafts.get(key) or _drafts.put(key, compiled(platform, sections, facts))


def compiled(platform: Platform, sections: Sections, facts: Facts) -> artifacts.Draft:
    """Compile without keeping."""
    outcome = compiler(platform).compile_policy(sections, facts)
    return artifacts.draft(
        platform,
        [artifacts.Parcel(artifact.identifier, artifact.body) for artifact in outcome.artifacts],
        [(wish.pointer, wish.reason) for wish in outcome.cannot],
    )


def forget() -> None:
    """Drop everything, as a fresh process has it."""
    for kept in (_voices, _merged, _drafts):
        with kept.lock:
            kept.values.clear()
