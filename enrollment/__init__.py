"""How a tablet gets in: tickets, the device CA, and one name per platform."""
