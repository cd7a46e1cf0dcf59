"""The usage ledger: what lines used, by day and hour, in cycles, exact to the byte. Asks no carrier anything."""
