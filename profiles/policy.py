"""The neutral policy document: what people write, checked with errors that name the field.

It knows no platform: the compilers say what a platform cannot do with it. It reads no files and no database.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails

from mdm.errors import Invalid
from profiles.urls import normal_entry, normal_site

MAX_APPS = 1000
MAX_KEY = 100
MAX_ENTRIES = 500
"""Ceiling of deny entries after merging too: more belongs in a DNS filter (reference: built-in web filter)."""


class Permission(StrEnum):
    """A switch with words, so that no reader wonders what `true` would mean."""

    ALLOW = "allow"
    DENY = "deny"


class MergeRule(StrEnum):
    """How a field of two layers becomes one; each is associative and idempotent."""

    STRICTEST = "strictest"
    """The tighter value wins, whichever layer says it: a class cannot loosen what the fleet forbids."""
    UNION = "union"
    """Entries of both layers; a label of the nearer layer wins."""
    REPLACE = "replace"
    """The layer nearest to the tablet decides alone."""


def _permission(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("write allow or deny, not true or false")  # noqa: TRY004  # pydantic collects ValueErrors
    return value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AppRef(_Part):
    """One application. Other platforms' names will stand beside `bundle_id`, so one entry means one app everywhere."""

    bundle_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,254}$")]
    label: Annotated[str | None, Field(max_length=100)] = None
    """For people who read the file; it never reaches a tablet."""


class Site(_Part):
    """One of the only sites a tablet may open, with the title shown for it."""

    url: Annotated[str, AfterValidator(normal_site)]
    title: Annotated[str, Field(min_length=1, max_length=100)]


def _apps_in_order(apps: tuple[AppRef, ...]) -> tuple[AppRef, ...]:
    by_id = {app.bundle_id: app for app in apps}
    return tuple(by_id[key] for key in sorted(by_id))


def _entries_in_order(entries: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(entries)))


Switch = Annotated[Permission | None, BeforeValidator(_permission), MergeRule.STRICTEST]
EntryList = Annotated[
    tuple[Annotated[str, AfterValidator(normal_entry)], ...] | None,
    Field(max_length=MAX_ENTRIES),
    AfterValidator(lambda entries: entries and _entries_in_order(entries)),
    MergeRule.UNION,
]


class Apps(_Part):
    """Which applications may be seen and opened."""

    allowlist: Annotated[
        tuple[AppRef, ...] | None,
        Field(min_length=1, max_length=MAX_APPS),
        AfterValidator(lambda apps: apps and _apps_in_order(apps)),
        MergeRule.UNION,
    ] = None
    """Present: only these. A school's or class's list is added to the fleet's."""


class Store(_Part):
    """Where software may come from, and what may leave. `deny` closes a way (R-23)."""

    install_apps: Switch = None
    storefront: Switch = None
    remove_apps: Switch = None
    remove_system_apps: Switch = None
    in_app_purchases: Switch = None
    media_store: Switch = None
    book_store: Switch = None
    app_clips: Switch = None
    automatic_downloads: Switch = None
    developer_trust: Switch = None
    other_marketplaces: Switch = None
    web_distribution: Switch = None
    manual_profiles: Switch = None
    account_changes: Switch = None


class Usb(_Part):
    """What may be plugged in (R-24)."""

    external_storage: Switch = None
    host_pairing: Switch = None


class WebFilter(_Part):
    """The filter that the tablet itself carries, in school and at home (R-21)."""

    adult_filter: Annotated[StrictBool | None, MergeRule.STRICTEST] = None
    deny_list: EntryList = None
    allow_list: EntryList = None
    """Exceptions that the adult filter would stop; it opens nothing that the deny list names."""
    only_sites: Annotated[tuple[Site, ...] | None, Field(min_length=1, max_length=MAX_ENTRIES), MergeRule.REPLACE] = (
        None
    )
    """Present: nothing else opens."""


class Sections(_Part):
    """The sections of a policy; an absent one says nothing, and so does an absent field."""

    apps: Apps | None = None
    store: Store | None = None
    usb: Usb | None = None
    web_filter: WebFilter | None = None


class LayerKind(StrEnum):
    """The layers, from the widest to the nearest."""

    FLEET = "fleet"
    SCHOOL = "school"
    CLASS = "class"
    SERIAL = "serial"


class Layer(_Part):
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
        WithJsonSchema({"description": _LAYER_FORMS}),
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

    def body(self) -> dict[str, Any]:
        """The document as JSON values, absent fields left out: what a revision stores and a digest covers."""
        return self.model_dump(mode="json", exclude_none=True)


def read(document: object, *, at: str = "") -> PolicyDocument:
    """Check one document; `at` is the pointer to it in a file of several. Raises Invalid with one error per field."""
    try:
        return PolicyDocument.model_validate(document)
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
    return f"; did you mean `{near[0]}`?" if near else f"; the keys here are {', '.join(keys)}"


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for arg in get_args(annotation) if (model := _model_in(arg))), None)
