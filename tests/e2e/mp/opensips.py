"""A stand-in for OpenSIPS's management interface: mi_datagram, a UNIX datagram socket."""

import json
import os
import re
import socket
import threading


class OpenSips:
    """Knows some dialogs, and ends those that it is asked for in its own form.

    version: 3 takes JSON-RPC with a DID or a Call-ID; 2 takes a text with two decimals.
    """

    def __init__(self, path, version=3, user=None):
        """user: (uid, gid) that it answers as."""
        self.path = path
        self.version = version
        self.dialogs = {}  # DID, or (h_entry, h_id) -> Call-ID
        self.ended = []  # Call-IDs
        self.requests = []  # datagrams
        self.errors = []
        self._user = user
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def know(self, name, call_id):
        """name: the DID, or for version 2 (h_entry, h_id)."""
        self.dialogs[name] = call_id

    def _serve(self):
        while True:
            datagram, sender = self._socket.recvfrom(65536)
            if datagram == b"stop":
                return
            self.requests.append(datagram.decode())
            answer = self._json(datagram) if self.version == 3 else self._text(datagram)
            try:
                self._answer(answer.encode(), sender)
            except OSError as error:
                self.errors.append("%s: %s" % (sender, error))

    def _answer(self, answer, to):
        if not self._user:
            self._socket.sendto(answer, to)
            return
        # By a process of that user, whom the file's mode may stop.
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setgroups([])
                os.setgid(self._user[1])
                os.setuid(self._user[0])
                self._socket.sendto(answer, to)
                code = 0
            finally:
                os._exit(code)
        if os.waitpid(child, 0)[1] != 0:
            self.errors.append("%s: may not be written to by %s" % (to, self._user))

    def _end(self, name):
        call_id = self.dialogs.pop(name, None)
        if call_id is not None:
            self.ended.append(call_id)
        return call_id is not None

    def _json(self, datagram):
        try:
            request = json.loads(datagram)
            method, (name,), number = request["method"], request["params"], request["id"]
        except (ValueError, KeyError, TypeError):
            return json.dumps({"jsonrpc": "2.0", "id": None,
                               "error": {"code": -32700, "message": "Parse error"}})
        answer = {"jsonrpc": "2.0", "id": number}
        dids = [did for did, call_id in self.dialogs.items() if name in (did, call_id)]
        if method != "dlg_end_dlg":
            answer["error"] = {"code": -32601, "message": "Method not found"}
        elif dids and self._end(dids[0]):
            answer["result"] = "OK"
        else:
            answer["error"] = {"code": 404, "message": "Requested Dialog not found"}
        return json.dumps(answer)

    def _text(self, datagram):
        match = re.fullmatch(r":dlg_end_dlg:\n(\d+)\n(\d+)\n\n", datagram.decode())
        if not match:
            return "400 parse error\n"
        found = self._end((int(match.group(1)), int(match.group(2))))
        return "200 OK\n" if found else "404 Requested Dialog not found\n"

    def stop(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"stop", self.path)
        self._thread.join(5)
        self._socket.close()
        os.unlink(self.path)
