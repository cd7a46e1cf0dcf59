"""Tablets that speak the real wire, and the vendors' clouds, each with its own journal; nothing imports it."""
