"""Who connects to a server inside, at whichever of this machine's addresses?"""

import socket
import threading
from typing import Self


class Inside:
    """Listens at every address, notes each connection and closes it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections: list[str] = []
        """The addresses that were connected to, in their order."""
        if socket.has_dualstack_ipv6():
            self._socket = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        else:
            self._socket = socket.create_server(("", port))
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # ends the wait for the next connection
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.connections.append(connection.getsockname()[0])
