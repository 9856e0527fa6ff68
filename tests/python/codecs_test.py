"""The codecs of the worker in Python against those of the coordinator, byte for byte, and the order
of the data and the learning rate number for number."""
import subprocess
import unittest

import support
import numpy as np
from rubato import RubatoError, protocol
from rubato.codecs import BLOCKS_AT_A_TIME, Bf16, ErrorFeedback, Fp32, Int8, make_codec
from rubato.schedule import Settings, permuted_index

RECIPE = """
run = {{ seed = 1 }}
model = {{ kind = "opaque" }}
opaque = {{ tokens_per_sequence = 4 }}
lr = {{ max = {most}, min = {least}, warmup_steps = {warmup}, first_step = "schedule" }}
train = {{ inner_rewarm_steps = 4, inner_state = "keep", batch_sequences = 2 }}
"""
REFERENCE = str(support.BUILD / "tests" / "python_reference")


def reference(*words, given=b""):
    return subprocess.run([REFERENCE, *map(str, words)], input=given, capture_output=True,
                          timeout=60, check=True).stdout


def hard_values(count, seed):
    """Of every magnitude, with ties, denormals, zeros of both signs and a block of each flaw."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(count).astype(np.float32)
    values *= np.exp2(rng.integers(-150, 120, count)).astype(np.float32)
    values[::7] = np.round(values[::7] * 4) / 8  # ties
    values[::11] = 0.0
    values[::13] = -0.0
    values[::17] = np.float32(1e-42)
    return values


def families(count):
    rng = np.random.default_rng(count)
    yield "normal", rng.standard_normal(count).astype(np.float32)
    yield "of every magnitude", hard_values(count, count)
    yield "small", (rng.standard_normal(count) * 2.0 ** -100).astype(np.float32)
    yield "whole numbers", rng.integers(-300, 300, count).astype(np.float32)
    yield "all bits", rng.integers(0, 2 ** 32, count, dtype=np.uint32).view(np.float32)
    yield "largest", np.full(count, np.finfo(np.float32).max, np.float32)
    yield "zeros", np.zeros(count, np.float32)


def codecs():
    yield Fp32(), 0
    yield Bf16(), 0
    yield Int8(), 0
    yield Int8(32), 32
    yield Int8(1000), 1000


class CodecsTest(unittest.TestCase):
    def test_encode_to_the_coordinators_bytes(self):
        for codec, block in codecs():
            for count in (0, 31, 4097):
                for name, values in families(count):
                    with self.subTest(codec=codec.name, block=block, count=count, values=name):
                        with np.errstate(all="ignore"):
                            got = codec.encode(values)
                        self.assertEqual(got.dtype, np.uint8)
                        self.assertEqual(len(got), codec.encoded_bytes(count))
                        want = reference("encode", codec.name, block, given=values.tobytes())
                        self.assertEqual(got.tobytes(), want)

    def test_decode_to_the_coordinators_floats(self):
        for codec, block in codecs():
            for count in (1, 4097):
                for name, values in families(count):
                    with self.subTest(codec=codec.name, block=block, count=count, values=name):
                        encoded = reference("encode", codec.name, block, given=values.tobytes())
                        with np.errstate(all="ignore"):
                            got = codec.decode(np.frombuffer(encoded, np.uint8), count)
                        want = reference("decode", codec.name, block, count, given=encoded)
                        self.assertEqual(got.tobytes(), want)

    def test_more_than_one_piece_is_one_encoding(self):
        codec = Int8()
        count = 2 * BLOCKS_AT_A_TIME * codec.block_values + 77
        values = np.random.default_rng(1).standard_normal(count).astype(np.float32)
        got = codec.encode(values).tobytes()
        self.assertEqual(got, reference("encode", "int8", 0, given=values.tobytes()))
        decoded = codec.decode(np.frombuffer(got, np.uint8), count)
        self.assertEqual(decoded.tobytes(), reference("decode", "int8", 0, count, given=got))

    def test_error_feedback_sends_in_the_end_what_it_left_out(self):
        rng = np.random.default_rng(2)
        codec = Int8()
        feedback = ErrorFeedback(codec, 1000)
        wanted, sent = np.zeros(1000), np.zeros(1000)
        for round_ in range(50):
            delta = rng.standard_normal(1000).astype(np.float32)
            encoded = feedback.encode(delta)
            if round_ % 5 == 4:  # refused: lost with what it carried
                feedback.roll_back()
                continue
            wanted += delta
            sent += codec.decode(encoded, 1000)
            feedback.commit()
        # What is missing is one rounding, not fifty.
        self.assertLess(np.abs(wanted - sent).max(), 4.0 / 127)

    def test_unknown_codecs_are_refused(self):
        with self.assertRaisesRegex(RubatoError, r"\[codec\] got top_k"):
            make_codec(protocol.message("Codec")(name="top_k"))
        made = make_codec(protocol.message("Codec")(name="int8", options={"block": 64}))
        self.assertEqual((made.block_values, made.block_bytes), (64, 68))


class ScheduleTest(unittest.TestCase):
    def test_the_order_of_a_shard_is_the_coordinators(self):
        for seed, shard, epoch, size in ((1, 0, 0, 1), (1, 0, 0, 2), (7, 3, 2, 100),
                                         (2 ** 63 + 5, 1, 0, 257), (0, 4095, 9, 1000)):
            want = [int(line) for line in reference("order", seed, shard, epoch, size).split()]
            got = [permuted_index(seed, shard, epoch, at, size) for at in range(size)]
            self.assertEqual(got, want)
            self.assertEqual(sorted(got), list(range(size)))

    def test_the_rate_is_the_coordinators(self):
        for most, least, warmup, total in ((1e-3, 1e-5, 10, 100), (0.5, 0.0, 0, 17),
                                           (2.0, 2.0, 30, 20)):
            settings = Settings.of(RECIPE.format(most=most, least=least, warmup=warmup))
            want = [float(line) for line in reference("rate", most, least, warmup, total).split()]
            task = protocol.message("Task")(lr_first=0, lr_total=total)
            for step, rate in enumerate(want):
                self.assertAlmostEqual(settings.learning_rate(task, step), rate, delta=1e-15)
            task.rewarm_first = 0
            self.assertAlmostEqual(settings.learning_rate(task, 1), want[1] / 2, delta=1e-15)


if __name__ == "__main__":
    unittest.main(verbosity=2)
