"""Social networks and mail by the names people know; the catalogue holds their applications and domains."""

from profiles.sections.base import Part, Switch


class SnsMail(Part):
    """Social networks, messages and mail (R-22). `deny` stops a service's applications and its sites."""

    facebook: Switch = None
    messenger: Switch = None
    instagram: Switch = None
    threads: Switch = None
    x: Switch = None
    """Formerly Twitter."""
    line: Switch = None
    tiktok: Switch = None
    youtube: Switch = None
    discord: Switch = None
    snapchat: Switch = None
    whatsapp: Switch = None
    telegram: Switch = None
    mail_app: Switch = None
    """The system's own mail application."""
    gmail: Switch = None
    outlook: Switch = None
    """Outlook's mail; the other applications of Microsoft 365 stay."""
    messages: Switch = None
    """The system's own messages, SMS included where the platform can."""
    rcs_messages: Switch = None
    """Messages over RCS."""
    video_calls: Switch = None
    """The system's own video calls."""
    phone_calls: Switch = None
    """Outgoing telephone calls."""
    game_network: Switch = None
    """The system's own network of players."""


SERVICES = tuple(
    name
    for name in SnsMail.model_fields
    if name not in ("messages", "rcs_messages", "video_calls", "phone_calls", "game_network")
)
"""The fields that are services of the catalogue; the others are features of the system."""
