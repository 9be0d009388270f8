"""Servers that are not what a client takes them for, each in threads of its own."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import trustme


@contextmanager
def replying(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """A server that is no store: `answer` is all that it does with a connection."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection: socket.socket) -> None:
        with connection:
            try:
                answer(connection)
            except OSError:
                return  # the other end refuses us

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def handshake(authority: trustme.CA, name: str) -> Callable[[socket.socket], object]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)

    def shake(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(100)

    return shake


def say_http(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def say_nothing(connection: socket.socket) -> None:
    while connection.recv(1000):
        pass
