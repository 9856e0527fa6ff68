// libFuzzer over encodings: the first bytes choose the codec, its options, the count and a range;
// the rest is an encoding, and then the values of another. Whatever the bytes, decoding stays in
// bounds; what passes the check decodes the same in any pieces; what is encoded passes it.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "tests/fuzz/fuzzing.h"

#include "rubato/codec/codec.h"

namespace rubato {
namespace {

// Bytes of the input as numbers; zeros behind its end.
class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  int64_t next(int64_t below) {
    const int64_t value = size_ > 1 ? data_[0] + 256 * data_[1] : 0;
    const size_t taken = std::min<size_t>(size_, 2);
    data_ += taken;
    size_ -= taken;
    return value % below;
  }
  std::span<const std::byte> rest() const {
    return {reinterpret_cast<const std::byte*>(data_), size_};
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

std::unique_ptr<const Codec> choose_codec(Choices& choices) {
  const auto entries = codec_entries();
  const CodecEntry& entry = *entries[choices.next(std::ssize(entries))];
  std::map<std::string, OptionValue> options;
  for (const OptionSpec& spec : entry.options) {
    const int64_t choice = choices.next(1001);
    if (spec.kind == OptionKind::kInteger) {
      options[spec.name] = static_cast<int64_t>(spec.min) + choice / 2 * 2;
    } else {
      options[spec.name] = spec.min + (spec.max - spec.min) * static_cast<double>(choice) / 1000;
    }
  }
  auto codec = make_codec(entry.name, options);
  RUBATO_CHECK(codec.ok(), "options in their ranges");
  return std::move(codec).value();
}

bool same_bits(std::span<const float> x, std::span<const float> y) {
  return x.size() == y.size() &&
         (x.empty() || std::memcmp(x.data(), y.data(), x.size_bytes()) == 0);
}

// Buffers of exactly the size asked for, so that a sanitizer sees a step outside.
std::vector<float> decode(const Codec& codec, std::span<const std::byte> encoded, int64_t first,
                          int64_t count) {
  std::vector<float> out(static_cast<size_t>(count));
  codec.decode(encoded, first, out);
  return out;
}

void check_pieces(const Codec& codec, std::span<const std::byte> encoded, int64_t count,
                  int64_t first, int64_t size) {
  const std::vector<float> whole = decode(codec, encoded, 0, count);
  first = std::min(first, count);
  size = std::min(size, count - first);
  RUBATO_CHECK(
      same_bits(decode(codec, encoded, first, size), std::span(whole).subspan(first, size)),
      "a range is not that part of the whole");
}

void check_values(const Codec& codec, std::span<const std::byte> bytes, int64_t first,
                  int64_t size) {
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  const int64_t count = std::ssize(values);
  std::vector<std::byte> encoded(static_cast<size_t>(codec.encoded_bytes(count)));
  codec.encode(values, encoded);
  RUBATO_CHECK(codec.check(encoded, count).ok(), "an encoder's bytes are refused");
  check_pieces(codec, encoded, count, first, size);
  const auto finite = [](float value) { return std::isfinite(value); };
  const std::vector<float> decoded = decode(codec, encoded, 0, count);
  RUBATO_CHECK(std::ranges::all_of(values, finite) || !std::ranges::all_of(decoded, finite),
               "what is not finite was hidden");
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  Choices choices(data, size);
  const auto codec = choose_codec(choices);
  int64_t count = choices.next(5000);
  const int64_t first = choices.next(6000), range = choices.next(3000);
  const bool fits = choices.next(4) != 0;  // mostly of the right size, or little gets past it
  std::vector<std::byte> encoded(choices.rest().begin(), choices.rest().end());
  if (fits) encoded.resize(static_cast<size_t>(codec->encoded_bytes(count)));

  decode(*codec, encoded, first, range);
  const Status status = codec->check(encoded, count);
  if (status.ok()) {
    check_pieces(*codec, encoded, count, first, range);
  } else {
    check_error(status, cat("[codec] ", codec->name()));
  }
  check_values(*codec, choices.rest(), first, range);
  return 0;
}
