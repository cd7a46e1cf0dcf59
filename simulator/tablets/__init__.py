"""Pretended iPads that speak the real wire, with code of their own. Nothing of the server is imported."""
