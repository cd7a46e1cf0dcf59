"""The conversation with iPads."""
