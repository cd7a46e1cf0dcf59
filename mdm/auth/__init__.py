"""Operators: accounts, sessions, tokens, roles and their scope of schools."""

from mdm.auth.access import Administrator, Support, Viewer
from mdm.auth.models import Role
from mdm.auth.principal import SCOPE_SQL, CredentialKind, Principal, Scope

__all__ = ["SCOPE_SQL", "Administrator", "CredentialKind", "Principal", "Role", "Scope", "Support", "Viewer"]
