"""The calls of the protocol over two connections, one for control and one for bulk.

Connections outlive certificates: before each session and transfer a Link looks whether the next
certificate is due, gets it, and goes on over new connections; what is under way ends where it is.
"""
import dataclasses
import logging
import threading

import grpc

from . import protocol
from .identity import Identity
from .transport import ANSWER_S, make_channel, said, wait_until_connected

log = logging.getLogger("rubato")


@dataclasses.dataclass(frozen=True)
class _Connections:
    control: grpc.Channel
    bulk: grpc.Channel
    metadata: tuple


@dataclasses.dataclass
class ControlStream:
    """A session: what the coordinator says, and its connections for as long as it lasts."""

    messages: object  # iterable of ToWorker; cancel() ends it
    _connections: _Connections

    def cancel(self) -> None:
        self.messages.cancel()


class Link:
    """Thread-safe. Calls raise grpc.RpcError, or ConnectionError when nobody answers."""

    def __init__(self, identity: Identity):
        self._identity = identity
        self._lock = threading.Lock()
        self._connections = self._connect()

    def _connect(self) -> _Connections:
        address = self._identity.address
        return _Connections(make_channel(address), make_channel(address), address.metadata)

    def _present(self) -> _Connections:
        with self._lock:
            if self._identity.renewal_is_due():
                try:
                    self._identity.renew()
                    self._connections = self._connect()
                except grpc.RpcError as error:
                    # The call that follows says what is wrong.
                    log.warning("no new certificate: %s", said(error))
            return self._connections

    def describe(self, request):
        present = self._present()
        wait_until_connected(present.control)
        return protocol.stub(present.control, "Control", "Describe")(
            request, timeout=ANSWER_S, metadata=present.metadata)

    def attend(self, messages) -> ControlStream:
        """`messages`: an iterator of FromWorker that begins with the hello."""
        present = self._present()
        wait_until_connected(present.control)
        call = protocol.stub(present.control, "Control", "Attend")(
            messages, metadata=present.metadata)
        return ControlStream(call, present)

    def fetch(self, request):
        """Yields the chunks."""
        present = self._present()
        wait_until_connected(present.bulk)
        call = protocol.stub(present.bulk, "Exchange", "Fetch")(request, metadata=present.metadata)
        try:
            yield from call
        finally:
            call.cancel()

    def push_offset(self, request):
        present = self._present()
        wait_until_connected(present.bulk)
        return protocol.stub(present.bulk, "Exchange", "PushOffset")(
            request, timeout=ANSWER_S, metadata=present.metadata)

    def push(self, parts):
        present = self._present()
        wait_until_connected(present.bulk)
        return protocol.stub(present.bulk, "Exchange", "Push")(parts, metadata=present.metadata)

    def found(self, parts):
        present = self._present()
        wait_until_connected(present.bulk)
        return protocol.stub(present.bulk, "Exchange", "Found")(parts, metadata=present.metadata)
