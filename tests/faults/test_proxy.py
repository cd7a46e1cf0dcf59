"""The proxy of the fault suite: what it lets through, and when."""

import socket
import threading
from contextlib import contextmanager

import pytest

from tests.faults.proxy import Links


@pytest.fixture
def links():
    opened = Links()
    yield opened
    opened.close()


@contextmanager
def echo():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=repeat, args=(peer,), daemon=True).start()

        def repeat(peer):
            with peer:
                try:
                    while data := peer.recv(65536):
                        peer.sendall(data)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def is_gone(line):
    """Say whether the line breaks within some exchanges: by reset or broken pipe, as the kernel likes."""
    try:
        for _ in range(100):
            said(line)
    except (OSError, Closed):
        return True
    return False


class Closed(Exception):
    pass


def said(line, words=b"hello", seconds=10.0):
    line.settimeout(seconds)
    line.sendall(words)
    heard = b""
    while len(heard) < len(words):
        piece = line.recv(65536)
        if not piece:
            raise Closed
        heard += piece
    return heard


def test_a_good_line_passes_everything_both_ways(links):
    """What one end says the other hears, however much it is."""
    with echo() as port, socket.create_connection(("127.0.0.1", links.to(port).port)) as line:
        words = bytes(range(256)) * 1000
        assert said(line, words) == words


def test_a_cut_line_is_reset_and_refuses_until_it_is_healed(links):
    """Old connections are reset, new ones at once; afterwards new ones work again."""
    with echo() as port:
        proxy = links.to(port)
        with socket.create_connection(("127.0.0.1", proxy.port)) as line:
            said(line)
            with proxy.trouble("cut"):
                assert is_gone(line)
                with socket.create_connection(("127.0.0.1", proxy.port)) as other:
                    assert is_gone(other)
        with socket.create_connection(("127.0.0.1", proxy.port)) as line:
            assert said(line) == b"hello"


def test_a_half_open_line_says_nothing_and_is_reset_when_it_heals(links):
    """Nothing arrives and nothing fails while it lasts; then the old connection is gone and a new one works."""
    with echo() as port:
        proxy = links.to(port)
        with socket.create_connection(("127.0.0.1", proxy.port)) as line:
            said(line)
            with proxy.trouble("half-open"), pytest.raises(TimeoutError):
                said(line, seconds=0.3)
            line.settimeout(10)
            assert is_gone(line)
        with socket.create_connection(("127.0.0.1", proxy.port)) as line:
            assert said(line) == b"hello"


def test_a_slow_line_passes_everything_in_the_end(links):
    """A trickle loses nothing."""
    with echo() as port:
        proxy = links.to(port)
        with socket.create_connection(("127.0.0.1", proxy.port)) as line, proxy.trouble("slow"):
            words = bytes(4000)
            assert said(line, words) == words
