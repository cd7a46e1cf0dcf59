"""The `tabane` command."""
