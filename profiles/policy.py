"""The neutral policy document: what people write, checked with errors that name the field.

It knows no platform: the compilers say what a platform cannot do with it. It reads no files and no database.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails

from mdm.errors import Invalid
from profiles.sections import (
    MAX_APPS,
    MAX_ENTRIES,
    AppRef,
    Apps,
    MergeRule,
    Part,
    Permission,
    Sections,
    Store,
    Usb,
    WebFilter,
)
from profiles.sections.schema import published

__all__ = [
    "MAX_APPS",
    "MAX_ENTRIES",
    "AppRef",
    "Apps",
    "Layer",
    "LayerKind",
    "MergeRule",
    "Permission",
    "PolicyDocument",
    "Sections",
    "Store",
    "Usb",
    "WebFilter",
    "json_schema",
    "pointer",
    "read",
    "read_all",
]

MAX_KEY = 100


class LayerKind(StrEnum):
    """The layers, from the widest to the nearest."""

    FLEET = "fleet"
    SCHOOL = "school"
    CLASS = "class"
    SERIAL = "serial"


class Layer(Part):
    """Whom a policy speaks to: `fleet`, or one school, class or tablet by its key in the ledger."""

    kind: LayerKind
    key: str = ""

    def __str__(self) -> str:
        return self.kind.value if self.kind is LayerKind.FLEET else f"{self.kind.value}={self.key}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `fleet`, `school=CODE`, `class=CODE/6/1` or `serial=S`; raises ValueError with a sentence."""
        kind, equals, key = text.partition("=")
        return cls.model_validate(_layer({kind: key} if equals else kind))


_LAYER_FORMS = 'write fleet, {school: "CODE"}, {class: "CODE/6/1"} or {serial: "S"}'
_LAYER_SCHEMA: dict[str, Any] = {
    "description": _LAYER_FORMS,
    "anyOf": [
        {"const": "fleet"},
        *(
            {
                "type": "object",
                "properties": {kind: {"type": "string"}},
                "required": [kind],
                "additionalProperties": False,
            }
            for kind in ("school", "class", "serial")
        ),
    ],
}
_CLASS_KEY = re.compile(r"[^/\s]+/[^/\s]+/[^/\s]+")


def _layer(value: object) -> object:
    if isinstance(value, Layer):
        return value
    if value == LayerKind.FLEET:
        return Layer(kind=LayerKind.FLEET)
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ValueError(_LAYER_FORMS)
    kind, key = next(iter(value.items()))
    if kind not in (LayerKind.SCHOOL, LayerKind.CLASS, LayerKind.SERIAL):
        raise ValueError(_LAYER_FORMS)
    if not isinstance(key, str):
        raise ValueError(f'the {kind} must be text; write it in quotes: {{{kind}: "{key}"}}')  # noqa: TRY004
    key = key.strip()
    if not key or len(key) > MAX_KEY:
        raise ValueError(f"the {kind} is empty or too long")
    if kind == LayerKind.CLASS and not _CLASS_KEY.fullmatch(key):
        raise ValueError('a class is named school/grade/class, for example {class: "CODE/6/1"}')
    # The ledger keeps serial numbers in upper case.
    return Layer(kind=LayerKind(kind), key=key.upper() if kind == LayerKind.SERIAL else key)


def _written_layer(layer: Layer) -> object:
    return "fleet" if layer.kind is LayerKind.FLEET else {layer.kind.value: layer.key}


