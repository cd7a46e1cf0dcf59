"""Where pretended tablets get their RSA keys: each its own, made in other processes, or a few that they share.

Shared keys are for fleets of thousands on a small machine: each tablet still gets a certificate of its own.
"""

import asyncio
from concurrent.futures import Executor

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)


class Keys:
    """A source of keys: with `shared` that many per size go round; else each call makes a new one in `executor`."""

    def __init__(self, *, shared: int = 0, executor: Executor | None = None) -> None:
        self._shared = shared
        self._executor = executor
        self._made: dict[tuple[int, int], rsa.RSAPrivateKey] = {}
        self._turn = 0

    async def take(self, size: int) -> rsa.RSAPrivateKey:
        """Return a key of `size` bits."""
        if not self._shared:
            return await self._make(size)
        self._turn += 1
        slot = (size, self._turn % self._shared)
        if slot not in self._made:
            self._made.setdefault(slot, await self._make(size))
        return self._made[slot]

    async def _make(self, size: int) -> rsa.RSAPrivateKey:
        der = await asyncio.get_running_loop().run_in_executor(self._executor, _make_der, size)
        key = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key


def _make_der(size: int) -> bytes:
    """Make a key and return it in bytes, which travel between processes."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=size)
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
