"""How values travel: fp32, bf16 and int8, with the bytes of docs/formats.md (src/rubato/codec).

Every codec is a sequence of blocks of fixed size, of which only the last may be shorter; each
decodes alone. Arrays are numpy float32 in, uint8 out, and the other way round.
"""
import numpy as np

from .errors import RubatoError

QUIET_NAN = np.uint32(0x7FC00000)
LEAST_ABSMAX = np.float32(2.0 ** -100)  # a block whose largest value is below becomes zeros
BLOCKS_AT_A_TIME = 4096  # so that temporaries stay small beside the model


class Fp32:
    """The values as they are."""

    name = "fp32"
    block_values, block_bytes = 1, 4
    lossless = True

    def encoded_bytes(self, count: int) -> int:
        return 4 * count

    def encode(self, values: np.ndarray) -> np.ndarray:
        return values.astype("<f4").view(np.uint8)

    def decode(self, encoded: np.ndarray, count: int) -> np.ndarray:
        return encoded.view("<f4")[:count].astype(np.float32)


class Bf16:
    """The upper half of every float, rounded to nearest, ties to even."""

    name = "bf16"
    block_values, block_bytes = 1, 2
    lossless = False

    def encoded_bytes(self, count: int) -> int:
        return 2 * count

    def encode(self, values: np.ndarray) -> np.ndarray:
        bits = values.astype("<f4").view("<u4")
        upper = bits >> 16
        rounded = (bits + (np.uint32(0x7FFF) + (upper & 1))) >> 16
        is_nan = (bits & 0x7FFFFFFF) > 0x7F800000
        return np.where(is_nan, upper | 0x40, rounded).astype("<u2").view(np.uint8)

    def decode(self, encoded: np.ndarray, count: int) -> np.ndarray:
        return (encoded.view("<u2")[:count].astype(np.uint32) << 16).view(np.float32)


class Int8:
    """Whole numbers in [-127, 127] times the scale of their block: largest magnitude / 127."""

    name = "int8"
    lossless = False

    def __init__(self, block: int = 256):
        self.block_values, self.block_bytes = block, 4 + block

    def encoded_bytes(self, count: int) -> int:
        return 4 * -(-count // self.block_values) + count

    def encode(self, values: np.ndarray) -> np.ndarray:
        whole = len(values) // self.block_values * self.block_values
        parts = [self._encode_rows(values[at:at + size].reshape(-1, self.block_values)).ravel()
                 for at, size in self._pieces(whole)]
        if whole < len(values):
            parts.append(self._encode_rows(values[whole:].reshape(1, -1)).ravel())
        return np.concatenate(parts) if parts else np.empty(0, np.uint8)

    def decode(self, encoded: np.ndarray, count: int) -> np.ndarray:
        out = np.empty(count, np.float32)
        whole = count // self.block_values
        for at, size in self._pieces(whole * self.block_values):
            begin = at // self.block_values * self.block_bytes
            rows = encoded[begin:begin + size // self.block_values * self.block_bytes]
            out[at:at + size] = self._decode_rows(rows.reshape(-1, self.block_bytes)).ravel()
        if whole * self.block_values < count:
            rest = encoded[whole * self.block_bytes:].reshape(1, -1)
            out[whole * self.block_values:] = self._decode_rows(rest).ravel()
        return out

    def _pieces(self, count: int):
        step = BLOCKS_AT_A_TIME * self.block_values
        return [(at, min(step, count - at)) for at in range(0, count, step)]

    @staticmethod
    def _encode_rows(x: np.ndarray) -> np.ndarray:
        magnitude = np.abs(x)
        absmax = magnitude.max(axis=1)
        is_finite = np.isfinite(absmax)
        is_zero = absmax < LEAST_ABSMAX
        usable = np.where(is_finite & ~is_zero, absmax, np.float32(1))
        scale = usable / np.float32(127)
        # Rounded towards 0, so that no product exceeds the largest value.
        exceeds = scale.astype(np.float64) * 127.0 > usable.astype(np.float64)
        scale = (scale.view(np.uint32) - exceeds.astype(np.uint32)).view(np.float32)
        inverse = np.float32(127) / usable
        has_codes = is_finite & ~is_zero
        x = np.where(has_codes[:, None], x, np.float32(0))
        codes = np.rint(x * inverse[:, None]).astype(np.int8)
        bits = np.where(is_zero, np.uint32(0), np.where(is_finite, scale.view(np.uint32), QUIET_NAN))
        head = bits.astype("<u4").view(np.uint8).reshape(-1, 4)
        return np.concatenate((head, codes.view(np.uint8)), axis=1)

    @staticmethod
    def _decode_rows(rows: np.ndarray) -> np.ndarray:
        scale = np.ascontiguousarray(rows[:, :4]).view("<f4")
        return scale * rows[:, 4:].view(np.int8).astype(np.float32)


UP_CODECS = ("fp32", "bf16", "int8")  # that this package encodes, error feedback included
DOWN_CODECS = ("fp32", "bf16")  # that parameters travel by


def make_codec(described):
    """Of a rubato.v1.Codec."""
    options = dict(described.options)
    if described.name == "fp32":
        return Fp32()
    if described.name == "bf16":
        return Bf16()
    if described.name == "int8":
        return Int8(int(options.get("block", 256)))
    raise RubatoError(f"[codec] got {described.name}, want one of {', '.join(UP_CODECS)}")


class ErrorFeedback:
    """What a lossy codec leaves out of a delta goes along with the next one.

    c = delta + residual; send c; residual' = c - decoded(c). An answer of `applied` commits the new
    residual; after any other the delta is lost with it (src/rubato/codec/error_feedback.h).
    """

    def __init__(self, codec, num_params: int):
        self._codec = codec
        self._residual = None if codec.lossless else np.zeros(num_params, np.float32)
        self._candidate = None

    def encode(self, delta: np.ndarray) -> np.ndarray:
        if self._residual is None:
            return self._codec.encode(delta)
        candidate = delta + self._residual
        encoded = self._codec.encode(candidate)
        candidate -= self._codec.decode(encoded, len(candidate))
        self._candidate = candidate
        return encoded

    def commit(self) -> None:
        if self._candidate is not None:
            self._residual, self._candidate = self._candidate, None

    def roll_back(self) -> None:
        self._candidate = None
