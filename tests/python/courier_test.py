"""Bulk transfers of the worker in Python over a link that breaks: what was sent is not sent again."""
import pathlib
import tempfile
import unittest

import support  # noqa: F401
import grpc
import numpy as np
import torch
import xxhash
from rubato import RubatoError, protocol
from rubato.codecs import Bf16, Fp32
from rubato.courier import Courier
from rubato.errors import GivenUp
from rubato.layout import Parameters


def broken(code_name, text="cut"):
    class Broken(grpc.RpcError):
        def code(self):
            return grpc.StatusCode[code_name]

        def details(self):
            return text

    return Broken()


class ScriptedLink:
    """Holds `content`; every fetch ends behind so many chunks as the script says, None: never."""

    def __init__(self, content, script, chunk_bytes=1000):
        self.content, self.script, self.chunk_bytes = content, list(script), chunk_bytes
        self.offsets, self.sent_bytes = [], 0
        self.spooled, self.pushes, self.block_bytes = b"", [], 260

    def fetch(self, request):
        self.offsets.append(request.offset)
        whole = self.script.pop(0) if self.script else None
        for number, at in enumerate(range(request.offset, len(self.content), self.chunk_bytes)):
            if whole is not None and number == abs(whole):
                if whole < 0:  # damage instead of a cut
                    yield protocol.message("Chunk")(offset=at, total=len(self.content), checksum=1,
                                                    data=b"x" * self.chunk_bytes)
                raise broken("UNAVAILABLE")
            data = self.content[at:at + self.chunk_bytes]
            self.sent_bytes += len(data)
            yield protocol.message("Chunk")(offset=at, total=len(self.content), data=data,
                                            checksum=xxhash.xxh3_64_intdigest(data))

    def push_offset(self, _):
        return protocol.message("PushOffsetReply")(offset=len(self.spooled))

    def push(self, parts):
        whole = self.script.pop(0) if self.script else None
        for number, part in enumerate(parts):
            if number == 0:
                self.pushes.append(part.header)
                continue
            if whole is not None and number > whole:
                self.spooled = self.spooled[:-100]  # a part may end anywhere after a crash
                raise broken("INTERNAL")
            chunk = part.chunk
            assert (chunk.offset + len(chunk.data)) % self.block_bytes == 0 or \
                chunk.offset + len(chunk.data) == chunk.total
            assert chunk.offset == len(self.spooled), (chunk.offset, len(self.spooled))
            assert xxhash.xxh3_64_intdigest(chunk.data) == chunk.checksum
            self.spooled += chunk.data
            self.sent_bytes += len(chunk.data)
        return protocol.message("PushReply")(verdict="VERDICT_APPLIED")


