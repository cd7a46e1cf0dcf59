"""Strategies for whole policies: every section and every field, drawn from the schema itself. Invented data only."""

import datetime as dt
import enum
import types
import typing

from hypothesis import strategies as st
from pydantic import BaseModel, NaiveDatetime, SecretStr

from profiles.policy import PolicyDocument, Sections
from profiles.sections import DnsFilter, FolderIcon, Icon, PluginFilter, Proxy, WifiNetwork

HOSTS = st.sampled_from([f"h{n}.example.{top}" for n in range(3) for top in ("com", "jp")])
URLS = HOSTS.map("https://{}/".format)
TITLES = st.sampled_from(["Robot", "学習", "A b"])
BUNDLES = st.sampled_from(["a.a", "com.example.c"])
PACKAGES = st.sampled_from(["a.a", "com.example.d"])
APPS = st.one_of(
    st.fixed_dictionaries({"bundle_id": BUNDLES}, optional={"label": TITLES}),
    st.fixed_dictionaries({"package": PACKAGES}, optional={"label": TITLES}),
    st.fixed_dictionaries({"bundle_id": BUNDLES, "package": PACKAGES}),
)
MOMENTS = st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2028, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0)
)
SECRETS = st.sampled_from(["invented-secret-1", "invented-secret-2"])
PEM = """\
-----BEGIN CERTIFICATE-----
MIHYMIGLoAMCAQICAQEwBQYDK2VwMBYxFDASBgNVBAMMC0ludmVudGVkIENBMB4X
DTI2MDEwMTAwMDAwMFoXDTQ2MDEwMTAwMDAwMFowFjEUMBIGA1UEAwwLSW52ZW50
ZWQgQ0EwKjAFBgMrZXADIQDIPgUUO1tNjD5JLWspfXzH3ihGFOcb6Sr9/hlAt7Yu
qjAFBgMrZXADQQDKiZKktJP2mWQ4GSSG6U4EVzB6d/ITMMU1L6W9Dd2fV3dN1B13
xJnv8wbQ12cZu9zgv6ttHsddim0VvfXXb6wF
-----END CERTIFICATE-----
"""
LATER = dt.timedelta(hours=2)


def some(strategy, *, least=1, most=3):
    return st.lists(strategy, min_size=least, max_size=most)


BY_NAME = {
    # Text whose name says more than its type.
    "url": URLS,
    "pac_url": URLS,
    "details_url": URLS,
    "server": HOSTS,
    "host": HOSTS,
    "proxy_server": HOSTS,
    "apn": st.sampled_from(["lte.example.jp", "data.example"]),
    "operator": st.sampled_from(["44010", "440999"]),
    "bundle_id": BUNDLES,
    "package": PACKAGES,
    "rating_region": st.just("jp"),
    "minimum_ipados": st.sampled_from(["15.8", "17.5.1", "26"]),
    "desk_phone": st.sampled_from(["03-0000-0000", "0120 000 000"]),
    "lock_text": st.sampled_from(["学校 {control_number}", "{desk_phone}", "A"]),
    "asset_tag": st.sampled_from(["{control_number}", "B"]),
    "pem": st.just(PEM),
    "start": st.sampled_from(["01-15", "02-29"]),
    "end": st.sampled_from(["02-28", "12-31"]),
    "deny_list": some(HOSTS, least=0),
    "allow_list": some(HOSTS, least=0),
    "denied_types": some(st.sampled_from(["com.google", "com.example"])),
    "reset_owner_emails": some(st.sampled_from(["a@example.jp", "b@example.jp"])),
    "domains": some(HOSTS),
    "server_names": some(HOSTS),
    "excluded_hosts": some(HOSTS),
    "addresses": some(st.sampled_from(["192.0.2.1", "2001:db8::1"])),
}


def _without(drawn, *names):
    return {name: value for name, value in drawn.items() if name not in names}


def _wifi(drawn):
    """One way of signing in, and a proxy whole or not at all."""
    if drawn.get("security") == "none" or "enterprise" in drawn:
        drawn = _without(drawn, "password")
    return drawn if {"proxy_server", "proxy_port"} <= drawn.keys() else _without(drawn, "proxy_server", "proxy_port")


