"""The two ways to ask a daemon: its control channel, and the text management."""

import http.client
import json
import socket

from .wait import SLOWNESS


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout * SLOWNESS)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def http_request(path, method, target, body=None, timeout=3.0):
    """(status, text) of one request over a UNIX socket."""
    connection = _UnixConnection(path, timeout)
    try:
        connection.request(method, target, body=None if body is None else json.dumps(body),
                           headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "surrogateescape")
    finally:
        connection.close()


def management(address, command, namespace=None, timeout=3.0):
    """The lines that the text management (without TLS) answers to a command."""
    if namespace:
        sock = namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with sock:
        sock.settimeout(timeout * SLOWNESS)
        sock.connect(address)
        sock.sendall(command.encode() + b"\r\nquit\r\n")
        text = b""
        while True:
            got = sock.recv(1 << 20)
            if not got:
                break
            text += got
    return [line for line in text.decode().split("\r\n") if line]
