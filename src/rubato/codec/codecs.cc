// The list of codecs, one line a codec. An entry is defined in the file of its name; nothing
// registers itself, because linkers drop statics that nobody refers to.
#include "rubato/codec/codec.h"

#define RUBATO_CODECS(CODEC) \
  CODEC(kFp32Entry)          \
  CODEC(kBf16Entry)          \
  CODEC(kInt8Entry)          \
  CODEC(kInt4Entry)          \
  CODEC(kTopKEntry)

namespace rubato {

#define RUBATO_DECLARE(entry) extern const CodecEntry entry;
RUBATO_CODECS(RUBATO_DECLARE)
#undef RUBATO_DECLARE

std::span<const CodecEntry* const> codec_entries() {
#define RUBATO_ADDRESS(entry) &entry,
  static constexpr const CodecEntry* kEntries[] = {RUBATO_CODECS(RUBATO_ADDRESS)};
#undef RUBATO_ADDRESS
  return kEntries;
}

}  // namespace rubato
