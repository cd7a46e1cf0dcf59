"""Operators: accounts, sessions, tokens, roles and their scope of schools."""
