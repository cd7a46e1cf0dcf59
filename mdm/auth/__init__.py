"""Operators: accounts, sessions, tokens, roles and their scope of schools."""

from mdm.auth.access import may
from mdm.auth.models import Role
from mdm.auth.principal import SCOPE_SQL, CredentialKind, Principal, Scope
from mdm.auth.rights import Action

__all__ = ["SCOPE_SQL", "Action", "CredentialKind", "Principal", "Role", "Scope", "may"]
