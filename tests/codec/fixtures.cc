#include "tests/codec/fixtures.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "rubato/base/rng.h"

namespace rubato::testing {

std::unique_ptr<const Codec> codec_of(const std::string& name, const CodecOptions& options) {
  auto codec = make_codec(name, options);
  RUBATO_CHECK(codec.ok(), std::string(codec.status().message()));
  return std::move(codec).value();
}

std::vector<CodecCase> codec_cases() {
  std::vector<CodecCase> cases;
  for (const CodecEntry* entry : codec_entries()) {
    cases.push_back({entry->name, codec_of(entry->name)});
    for (const OptionSpec& spec : entry->options) {
      for (const double share : {0.0, 0.002, 0.3, 1.0}) {
        const double at = spec.min + share * (spec.max - spec.min);
        OptionValue value = at;
        if (spec.kind == OptionKind::kInteger) value = static_cast<int64_t>(at) / 2 * 2;
        cases.push_back({cat(entry->name, " ", spec.name, "=", to_text(value)),
                         codec_of(entry->name, {{spec.name, value}})});
      }
    }
  }
  return cases;
}

Floats random_floats(int64_t size, uint64_t key) {
  Rng rng(13, RngStream::kTest, key);
  Floats values(static_cast<size_t>(size));
  for (size_t i = 0; i < values.size(); ++i) {
    const double scale = 1e-3 * std::pow(2.0, static_cast<double>(i / 50 % 7));
    values[i] = static_cast<float>(scale * rng.normal());
  }
  return values;
}

Bytes encode(const Codec& codec, std::span<const float> values) {
  constexpr int64_t kGuard = 64;
  constexpr std::byte kMark{0xA5};
  const int64_t size = codec.encoded_bytes(std::ssize(values));
  Bytes buffer(static_cast<size_t>(size + 2 * kGuard), kMark);
  codec.encode(values, std::span(buffer).subspan(kGuard, size));
  const auto whole = [&](auto begin) {
    return std::all_of(begin, begin + kGuard, [](std::byte byte) { return byte == kMark; });
  };
  RUBATO_CHECK(whole(buffer.begin()) && whole(buffer.end() - kGuard), "written out of bounds");
  return {buffer.begin() + kGuard, buffer.end() - kGuard};
}

Floats decode(const Codec& codec, std::span<const std::byte> encoded, int64_t first,
              int64_t count) {
  Floats out(static_cast<size_t>(count), 1e30f);
  codec.decode(encoded, first, out);
  return out;
}

Floats sent(const Codec& codec, std::span<const float> values) {
  return decode(codec, encode(codec, values), 0, std::ssize(values));
}

bool same_bits(std::span<const float> x, std::span<const float> y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size_bytes()) == 0;
}

}  // namespace rubato::testing
