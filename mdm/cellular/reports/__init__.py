"""What lines used and what they cost, by school and month, line by line, by pool: shown, and written out as files."""
