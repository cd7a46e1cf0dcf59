"""The hosts without which a tablet cannot be led or a lesson not be held. What stops them is judged in `lint`."""

from urllib.parse import urlsplit

from mdm.settings import get_settings
from profiles.lint import Code, Essential

# Apple: the push host; tablets connect to other hosts below push.apple.com. Google: the hosts that FCM names,
# https://firebase.google.com/docs/cloud-messaging/network-configuration. Microsoft: the sign-in of Entra ID.
_VENDORS = (
    Essential(Code.PUSH, "api.push.apple.com", "Apple's push service"),
    Essential(Code.PUSH, "mtalk.google.com", "Google's push service"),
    Essential(Code.PUSH, "android.apis.google.com", "Google's push service"),
    Essential(Code.PUSH, "device-provisioning.googleapis.com", "Google's push service"),
    Essential(Code.PUSH, "firebaseinstallations.googleapis.com", "Google's push service"),
    Essential(Code.SIGN_IN, "login.microsoftonline.com", "Microsoft's sign-in"),
)


def essentials() -> list[Essential]:
    """Return the hosts that must stay reachable: our own server, the vendors' push, sign-in, the learning services."""
    own = urlsplit(get_settings().public_url).hostname or ""
    return [Essential(Code.OWN_SERVER, own, "this server"), *_VENDORS]
