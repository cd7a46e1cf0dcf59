"""The sections of the neutral policy document, one module each; every field carries its merge rule.

They know no platform's keys: the compilers say what a platform makes of them, and what it cannot.
"""

from profiles.sections.accounts import Accounts
from profiles.sections.apps import Apps, AppUpdates, NetworkRule
from profiles.sections.base import HIDDEN, MAX_APPS, MAX_ENTRIES, AppRef, Part, Permission, Secret
from profiles.sections.cellular import Apn, ApnLogin, ApnProtocol, Cellular
from profiles.sections.certificates import Authority, Certificates
from profiles.sections.exam import Exam, Sitting
from profiles.sections.merging import MergeRule, Strictness, in_order, joined, rule_of, strictness_of
from profiles.sections.passcode import Complexity, Passcode
from profiles.sections.privacy import Location, Privacy
from profiles.sections.screen import Folder, FolderIcon, HomeScreen, Icon, Link, Screen, filled
from profiles.sections.sns_mail import SERVICES, SnsMail
from profiles.sections.store import Store
from profiles.sections.updates import Automatic, Freeze, Updates, Window
from profiles.sections.usb import Usb
from profiles.sections.vpn_proxy import AlwaysOnVpn, Proxy, VpnProxy
from profiles.sections.web_filter import DnsFilter, PluginFilter, Site, WebFilter, YouTubeMode
from profiles.sections.wifi import EapMethod, Enterprise, Wifi, WifiFloor, WifiNetwork, WifiSecurity


class Sections(Part):
    """The sections of a policy; an absent one says nothing, and so does an absent field."""

    apps: Apps | None = None
    store: Store | None = None
    usb: Usb | None = None
    web_filter: WebFilter | None = None
    sns_mail: SnsMail | None = None
    accounts: Accounts | None = None
    cellular: Cellular | None = None
    wifi: Wifi | None = None
    vpn_proxy: VpnProxy | None = None
    passcode: Passcode | None = None
    updates: Updates | None = None
    screen: Screen | None = None
    exam: Exam | None = None
    certificates: Certificates | None = None
    privacy: Privacy | None = None


__all__ = [
    "HIDDEN",
    "MAX_APPS",
    "MAX_ENTRIES",
    "SERVICES",
    "Accounts",
    "AlwaysOnVpn",
    "Apn",
    "ApnLogin",
    "ApnProtocol",
    "AppRef",
    "AppUpdates",
    "Apps",
    "Authority",
    "Automatic",
    "Cellular",
    "Certificates",
    "Complexity",
    "DnsFilter",
    "EapMethod",
    "Enterprise",
    "Exam",
    "Folder",
    "FolderIcon",
    "Freeze",
    "HomeScreen",
    "Icon",
    "Link",
    "Location",
    "MergeRule",
    "NetworkRule",
    "Part",
    "Passcode",
    "Permission",
    "PluginFilter",
    "Privacy",
    "Proxy",
    "Screen",
    "Secret",
    "Sections",
    "Site",
    "Sitting",
    "SnsMail",
    "Store",
    "Strictness",
    "Updates",
    "Usb",
    "VpnProxy",
    "WebFilter",
    "Wifi",
    "WifiFloor",
    "WifiNetwork",
    "WifiSecurity",
    "Window",
    "YouTubeMode",
    "filled",
    "in_order",
    "joined",
    "rule_of",
    "strictness_of",
]