class PolicyDocument(Sections):
    """One policy as written: version of the format, its name, the layer it speaks for, and the sections."""

    version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    layer: Annotated[
        Layer,
        BeforeValidator(_layer),
        PlainSerializer(_written_layer),
        WithJsonSchema(_LAYER_SCHEMA),
    ]
    description: Annotated[str | None, Field(max_length=500)] = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not any(getattr(self, name) is not None for name in Sections.model_fields):
            raise ValueError(f"no section: write one of {', '.join(Sections.model_fields)}")
        return self

    def sections(self) -> Sections:
        """Only what it says, without its name and layer."""
        return Sections(**{name: getattr(self, name) for name in Sections.model_fields})

    def body(self, *, secrets: Callable[[str], object] | None = None) -> dict[str, Any]:
        """The document as JSON values, absent fields left out; secrets are three dots.

        `secrets` writes each secret's plain text instead: storage passes a sealing `{"sealed": …}`, and reads it back
        with `read(…, unseal=…)`.
        """
        return self.model_dump(mode="json", exclude_none=True, context={"secrets": secrets} if secrets else None)


def read(document: object, *, at: str = "", unseal: Callable[[str], str] | None = None) -> PolicyDocument:
    """Check one document; `at` is the pointer to it in a file of several. Raises Invalid with one error per field.

    `unseal` opens the text of `{"sealed": text}` in a stored document; without it, that form is an error.
    """
    try:
        return PolicyDocument.model_validate(document, context={"unseal": unseal} if unseal else None)
    except ValidationError as wrong:
        errors = [_explained(error, at) for error in wrong.errors(include_url=False)]
        raise Invalid("the policy has errors", errors=errors) from None


def read_all(documents: Sequence[object], *, at: str = "") -> list[PolicyDocument]:
    """Check all documents of a file or a request; raises Invalid with the errors of all of them at once."""
    policies: list[PolicyDocument] = []
    errors: list[dict[str, str]] = []
    seen: set[str] = set()
    for number, document in enumerate(documents):
        here = at + pointer(number)
        try:
            policy = read(document, at=here)
        except Invalid as wrong:
            errors += wrong.errors
            continue
        if policy.name in seen:
            errors.append({"pointer": f"{here}/name", "detail": f"two policies are named `{policy.name}`"})
        seen.add(policy.name)
        policies.append(policy)
    if errors:
        raise Invalid("the policies have errors", errors=errors)
    return policies


def json_schema() -> dict[str, Any]:
    """The JSON Schema of one document, for editors: docs/policy/schema.json is this."""
    return published(PolicyDocument)


def pointer(*parts: int | str) -> str:
    """RFC 6901: `~` and `/` inside a name are escaped."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _explained(error: ErrorDetails, at: str) -> dict[str, str]:
    loc = error["loc"]
    kind = error["type"]
    if kind == "extra_forbidden":
        detail = "no such key" + _nearest(loc)
    elif kind == "missing":
        detail = "this key is needed"
    elif kind == "value_error":
        detail = str(error.get("ctx", {}).get("error", error["msg"]))
    elif kind == "literal_error" and loc == ("version",):
        detail = "the version of the format is the number 1"
    elif kind == "string_type":
        detail = "must be text; write it in quotes"
    else:
        detail = error["msg"][:1].lower() + error["msg"][1:]
    return {"pointer": at + pointer(*loc), "detail": detail}


def _nearest(loc: tuple[int | str, ...]) -> str:
    """Suggest the right key among the siblings of a wrong one."""
    model: type[BaseModel] | None = PolicyDocument
    for part in loc[:-1]:
        if model is not None and isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation)
    if model is None:
        return ""
    keys = list(model.model_fields)
    near = difflib.get_close_matches(str(loc[-1]).replace("-", "_").lower(), keys, n=1, cutoff=0.5)
    if near:
        return f"; did you mean `{near[0]}`?"
    elsewhere = [name for name, field in Sections.model_fields.items() if _has(field.annotation, loc[-1])]
    moved = f"; `{loc[-1]}` belongs to `{elsewhere[0]}`" if len(loc) == 2 and elsewhere else ""
    return f"{moved}; the keys here are {', '.join(keys)}"


def _has(section: object, key: object) -> bool:
    model = _model_in(section)
    return model is not None and key in model.model_fields


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for arg in get_args(annotation) if (model := _model_in(arg))), None)
