// What the fuzzers share: their input as text, and what every error of a reader must be.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "rubato/base/status.h"

/// One input; 0 always. A property that does not hold aborts.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace rubato {

inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// An error of a reader is one line, whatever bytes it quotes, and names what was read.
inline void check_error(const Status& status, std::string_view name) {
  const std::string message(status.message());
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20; };
  RUBATO_CHECK(!status.ok(), "no error");
  RUBATO_CHECK(std::ranges::none_of(message, control), "an error of several lines: ", message);
  RUBATO_CHECK(message.find(name) != std::string::npos, "an error without ", name, ": ", message);
}

}  // namespace rubato
