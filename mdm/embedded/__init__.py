"""PostgreSQL and Valkey from wheels, for `tabane up` and the tests. Knows nothing of tablets, tables or settings."""

from mdm.embedded.folder import claim, default_folder
from mdm.embedded.host import free_port
from mdm.embedded.postgres import Postgres, start_postgres
from mdm.embedded.valkey import Valkey, start_valkey

__all__ = ["Postgres", "Valkey", "claim", "default_folder", "free_port", "start_postgres", "start_valkey"]
