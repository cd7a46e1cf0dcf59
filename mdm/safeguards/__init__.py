"""Approvals by a second person, in front of everything irreversible."""
