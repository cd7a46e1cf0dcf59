"""Independent looks at what was done: commands held against their approvals, and who handled what."""
