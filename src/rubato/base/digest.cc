#include "rubato/base/digest.h"

#include <xxhash.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>  // the same sums by the widest vectors that the processor has
#endif

namespace rubato {
namespace {

std::string to_hex(XXH128_hash_t hash) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text(32, '0');
  for (size_t i = 0; i < 16; ++i) {
    text[i] = kDigits[(hash.high64 >> (60 - 4 * i)) & 15];
    text[16 + i] = kDigits[(hash.low64 >> (60 - 4 * i)) & 15];
  }
  return text;
}

}  // namespace

struct Digester::State {
  XXH3_state_t* hash = XXH3_createState();
  ~State() { XXH3_freeState(hash); }
};

std::string digest_of(std::string_view bytes) {
  return to_hex(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string digest_of(std::span<const float> values) {
  return digest_of(
      std::string_view(reinterpret_cast<const char*>(values.data()), values.size_bytes()));
}

uint64_t checksum_of(std::string_view bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

Digester::Digester() : state_(std::make_unique<State>()) { XXH3_128bits_reset(state_->hash); }
Digester::~Digester() = default;

void Digester::update(std::string_view bytes) {
  XXH3_128bits_update(state_->hash, bytes.data(), bytes.size());
}

std::string Digester::hex() const { return to_hex(XXH3_128bits_digest(state_->hash)); }

}  // namespace rubato
