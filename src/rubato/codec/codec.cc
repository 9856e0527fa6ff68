#include "rubato/codec/codec.h"

#include <algorithm>
#include <vector>

namespace rubato {

Codec::Codec(std::string name, int64_t block_values, int64_t block_bytes)
    : name_(std::move(name)), block_values_(block_values), block_bytes_(block_bytes) {
  RUBATO_CHECK(block_values >= 1 && block_bytes >= 1);
}

int64_t Codec::encoded_bytes(int64_t count) const {
  RUBATO_CHECK(count >= 0);
  const int64_t last = count % block_values_;
  return count / block_values_ * block_bytes_ + (last > 0 ? bytes_of_block(last) : 0);
}

void Codec::encode(std::span<const float> values, std::span<std::byte> encoded) const {
  const auto count = static_cast<int64_t>(values.size());
  RUBATO_CHECK(static_cast<int64_t>(encoded.size()) == encoded_bytes(count));
  encode_blocks(values.data(), count, encoded.data());
}

void Codec::decode(std::span<const std::byte> encoded, int64_t first, std::span<float> out) const {
  RUBATO_CHECK(first >= 0);
  const auto bytes = static_cast<int64_t>(encoded.size());
  int64_t block = first / block_values_, at = first % block_values_;
  while (!out.empty()) {
    const auto left = static_cast<int64_t>(out.size());
    const int64_t there = std::max<int64_t>(bytes / block_bytes_ - block, 0);
    const int64_t whole = at == 0 ? std::min(left / block_values_, there) : 0;
    int64_t values = whole * block_values_;
    if (whole > 0) {
      decode_blocks(encoded.data() + block * block_bytes_, whole, out.data());
      block += whole;
    } else {
      values = std::min(left, block_values_ - at);
      const int64_t begin = std::min(block * block_bytes_, bytes);
      const auto of_block = encoded.subspan(begin, std::min(block_bytes_, bytes - begin));
      decode_part(of_block, at, out.first(values));
      ++block;
      at = 0;
    }
    out = out.subspan(values);
  }
}

Status Codec::check(std::span<const std::byte> encoded, int64_t count) const {
  const int64_t want = encoded_bytes(count);
  if (static_cast<int64_t>(encoded.size()) != want) {
    return absl::InvalidArgumentError(cat("[codec] ", name_, ": got ", encoded.size(),
                                          " bytes, want ", want, " for ", count, " values"));
  }
  const std::optional<Flaw> flaw = find_flaw(encoded.data(), count);
  if (!flaw) return absl::OkStatus();
  return absl::InvalidArgumentError(
      cat("[codec] ", name_, ": block ", flaw->block, ": ", flaw->words));
}

StatusOr<std::unique_ptr<const Codec>> make_codec(std::string_view name,
                                                  const std::map<std::string, OptionValue>& given) {
  RUBATO_ASSIGN_OR_RETURN(const CodecEntry* entry,
                          find_entry("codec", "codec", codec_entries(), name));
  RUBATO_ASSIGN_OR_RETURN(const Options options, Options::resolve(name, entry->options, given));
  return entry->make(options);
}

void round_trip(const Codec& codec, std::span<float> values, ThreadPool* pool) {
  if (codec.lossless()) return;
  constexpr int64_t kChunkFloats = int64_t{1} << 16;
  const int64_t step =
      std::max(kChunkFloats / codec.block_values(), int64_t{1}) * codec.block_values();
  const auto run = [&](int64_t chunk) {
    const int64_t begin = chunk * step;
    const auto piece =
        values.subspan(static_cast<size_t>(begin),
                       static_cast<size_t>(std::min(step, std::ssize(values) - begin)));
    std::vector<std::byte> encoded(static_cast<size_t>(codec.encoded_bytes(std::ssize(piece))));
    codec.encode(piece, encoded);
    codec.decode(encoded, 0, piece);
  };
  const int64_t chunks = (std::ssize(values) + step - 1) / step;
  if (pool != nullptr) return pool->for_each(chunks, run);
  for (int64_t chunk = 0; chunk < chunks; ++chunk) run(chunk);
}

}  // namespace rubato
