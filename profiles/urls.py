"""Entries of a web filter's lists: their syntax, their normal form and how one covers another.

Matching is the tablets' business; this follows the rules written down for it: an entry is found inside the address,
one that ends in "/" means that path and below, and a leading `www.` is not looked at.
"""

import re

_ENTRY = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?"
    r"(?P<host>[^/?#\s:@]+)(?P<port>:[0-9]{1,5})?(?P<path>/[^\s#]*)?"
)
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))+")
MAX_LENGTH = 1024


def normal_entry(text: str) -> str:
    """Return the entry with scheme and host in lower case; raises ValueError with a sentence on bad syntax."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"an entry has at most {MAX_LENGTH} characters")
    if "*" in text:
        raise ValueError("no wildcards: an entry without a path already covers the whole host")
    if not text.isascii():
        raise ValueError("only ASCII: write the host as xn--… and the path percent-encoded")
    parts = _ENTRY.fullmatch(text)
    if parts is None:
        raise ValueError("write host, host/path or https://host/path, without spaces, user names or fragments")
    scheme, host = parts["scheme"], parts["host"].lower()
    if scheme is not None and scheme.lower() not in ("http", "https"):
        raise ValueError("only http and https addresses can be filtered")
    if _HOST.fullmatch(host) is None:
        raise ValueError("the host needs a dot and only letters, digits and hyphens: example.com")
    prefix = f"{scheme.lower()}://" if scheme else ""
    return f"{prefix}{host}{parts['port'] or ''}{parts['path'] or ''}"


def normal_site(text: str) -> str:
    """Return a complete address in normal form; raises ValueError when the scheme is missing."""
    entry = normal_entry(text)
    if "://" not in entry:
        raise ValueError("write the whole address, with https://")
    return entry


def https_address(text: str) -> str:
    """Return a complete https address in normal form; raises ValueError for anything else."""
    entry = normal_entry(text)
    if not entry.startswith("https://"):
        raise ValueError("write the whole address, with https://")
    return entry


def finds(entry: str, url: str) -> bool:
    """Say whether an entry of iPadOS's built-in filter is found in a complete address (apple.md section 2).

    Text anywhere in the address counts; an entry that ends in "/" means that path and below.
    """
    scheme, rest = _split(entry)
    url_scheme, url_rest = _split(url)
    if scheme:
        return scheme == url_scheme and _begins(rest, url_rest)
    return rest in url_rest or (rest.endswith("/") and url_rest.endswith(rest[:-1]))


def chrome_finds(entry: str, url: str) -> bool:
    """Say whether an entry of Chrome's list is about a complete address: the host and all below it, and a path's start.

    https://chromium.org/administrators/url-blocklist-filter-format
    """
    wanted, given = _ENTRY.fullmatch(entry), _ENTRY.fullmatch(url)
    if wanted is None or given is None:
        return False
    if wanted["scheme"] and wanted["scheme"] != given["scheme"]:
        return False
    if wanted["port"] and wanted["port"] != given["port"]:
        return False
    host = given["host"].lower()
    within = host == wanted["host"] or host.endswith("." + wanted["host"])
    return within and (given["path"] or "/").startswith(wanted["path"] or "/")


def _begins(start: str, text: str) -> bool:
    return text.startswith(start) or (start.endswith("/") and text == start[:-1])


def covers(wide: str, narrow: str) -> bool:
    """Say whether every address that `narrow` names is also found by `wide`, as the matching rules read."""
    wide_scheme, wide_rest = _split(wide)
    narrow_scheme, narrow_rest = _split(narrow)
    if wide_scheme and wide_scheme != narrow_scheme:
        return False
    return wide_rest in narrow_rest


def _split(entry: str) -> tuple[str, str]:
    scheme, mark, rest = entry.rpartition("://")
    return (scheme if mark else "", rest.removeprefix("www."))
