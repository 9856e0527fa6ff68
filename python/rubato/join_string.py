"""The one word that makes a worker; docs/formats.md has its grammar.

    rubato1/HOST:PORT[,HOST:PORT..]/FINGERPRINT/SECRET/CHECK
"""
import dataclasses
import ipaddress
import re
import zlib

from .errors import RubatoError

FORMAT = "rubato1"
SHAPE = "rubato1/HOST:PORT/FINGERPRINT/SECRET/CHECK"
MOST_ADDRESSES = 8
LONGEST = 4096


@dataclasses.dataclass(frozen=True)
class JoinString:
    addresses: tuple[str, ...]  # HOST:PORT, IPv6 in brackets: as gRPC takes them
    fingerprint: str  # SHA-256 of the authority's certificate, 64 hex digits
    secret: str = dataclasses.field(repr=False)

    def redacted(self) -> str:
        return f"{FORMAT}/{','.join(self.addresses)}/{self.fingerprint[:16]}../***"


def _refused(got: str, want: str) -> RubatoError:
    return RubatoError(f"[join] got {got}, want {want}")


def _parse_address(text: str, number: int) -> str:
    host, _, port = text.rpartition(":")
    is_port = re.fullmatch(r"[1-9][0-9]{0,4}", port) and int(port) <= 65535
    is_name = re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,252}", host) is not None
    if ":" in host and is_port:
        try:
            is_ipv6 = "%" not in host and host == host.lower() and ipaddress.IPv6Address(host)
        except ValueError:
            is_ipv6 = False
        if is_ipv6:
            return f"[{host}]:{port}"
    if not is_port or not is_name:
        raise _refused(f"an address {number} that is none", "HOST:PORT in lower case")
    return text


def parse_join_string(text: str) -> JoinString:
    """Spaces around it are passed over. RubatoError `[join] ..` that shows no secret."""
    text = text.strip(" \t\r\n")
    if not text:
        raise _refused("an empty join string", SHAPE)
    if len(text) > LONGEST:
        raise _refused(f"a join string of {len(text)} characters", f"at most {LONGEST}")
    parts = text.split("/")
    if parts[0] != FORMAT:
        if re.fullmatch(r"rubato[0-9]{0,6}", parts[0]):
            raise _refused(f"a join string of format {parts[0]}",
                           f"{FORMAT}; use the coordinator's version of this package")
        raise _refused(f"text that does not begin with {FORMAT}/",
                       "a join string as `rubato invite` prints it")
    if len(parts) != 5:
        raise _refused(f"a join string of {len(parts)} parts",
                       f"5, {SHAPE}; it was cut off or changed")
    _, addresses, fingerprint, secret, check = parts
    if not re.fullmatch(r"[0-9a-f]{8}", check):
        raise _refused("a join string without its 8 check digits at the end",
                       f"{SHAPE}; it was cut off or changed")
    body = text[:-len(check)].encode(errors="surrogatepass")
    if f"{zlib.crc32(body):08x}" != check:
        raise _refused("a join string that does not match its check digits",
                       "it as `rubato invite` printed it; a character was changed or lost")
    listed = addresses.split(",")
    if len(listed) > MOST_ADDRESSES:
        raise _refused(f"{len(listed)} addresses", f"at most {MOST_ADDRESSES}")
    hosts = tuple(_parse_address(address, i + 1) for i, address in enumerate(listed))
    if not re.fullmatch(r"[0-9a-f]{64}", fingerprint):
        raise _refused("a fingerprint that is none", "64 hexadecimal digits in lower case")
    if not re.fullmatch(r"[a-z2-7]{32}", secret):
        raise _refused("a secret that is none", "32 characters a-z2-7")
    return JoinString(hosts, fingerprint, secret)
