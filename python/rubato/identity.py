"""A worker's identity, on its machine, in a directory of its own for one coordinator.

    worker.key       its private key, P-256, PKCS #8; made here, mode 0600, never sent
    worker.crt       the latest certificate that the coordinator gave it
    authority.crt    the coordinator's authority: its only root
    worker.token     where plain text is spoken: its number and what it shows instead, mode 0600

The files are those of `rubato worker --dir`. One process at a time uses a directory.
"""
import datetime
import fcntl
import hashlib
import logging
import os
import pathlib
import socket
import ssl
import time

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from . import protocol
from .errors import RubatoError
from .join_string import JoinString
from .transport import ANSWER_S, Address, make_channel, pauses, said

PROBE_TIMEOUT_S = 10
COMING_UP_S = 20  # also the moment in which an opaque run is opened that was just founded
log = logging.getLogger("rubato")


def fetch_pinned_authority(address: str, fingerprint: str) -> bytes:
    """The certificate behind `fingerprint` from the chain that the coordinator presents, as PEM.

    The connection trusts nobody and says nothing. Everything else then happens on connections that
    have this certificate as their only root: TLS itself refuses a peer that it has not signed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PROBE_TIMEOUT_S) as plain, \
                context.wrap_socket(plain) as connection:
            chain = _presented_chain(connection)
    except (OSError, ValueError) as error:
        raise ConnectionError(f"[join] {address}: got no answer in TLS, {error}") from error
    for der in chain:
        if hashlib.sha256(der).hexdigest() == fingerprint:
            return ssl.DER_cert_to_PEM_cert(der).encode()
    got = hashlib.sha256(chain[-1]).hexdigest() if chain else "none"
    raise RubatoError(f"[join] {address}: got an authority of fingerprint {got}, want {fingerprint}; "
                      "this is another coordinator, or somebody between")


def _presented_chain(connection: ssl.SSLSocket) -> list[bytes]:
    if hasattr(connection, "get_unverified_chain"):  # public from Python 3.13 on
        return list(connection.get_unverified_chain())
    certificates = connection._sslobj.get_unverified_chain() or []
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in certificates]


def _write(path: pathlib.Path, content: bytes, mode: int = 0o644) -> None:
    part = path.with_name(path.name + ".tmp")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


class Identity:
    """Who this worker is: key, certificate or token, and where its coordinator answers.

    Known to the coordinator once become_known() has returned. `worker` is its number.
    """

    def __init__(self, join: JoinString, directory: pathlib.Path, insecure: bool):
        self._join, self._insecure = join, insecure
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise RubatoError(f"[worker] {directory}: got a directory that another process uses, "
                              "want one of its own") from error
        self._key = self._load_or_make_key()
        self._certificate: bytes | None = None
        self._renewal_unix_s = float("inf")
        self.worker = -1
        self.address: Address | None = None

    def close(self) -> None:
        """Lets another process use the directory."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def become_known(self) -> None:
        """By the first coordinator of the fingerprint that answers. RubatoError when it refuses, or
        nobody answers for a while: a coordinator may be coming up."""
        until, pause = time.monotonic() + COMING_UP_S, pauses()
        while True:
            try:
                return self._try_addresses()
            except ConnectionError as error:
                if time.monotonic() > until:
                    raise RubatoError(str(error)) from error
                log.debug("%s; trying on", error)
            time.sleep(next(pause))

    def _try_addresses(self) -> None:
        kept = self._directory / ("worker.token" if self._insecure else "worker.crt")
        # A key that has enrolled is known without a secret.
        secret = "" if kept.exists() and not self._insecure else self._join.secret
        failures = []
        for address in self._join.addresses:
            try:
                if self._insecure:
                    self.address = Address(address)
                    if self._use_token() and self._is_known():
                        return
                else:
                    authority = fetch_pinned_authority(address, self._join.fingerprint)
                    self.address = Address(address, authority)
                self._enrol(secret)
                return
            except ConnectionError as error:
                failures.append(str(error))
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise RubatoError(said(error)) from error
                failures.append(f"{address}: {said(error)}")
        raise ConnectionError("; ".join(failures))

    def renewal_is_due(self) -> bool:
        return time.time() >= self._renewal_unix_s

    def renew(self) -> None:
        """The next certificate of the key; grpc.RpcError when there is none now."""
        self._enrol("")

    def _use_token(self) -> bool:
        path = self._directory / "worker.token"
        if not path.exists():
            return False
        worker, token = path.read_text().split()
        self.worker = int(worker)
        self.address = self.address.with_token(self.worker, token)
        return True

    def _is_known(self) -> bool:
        """False when the coordinator forgot the token: the join string is what is left."""
        asked = protocol.message("DescribeRequest")()
        asked.protocol.first, asked.protocol.last = protocol.PROTOCOL_FIRST, protocol.PROTOCOL_LAST
        with make_channel(self.address) as channel:
            try:
                protocol.stub(channel, "Control", "Describe")(
                    asked, timeout=ANSWER_S, metadata=self.address.metadata)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAUTHENTICATED:
                    raise
                return False
        return True

    def _enrol(self, secret: str) -> None:
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        csr = request.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        # Whoever shows a certificate must have a valid one; who shows none may ask for one.
        with make_channel(self.address.anonymous()) as channel:
            if secret:
                call = protocol.stub(channel, "Enrolment", "Enrol")
                message = protocol.message("EnrolRequest")(secret=secret, csr_pem=csr.decode())
            else:
                call = protocol.stub(channel, "Enrolment", "Renew")
                message = protocol.message("RenewRequest")(csr_pem=csr.decode())
            reply = call(message, timeout=ANSWER_S)
        self.worker = reply.worker
        if self._insecure:
            _write(self._directory / "worker.token", f"{reply.worker} {reply.token}\n".encode(),
                   0o600)
            self.address = self.address.with_token(reply.worker, reply.token)
            return
        certificate = x509.load_pem_x509_certificate(reply.certificate_pem.encode())
        _write(self._directory / "authority.crt", self.address.authority)
        _write(self._directory / "worker.crt", reply.certificate_pem.encode())
        begins, ends = (_unix_s(certificate, name)
                        for name in ("not_valid_before", "not_valid_after"))
        self._renewal_unix_s = begins + (ends - begins) / 3 * 2
        self.address = self.address.with_certificate(reply.certificate_pem.encode(),
                                                     self._key_pem())

    def _load_or_make_key(self):
        path = self._directory / "worker.key"
        if not path.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            _write(path, _pem_of(key), 0o600)
        if path.stat().st_mode & 0o077:
            raise RubatoError(f"[worker] {path}: got a key that others may read, want it kept; "
                              f"chmod 600 {path}")
        return serialization.load_pem_private_key(path.read_bytes(), password=None)

    def _key_pem(self) -> bytes:
        return _pem_of(self._key)


def _unix_s(certificate, name: str) -> float:
    moment = getattr(certificate, name + "_utc", None)  # from cryptography 42 on
    return (moment or getattr(certificate, name).replace(tzinfo=datetime.timezone.utc)).timestamp()


def _pem_of(key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())