def _proxy(drawn):
    if {"server", "port"} <= drawn.keys():
        return _without(drawn, "pac_url")
    return _without(drawn, "server", "port") | {"pac_url": "https://h0.example.jp/proxy.pac"}


def _one_of(drawn):
    for name in ("folder", "link", "app"):
        if name in drawn:
            return {name: drawn[name]}
    return {"app": {"bundle_id": "a.a"}}


# Rules between fields, kept by mending what was drawn.
MENDED = {
    WifiNetwork: _wifi,
    Proxy: _proxy,
    Icon: _one_of,
    FolderIcon: _one_of,
    DnsFilter: lambda drawn: drawn if drawn.keys() & {"url", "host"} else drawn | {"host": "h0.example.jp"},
    PluginFilter: lambda drawn: drawn | {"bundle_id": "com.example.filter", "browsers": True},
}


def _of_model(model):
    """Plain values for a part: needed fields always, the others now and then."""
    names = {base.__name__ for base in model.__mro__}
    if "AppRef" in names:
        others = {name: field for name, field in model.model_fields.items() if name in ("cellular", "roaming")}
        extra = st.fixed_dictionaries({}, optional={name: _of_field(name, field) for name, field in others.items()})
        return st.builds(lambda app, more: app | more, APPS, extra)
    if model.__name__ == "Sitting":
        return st.builds(
            lambda app, start, end: {
                "app": app,
                "starts_at": start.isoformat() + "+09:00",
                "ends_at": (start + end).isoformat() + "+09:00",
            },
            APPS,
            MOMENTS,
            st.timedeltas(dt.timedelta(minutes=1), LATER).map(lambda span: dt.timedelta(0, span.seconds)),
        )
    needed, optional = {}, {}
    for name, field in model.model_fields.items():
        (needed if field.is_required() else optional)[name] = _of_field(name, field)
    return st.fixed_dictionaries(needed, optional=optional).map(MENDED.get(model, dict))


def _of_field(name, field):
    if name in BY_NAME:
        return BY_NAME[name]
    return _of_type(field.annotation, field.metadata)


def _of_type(kind, marks=()):
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _of_type(args[0], (*marks, *kind.__metadata__))
    if origin in (typing.Union, types.UnionType):
        kinds = [arg for arg in args if arg is not type(None)]
        return st.one_of(*(_of_type(arg, marks) for arg in kinds))
    if origin is tuple:
        return some(_of_type(args[0]))
    if origin is dict:
        return st.dictionaries(
            st.sampled_from(["k", "l"]), st.integers(0, 9) | st.booleans() | st.just("v"), min_size=1
        )
    return _of_class(kind, marks)


def _of_class(kind, marks):
    if issubclass(kind, BaseModel):
        return _of_model(kind)
    if issubclass(kind, enum.Enum):
        return st.sampled_from([word.value for word in kind])
    if kind is int:
        return _numbers(marks)
    if kind is NaiveDatetime:
        return MOMENTS.map(dt.datetime.isoformat)
    assert kind in (bool, str) or issubclass(kind, SecretStr), kind
    return {bool: st.booleans(), str: TITLES}.get(kind, SECRETS)


def _numbers(marks):
    """Whole numbers within the bounds that the field declares."""
    bounds = {"ge": 0, "le": 100}
    for mark in marks:
        for part in (mark, *getattr(mark, "metadata", ())):
            bounds |= {name: value for name in bounds if (value := getattr(part, name, None)) is not None}
    return st.integers(bounds["ge"], bounds["le"])


def section(model):
    """Plain values for one section; at least one field."""
    return _of_model(model).filter(bool)


BODIES = st.fixed_dictionaries(
    {},
    optional={name: section(typing.get_args(field.annotation)[0]) for name, field in Sections.model_fields.items()},
)
"""Plain values for any number of sections, secrets in plain text."""
SECTIONS = BODIES.map(Sections.model_validate)
"""Checked sections; for tests of merging and compiling."""
DOCUMENTS = BODIES.filter(bool).map(
    lambda body: PolicyDocument.model_validate({"version": 1, "name": "drawn", "layer": "fleet"} | body)
)
"""Whole documents."""
