// libFuzzer over records of the journal: what reads is written as the same bytes, or, of before
// codecs were agreed with each worker, with none behind them; errors are one line.
#include "tests/fuzz/fuzzing.h"

#include "rubato/base/text.h"
#include "rubato/rpc/logged_event.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  const std::string_view bytes = as_text(data, size);
  const auto record = logged_event_from(bytes);
  if (record.ok()) {
    const std::string again = to_bytes(*record);
    const std::string no_codec(3 * sizeof(int64_t), '\0');
    RUBATO_CHECK(again == bytes || again == cat(bytes, no_codec), "other bytes");
  } else {
    check_error(record.status(), "journal");
  }
  return 0;
}
