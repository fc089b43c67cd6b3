"""A TCP proxy before a server, which can fall silent as a network does that drops every packet."""

import socket
from contextlib import suppress
from threading import Event, Thread


class Proxy:
    """Listens on a port of 127.0.0.1 and passes everything on to another, for as long as it lives."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.sockets: list[socket.socket] = []
        self.passes = Event()
        self.passes.set()
        Thread(target=self._listen, daemon=True).start()

    def blackhole(self) -> None:
        """Connections stay open and new ones are taken, and nothing passes."""
        self.passes.clear()

    def restore(self) -> None:
        """Everything that was held back arrives."""
        self.passes.set()

    def end(self) -> None:
        self.passes.set()
        for each in [self.listener, *self.sockets]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _listen(self) -> None:
        with suppress(OSError):  # what end() makes of accept()
            while True:
                near, _ = self.listener.accept()
                self.sockets.append(near)
                Thread(target=self._serve, args=[near], daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        self.passes.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            near.close()
            return
        self.sockets.append(far)
        Thread(target=self._pass_on, args=[far, near], daemon=True).start()
        self._pass_on(near, far)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.passes.wait()
                target.sendall(data)
        self.passes.wait()  # neither does the end of a connection arrive
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
