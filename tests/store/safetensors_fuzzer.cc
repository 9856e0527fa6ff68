// libFuzzer entry for the safetensors header: any bytes are an error or a header whose tensors
// cover the file's data exactly, and which our own writer's encoding reproduces in meaning.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "rubato/store/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto header = rubato::parse_safetensors("fuzz", bytes);
  if (!header.ok()) return 0;
  RUBATO_CHECK(header->file_bytes() == static_cast<int64_t>(size), "tensors and file disagree");
  const auto tensors = header->tensors;
  const auto encoded = rubato::encode_safetensors_header(*header);
  RUBATO_CHECK(encoded.ok(), "a header that was read cannot be written");
  for (size_t i = 0; i < tensors.size(); ++i) {
    RUBATO_CHECK(tensors[i].offset == header->tensors[i].offset, "offsets moved");
    RUBATO_CHECK(tensors[i].bytes == header->tensors[i].bytes, "sizes changed");
  }
  return 0;
}
