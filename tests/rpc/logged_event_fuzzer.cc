// libFuzzer over records of the journal: what reads is written as the same bytes; errors are one
// line.
#include "tests/fuzz/fuzzing.h"

#include "rubato/rpc/logged_event.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  const std::string_view bytes = as_text(data, size);
  const auto record = logged_event_from(bytes);
  if (record.ok()) {
    RUBATO_CHECK(to_bytes(*record) == bytes, "other bytes");
  } else {
    check_error(record.status(), "journal");
  }
  return 0;
}
