"""What may be plugged in or paired, and what may be carried out that way."""

from profiles.sections.base import Part, Switch


class Usb(Part):
    """What may be plugged in or paired (R-24)."""

    external_storage: Switch = None
    """Reading and writing USB drives and memory cards."""
    host_pairing: Switch = None
    """Pairing with a computer over the cable."""
    data: Switch = None
    """Any data over USB; `deny` leaves charging, and stops USB keyboards and mice too where the tablet can."""
    accessories_while_locked: Switch = None
    """Connecting new accessories to a locked tablet."""
    recovery_boot: Switch = None
    """Starting the recovery system from a computer that is not paired."""
    network_drives: Switch = None
    """Reading and writing file servers."""
    airdrop: Switch = None
    """Handing files to tablets nearby."""
    bluetooth: Switch = None
    """Bluetooth as a whole."""
    bluetooth_changes: Switch = None
    """Pairing and switching Bluetooth by the person who holds the tablet."""
    bluetooth_sharing: Switch = None
    """Handing files over Bluetooth."""
    nfc: Switch = None
    """Near-field radio as a whole."""
    debugging: Switch = None
    """Developer options and debugging over the cable."""
