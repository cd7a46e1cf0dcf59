"""Lets go what is approved."""


def let_go() -> None:
    """Nothing to do: an approval lets go at once."""
