"""A mail server on the loopback that takes everything and keeps what it was told."""

import asyncio
import threading


class MailServer:
    """A mail server that says yes to everything and keeps what it was told."""

    def __init__(self):
        self.told = []
        self.port = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        server = self._loop.run_until_complete(asyncio.start_server(self._talk, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(server.wait_closed())
        self._loop.close()

    async def _talk(self, reader, writer):
        writer.write(b"220 ready\r\n")
        in_data = False
        while line := await reader.readline():
            self.told.append(line.decode().rstrip())
            if in_data:
                in_data = line != b".\r\n"
                if in_data:
                    continue
            in_data = line.upper().startswith(b"DATA")
            over = line.upper().startswith(b"QUIT")
            writer.write(b"354 go on\r\n" if in_data else b"221 bye\r\n" if over else b"250 ok\r\n")
            if over:
                break
        writer.close()

    def __enter__(self):
        self.thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.thread.join(30)
