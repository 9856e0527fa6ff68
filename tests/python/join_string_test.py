"""Join strings, as docs/formats.md has them and rubato/rpc/join_string.h reads them."""
import unittest
import zlib

import support  # noqa: F401
from rubato import RubatoError, parse_join_string

FINGERPRINT = "0123456789abcdef" * 4
SECRET = "abcdefghijklmnopqrstuvwxyz234567"


def with_check(body):
    return f"{body}{zlib.crc32(body.encode()):08x}"


def join_string(addresses="host.example:7070", fingerprint=FINGERPRINT, secret=SECRET):
    return with_check(f"rubato1/{addresses}/{fingerprint}/{secret}/")


class JoinStringTest(unittest.TestCase):
    def test_reads_what_invite_prints(self):
        got = parse_join_string(f"  {join_string('a-b.c:1,127.0.0.1:65535,fe80::1:443')}\n")
        self.assertEqual(got.addresses, ("a-b.c:1", "127.0.0.1:65535", "[fe80::1]:443"))
        self.assertEqual((got.fingerprint, got.secret), (FINGERPRINT, SECRET))

    def test_does_not_show_its_secret(self):
        got = parse_join_string(join_string())
        self.assertNotIn(SECRET, repr(got) + got.redacted())

    def test_finds_a_changed_character(self):
        text = join_string()
        for at in range(8, len(text)):
            changed = text[:at] + ("b" if text[at] == "a" else "a") + text[at + 1:]
            with self.assertRaisesRegex(RubatoError, r"^\[join\] got .+, want .+"):
                parse_join_string(changed)

    def test_refuses_what_is_none(self):
        for text, words in {
                "": "an empty join string",
                "hello": "does not begin with rubato1/",
                "rubato2/a": "of format rubato2",
                "rubato1/a:1": "of 2 parts",
                join_string("host"): "an address 1",
                join_string("host:0"): "an address 1",
                join_string("host:65536"): "an address 1",
                join_string("a:1,HOST:1"): "an address 2",
                join_string("-a:1"): "an address 1",
                join_string("1:2:3:4"): "an address 1",
                join_string("fe80::1%eth0:4"): "an address 1",
                join_string(",".join(["a:1"] * 9)): "9 addresses",
                join_string(fingerprint="0" * 63): "a fingerprint",
                join_string(fingerprint="A" * 64): "a fingerprint",
                join_string(secret="a" * 31): "a secret",
                join_string(secret="a" * 31 + "1"): "a secret",
                "rubato1/" + "a" * 5000: "5008 characters",
        }.items():
            with self.subTest(text=text), self.assertRaisesRegex(RubatoError, words) as refused:
                parse_join_string(text)
            self.assertNotIn(SECRET, str(refused.exception))


if __name__ == "__main__":
    unittest.main(verbosity=2)
