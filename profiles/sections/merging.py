"""The merge rules that fields carry, and what each does to two values. Pure; layers are put in order elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo


class MergeRule(StrEnum):
    """How a field of two layers becomes one; each is associative and idempotent."""

    STRICTEST = "strictest"
    """The tighter value wins, whichever layer says it: a class cannot loosen what the fleet forbids."""
    UNION = "union"
    """Entries of both layers; of two entries with one key the nearer layer's wins, but a label is kept."""
    REPLACE = "replace"
    """The layer nearest to the tablet decides alone."""


@dataclass(frozen=True, slots=True)
class Strictness:
    """Which of two values of a STRICTEST field is tighter; a mark beside the rule. Without it: deny, and true."""

    meaning: str
    """For the documentation: `higher` reads as "the higher value is stricter"."""
    measure: Callable[[Any], Any]
    """The tighter value has the larger measure."""


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


HIGHER: Final = Strictness("higher", lambda number: number)
LOWER: Final = Strictness("lower", lambda number: -number)
NEWER: Final = Strictness("newer", _version)


def ranked(*loose_to_strict: object) -> Strictness:
    """A mark for words that have an order, from the loosest to the strictest."""
    words = [str(word) for word in loose_to_strict]
    return Strictness(f"in the order {', '.join(words)}", lambda word: words.index(str(word)))


# `allow` and `deny` are words, so that their order is said here once. The same holds for false and true.
_USUAL: Final = {"allow": 0, "deny": 1, False: 0, True: 1}


def rule_of(field: FieldInfo) -> MergeRule:
    """The merge rule that the schema gives a field."""
    return next(mark for mark in field.metadata if isinstance(mark, MergeRule))


def strictness_of(field: FieldInfo) -> Strictness | None:
    """The declared direction of a STRICTEST field; None where `deny` or `true` is the stricter."""
    return next((mark for mark in field.metadata if isinstance(mark, Strictness)), None)


def joined(field: FieldInfo, wide: Any, near: Any) -> Any:
    """Merge two values of one field by its rule, the nearer layer's second; None is silence and never wins."""
    if wide is None or near is None:
        return near if wide is None else wide
    match rule_of(field):
        case MergeRule.STRICTEST:
            return stricter(field, wide, near)
        case MergeRule.UNION:
            return in_order((*wide, *near))
        case MergeRule.REPLACE:
            return near


def stricter(field: FieldInfo, one: Any, other: Any) -> Any:
    """The tighter of two values of a STRICTEST field."""
    mark = strictness_of(field)
    return max(one, other, key=_USUAL.__getitem__ if mark is None else mark.measure)


def in_order(entries: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sort the entries of a UNION field, each key once: the later entry wins, but keeps an earlier one's label."""
    by_key: dict[Any, Any] = {}
    for entry in entries:
        key = key_of(entry)
        by_key[key] = _labelled(by_key.get(key), entry)
    return tuple(by_key[key] for key in sorted(by_key))


def key_of(entry: Any) -> Any:
    """What makes two entries of a list the same one: a part says it by its `key`, text is its own key."""
    return entry.key if isinstance(entry, BaseModel) else entry  # type: ignore[attr-defined]


def _labelled(earlier: Any, later: Any) -> Any:
    label = getattr(earlier, "label", None)
    if label is None or getattr(later, "label", None) is not None:
        return later
    return later.model_copy(update={"label": label})
