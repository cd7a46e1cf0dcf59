"""`python -m mdm.cli` is `tabane`: how `tabane up` starts its own parts."""

from mdm.cli import main

main()
