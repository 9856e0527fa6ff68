// Digests: XXH3 with 128 bits, written as 32 hexadecimal digits. They tell data, recipes,
// parameters and files apart and find corruption; they are no protection against an adversary.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace rubato {

std::string digest_of(std::string_view bytes);
/// Of the floats' bytes in memory.
std::string digest_of(std::span<const float> values);

/// XXH3 with 64 bits, for records and chunks; other seeds make other sums of the same bytes.
uint64_t checksum_of(std::string_view bytes, uint64_t seed = 0);

/// The digest of a stream of pieces; equal to digest_of of their concatenation.
class Digester {
 public:
  Digester();
  ~Digester();
  void update(std::string_view bytes);
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rubato
