"""Sends the pages that wait: by webhook, by mail, or both. Each arrives at least once, with its id; none is dropped.

A page about one school goes by mail to that school's address too, where there is one; no address goes into the webhook.
The webhook's body is JSON and signed as `Tabane-Signature: t=<seconds>,v1=<hex>`: HMAC-SHA-256 over `<t>.<body>`.
"""

import hashlib
import hmac
import json
import smtplib
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from functools import partial
from typing import Final

import httpx2
import structlog
from sqlmodel import Session

from mdm import clock, db
from mdm.errors import Misconfigured
from mdm.safeguards import notices
from mdm.safeguards.notices import Claimed, Way
from mdm.settings import NoticeSettings, get_settings
from mdm.support import desk_settings

_log = structlog.get_logger(__name__)
_TIMEOUT_S: Final = 10.0
_TO_SCHOOLS: Final = frozenset({"wipe.held"})
"""What a school is told too."""
_AT_ONCE: Final = 5
"""Within a lease even if every one of them runs into the timeout, by both ways."""


def send_due() -> Counter[str]:
    """Send what is due: claim, commit, send, note. What fails is tried again later, by the ways that are missing."""
    done: Counter[str] = Counter()
    ways = _ways(get_settings().notices)
    with db.transaction() as session:
        claimed = notices.claim(session, tuple(ways), limit=_AT_ONCE)
        schools = {each.id: _school_of(session, each) for each in claimed}
        if not ways and (waiting := notices.waiting(session)):
            _log.warning("nobody_is_paged", count=waiting)
    for notice in claimed:
        gone, error = [], ""
        for way in notice.ways:
            try:
                ways[way](notice, schools[notice.id])
                gone.append(way)
            except (httpx2.HTTPError, smtplib.SMTPException, OSError, Misconfigured) as failure:
                error = f"{way.value}: {type(failure).__name__}"
        with db.transaction() as session:
            notices.settle(session, notice, gone=gone, error=error)
        done["failed" if error else "sent"] += 1
    if done.total():
        _log.info("paged", counts=dict(done))
    return done


def _school_of(session: Session, notice: Claimed) -> str | None:
    """Return the address of the school that a page is about."""
    if notice.what not in _TO_SCHOOLS:
        return None
    return desk_settings.mail_of(session, str(notice.details.get("school", "")))


def _ways(settings: NoticeSettings) -> Mapping[Way, Callable[[Claimed, str | None], None]]:
    ways: dict[Way, Callable[[Claimed, str | None], None]] = {}
    if settings.webhook_url:
        ways[Way.WEBHOOK] = partial(_post, settings)
    if settings.smtp_host:
        ways[Way.MAIL] = partial(_mail, settings)
    return ways


def _post(settings: NoticeSettings, notice: Claimed, _school: str | None) -> None:
    assert settings.webhook_secret_file is not None
    body = json.dumps(_document(notice), ensure_ascii=False).encode()
    moment = str(int(clock.now().timestamp()))
    secret = _secret(str(settings.webhook_secret_file))
    signature = hmac.new(secret, moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "Tabane-Notice": str(notice.id),
        "Tabane-Signature": f"t={moment},v1={signature}",
    }
    # No redirects: the page goes to whom the settings name and to nobody else.
    with httpx2.Client(timeout=_TIMEOUT_S, follow_redirects=False) as client:
        client.post(settings.webhook_url, content=body, headers=headers).raise_for_status()


def _mail(settings: NoticeSettings, notice: Claimed, school: str | None) -> None:
    message = EmailMessage()
    message["Subject"] = f"[{get_settings().organization}] {notice.subject}"
    message["From"] = settings.mail_from
    message["To"] = ", ".join(settings.mail_to)
    message["Message-ID"] = f"<{notice.id}@tabane.invalid>"
    lines = [f"{name}: {value}" for name, value in notice.details.items()]
    message.set_content(
        "\n".join([notice.subject, "", *lines, "", f"{notice.at.isoformat()} {notice.what} {notice.id}"])
    )
    trusted = ssl.create_default_context()
    where = (settings.smtp_host, settings.smtp_port)
    with (
        smtplib.SMTP_SSL(*where, timeout=_TIMEOUT_S, context=trusted)
        if settings.smtp_tls == "tls"
        else smtplib.SMTP(*where, timeout=_TIMEOUT_S)
    ) as server:
        if settings.smtp_tls == "starttls":
            server.starttls(context=trusted)
        if settings.smtp_password_file is not None:
            server.login(settings.smtp_user, _secret(str(settings.smtp_password_file)).decode())
        # The school is told without the addresses of those on duty having to show it, nor the other way round.
        server.send_message(message, to_addrs=[*settings.mail_to, *([school] if school else [])])


def _document(notice: Claimed) -> dict[str, object]:
    return {
        "id": str(notice.id),
        "at": notice.at.isoformat(),
        "what": notice.what,
        "subject": notice.subject,
        "details": dict(notice.details),
        "house": get_settings().organization,
    }


def _secret(file: str) -> bytes:
    try:
        with open(file, "rb") as stream:  # noqa: PTH123 - read anew each time: secrets are changed under our feet
            return stream.read().strip()
    except OSError as error:
        raise Misconfigured(f"a notice cannot be signed: {error.strerror}") from None
