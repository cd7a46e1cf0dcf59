"""SIMs, what they use, and what the carriers say of them."""
