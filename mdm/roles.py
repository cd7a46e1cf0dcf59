"""The database's roles, one for each process: writes the SQL that makes them, and says how each process connects.

The database's owner runs that SQL, after each migration; processes connect as their roles and own nothing. Twice is
harmless. Triggers ask for these roles by name (`command_is_role`). What each may do stands in `grants`.
"""

import hashlib
import hmac
import os
import re
import secrets
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg

from mdm.errors import Misconfigured
from mdm.grants import FUNCTIONS, PROCESSES, TABLES, TEMPORARY

_VERBS: Final = {"s": "SELECT", "i": "INSERT", "d": "DELETE", "u": "UPDATE"}
_RIGHT: Final = re.compile(r"(\w+)=([sidu]+)(?:\(([\w,]+)\))?")
_NOBODY: Final = "tabane_beat"
"""There is no such role: beat reads no row."""
_SCRAM_ITERATIONS: Final = 4096

_MAKE = """
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[{names}] LOOP
        IF to_regrole(name) IS NULL THEN
            EXECUTE format('CREATE ROLE %I LOGIN', name);
        END IF;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = name
                AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls OR NOT rolcanlogin))
            OR EXISTS (SELECT FROM pg_auth_members WHERE member = to_regrole(name))
            OR EXISTS (SELECT FROM pg_class WHERE relowner = to_regrole(name))
        THEN
            RAISE EXCEPTION 'the role % is more than a login: it must have no power of its own', name;
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM {roles}', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {temporary}', current_database());
END $$;
REVOKE ALL ON SCHEMA public FROM PUBLIC, {roles};
GRANT USAGE ON SCHEMA public TO {roles};
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, {roles};
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, {roles};
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC;
DO $$
DECLARE
    own regprocedure;
BEGIN
    FOR own IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, {roles}', own);
    END LOOP;
END $$;
"""


def role_of(process: str) -> str:
    """Return the name of a process's role."""
    return f"tabane_{process}"


def granted() -> dict[str, dict[str, dict[str, frozenset[str]]]]:
    """Return the columns that each process may use each verb on, by table; no columns means the whole table."""
    found: dict[str, dict[str, dict[str, frozenset[str]]]] = {}
    for line in TABLES.strip().splitlines():
        table, *rights = line.split()
        for right in rights:
            match = _RIGHT.fullmatch(right)
            if match is None or match[1] not in PROCESSES:
                raise ValueError(f"not a line of rights: {line}")
            columns = frozenset(match[3].split(",")) if match[3] else frozenset()
            verbs = {_VERBS[letter]: columns if letter == "u" else frozenset[str]() for letter in match[2]}
            found.setdefault(table, {})[match[1]] = verbs
    return found


def sql(passwords: Mapping[str, str] | None = None) -> str:
    """Return the SQL that makes the roles and gives each its rights and no other, as one transaction.

    `passwords`, by process, go into it as SCRAM verifiers and never as they are; a role without one keeps its own.
    """
    names = [role_of(process) for process in PROCESSES]
    parts = {
        "names": ", ".join(f"'{name}'" for name in names),
        "roles": ", ".join(names),
        "temporary": ", ".join(role_of(process) for process in TEMPORARY),
    }
    head = "-- Run as the owner of the database, after each migration. Made by `tabane roles`; twice is harmless."
    lines = [head, "BEGIN;", _MAKE.strip().format(**parts), *_grants(), *_executions()]
    for process, password in (passwords or {}).items():
        if process not in PROCESSES:
            raise Misconfigured(f"there is no role for {process}: {', '.join(PROCESSES)}")
        lines.append(f"ALTER ROLE {role_of(process)} PASSWORD '{_verifier(password)}';")
    return "\n".join([*lines, "COMMIT;", ""])


def _grants() -> Iterator[str]:
    for table, processes in granted().items():
        for process, verbs in processes.items():
            told = [f"{verb} ({', '.join(sorted(columns))})" if columns else verb for verb, columns in verbs.items()]
            yield f"GRANT {', '.join(told)} ON public.{table} TO {role_of(process)};"


def _executions() -> Iterator[str]:
    for line in FUNCTIONS.strip().splitlines():
        function, _, processes = line.partition(")")
        for process in processes.split():
            yield f"GRANT EXECUTE ON FUNCTION public.{function}) TO {role_of(process)};"


def _verifier(password: str) -> str:
    """Return what PostgreSQL keeps of a password (RFC 5803, SCRAM-SHA-256), so that no log ever sees the password."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    client, server = (hmac.digest(salted, word, "sha256") for word in (b"Client Key", b"Server Key"))
    told = (b64encode(each).decode() for each in (salt, hashlib.sha256(client).digest(), server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(_SCRAM_ITERATIONS, *told)


def apply(owner_url: str, passwords: Mapping[str, str] | None = None) -> None:
    """Make the roles in the database at this address of its owner's, which has this version's schema."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(sql(passwords).encode())


def house(owner_url: str) -> dict[str, str]:
    """Make the roles with passwords that nobody else knows; return each process's address, and beat's, who is nobody.

    For a house whose processes all start together: those that run already lose their way in.
    """
    passwords = {process: secrets.token_hex(24) for process in PROCESSES}
    apply(owner_url, passwords)
    return {process: _address(owner_url, role_of(process), word) for process, word in passwords.items()} | {
        "beat": _address(owner_url, _NOBODY, "")
    }


def _address(owner_url: str, role: str, password: str) -> str:
    parts = urlsplit(owner_url)
    _, _, host = parts.netloc.rpartition("@")
    word = f":{quote(password, safe='')}" if password else ""
    return urlunsplit(parts._replace(netloc=f"{role}{word}@{host}"))