class CourierTest(unittest.TestCase):
    def test_parameters_go_on_where_they_were_cut(self):
        values = np.random.default_rng(1).standard_normal(2600).astype(np.float32)
        for codec in (Fp32(), Bf16()):
            with self.subTest(codec=codec.name):
                encoded = codec.encode(values).tobytes()
                link = ScriptedLink(encoded, [2, -1, 0, None])
                got = Courier(link, 60).fetch_parameters(5, codec, None, len(values), lambda: True)
                self.assertEqual(got.tobytes(),
                                 codec.decode(np.frombuffer(encoded, np.uint8), 2600).tobytes())
                self.assertEqual(link.offsets, [0, 2000, 3000, 3000])
                self.assertEqual(link.sent_bytes, len(encoded))

    def test_parameters_that_are_not_kept_are_none(self):
        link = ScriptedLink(b"", [])
        link.fetch = lambda request: (_ for _ in ()).throw(broken("NOT_FOUND"))
        self.assertIsNone(Courier(link, 60).fetch_parameters(5, Fp32(), None, 10,
                                                             lambda: True))

    def test_a_delta_goes_on_where_it_was_cut(self):
        data = np.random.default_rng(1).integers(0, 256, 5 << 20, np.uint8)
        link = ScriptedLink(b"", [2, 1, None])
        header = protocol.message("DeltaHeader")(task=7, bytes=len(data))
        reply = Courier(link, 60).push(header, data, link.block_bytes, lambda: True)
        self.assertEqual(reply.verdict, reply.VERDICT_APPLIED)
        self.assertEqual(link.spooled, data.tobytes())
        self.assertEqual(link.sent_bytes, len(data) + 200)
        self.assertEqual([pushed.task for pushed in link.pushes], [7, 7, 7])

    def test_a_refusal_is_not_repeated_and_a_cut_only_while_it_is_wanted(self):
        asked = []

        def refused():
            asked.append(1)
            raise broken("PERMISSION_DENIED")

        with self.assertRaises(grpc.RpcError):
            Courier(None, 60).persist(refused)
        self.assertEqual(len(asked), 1)

        def cut():
            raise broken("UNAVAILABLE", "nobody there")

        with self.assertRaises(GivenUp):
            Courier(None, 60).persist(cut, lambda: False)
        with self.assertRaisesRegex(RubatoError, "nobody there"):
            Courier(None, 0).persist(cut)

    def test_files_are_whole_or_not_there(self):
        content = bytes(range(256)) * 40
        file = protocol.message("RunFile")(name="sub/shard.tokens", bytes=len(content),
                                           digest=xxhash.xxh3_128_hexdigest(content))
        with tempfile.TemporaryDirectory() as name:
            directory = pathlib.Path(name)
            link = ScriptedLink(content, [3, None])
            path = Courier(link, 60).fetch_file(file, directory)
            self.assertEqual(path.read_bytes(), content)
            self.assertEqual(link.offsets, [0, 3000])
            Courier(link, 60).fetch_file(file, directory)
            self.assertEqual(link.offsets, [0, 3000], "it was there")
            file.name, file.digest = "other", "0" * 32
            with self.assertRaisesRegex(RubatoError, "want 0000"):
                Courier(link, 60).fetch_file(file, directory)
            self.assertFalse((directory / "other").exists())
            for bad in ("../out", "/etc/passwd", ".."):
                file.name = bad
                with self.assertRaisesRegex(RubatoError, "want one below a directory"):
                    Courier(link, 60).fetch_file(file, directory)


class LayoutTest(unittest.TestCase):
    def model(self):
        return torch.nn.ModuleDict({"embed": torch.nn.Embedding(5, 4),
                                    "linear": torch.nn.Linear(4, 3),
                                    "norm": torch.nn.LayerNorm(3)})

    def test_names_roles_and_digest(self):
        layout = Parameters(self.model()).layout()
        roles = [(tensor.name, list(tensor.shape), tensor.role) for tensor in layout.tensors]
        tensor = layout.tensors[0]
        self.assertEqual(roles, [("embed.weight", [5, 4], tensor.ROLE_EMBEDDING),
                                 ("linear.weight", [3, 4], tensor.ROLE_MATRIX),
                                 ("linear.bias", [3], tensor.ROLE_BIAS),
                                 ("norm.weight", [3], tensor.ROLE_NORM),
                                 ("norm.bias", [3], tensor.ROLE_BIAS)])
        text = ("embed.weight [5,4]\nlinear.weight [3,4]\nlinear.bias [3]\nnorm.weight [3]\n"
                "norm.bias [3]\n")
        self.assertEqual(layout.digest, xxhash.xxh3_128_hexdigest(text.encode()))

    def test_what_is_written_is_read_in_the_runs_order(self):
        model = self.model()
        parameters = Parameters(model)
        layout = parameters.layout()
        tensors = list(layout.tensors)
        del layout.tensors[:]
        layout.tensors.extend(reversed(tensors))
        parameters.take_order(layout)
        flat = np.arange(parameters.size, dtype=np.float32)
        parameters.write(flat)
        self.assertEqual(parameters.read().tolist(), flat.tolist())
        self.assertEqual(model["norm"].bias.tolist(), [0, 1, 2])
        self.assertEqual(model["embed"].weight[4].tolist(), [37, 38, 39, 40])

    def test_another_model_is_refused_by_its_first_difference(self):
        layout = Parameters(self.model()).layout()
        other = self.model()
        other["linear"] = torch.nn.Linear(4, 3, bias=False)
        with self.assertRaisesRegex(RubatoError, "linear.bias: got no such tensor, want shape"):
            Parameters(other).take_order(layout)
        other["linear"] = torch.nn.Linear(4, 2)
        with self.assertRaisesRegex(RubatoError, r"linear.weight: got shape \[2, 4\], want shape "):
            Parameters(other).take_order(layout)
        with self.assertRaisesRegex(RubatoError, "named_parameters"):
            Parameters(torch.nn.Identity())


if __name__ == "__main__":
    unittest.main(verbosity=2)
