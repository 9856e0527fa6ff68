"""gRPC connections to a coordinator, and which errors may pass."""
import dataclasses

import grpc

ANSWER_S = 30  # an answer that needs no work comes within this
CONNECT_S = 10
# What every server certificate holds, whatever the machine is called.
COORDINATOR_NAME = "rubato-coordinator"

OPTIONS = (
    # Channels of equal arguments would share a connection otherwise: bulk has one of its own.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", -1),  # a layout may have 10,000 long names
)

# The same call may succeed later. INTERNAL: cut in the middle of a message; DATA_LOSS: damaged on
# the way.
PASSING = frozenset({
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
})


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a coordinator is and what is shown to it. Without an authority: in plain text."""

    target: str  # HOST:PORT
    authority: bytes | None = None  # PEM, the only root
    certificate: bytes | None = None
    key: bytes | None = dataclasses.field(default=None, repr=False)
    metadata: tuple = dataclasses.field(default=(), repr=False)

    def anonymous(self) -> "Address":
        return Address(self.target, self.authority)

    def with_certificate(self, certificate: bytes, key: bytes) -> "Address":
        return dataclasses.replace(self, certificate=certificate, key=key)

    def with_token(self, worker: int, token: str) -> "Address":
        shown = (("rubato-worker", str(worker)), ("rubato-token", token))
        return dataclasses.replace(self, metadata=shown)


def make_channel(address: Address) -> grpc.Channel:
    """A TCP connection of its own, made when it is first used."""
    if address.authority is None:
        return grpc.insecure_channel(address.target, OPTIONS)
    credentials = grpc.ssl_channel_credentials(address.authority, address.key, address.certificate)
    name = ("grpc.ssl_target_name_override", COORDINATOR_NAME)
    return grpc.secure_channel(address.target, credentials, (*OPTIONS, name))


def wait_until_connected(channel: grpc.Channel) -> None:
    """ConnectionError after CONNECT_S. A connection makes progress only while somebody waits."""
    try:
        grpc.channel_ready_future(channel).result(timeout=CONNECT_S)
    except grpc.FutureTimeoutError as error:
        raise ConnectionError(f"[link] got no connection within {CONNECT_S} s, want the "
                              "coordinator there") from error


def pauses():
    """Growing pauses between tries [s]: 0.25, doubled up to 8."""
    pause = 0.25
    while True:
        yield pause
        pause = min(2 * pause, 8.0)


def may_pass(error: Exception) -> bool:
    """Whether the same call may succeed later."""
    if isinstance(error, grpc.RpcError):
        return error.code() in PASSING
    return isinstance(error, ConnectionError)


def said(error: Exception) -> str:
    """What a call's error says, in one line."""
    text = error.details() if isinstance(error, grpc.RpcError) else str(error)
    return " ".join((text or type(error).__name__).split())
