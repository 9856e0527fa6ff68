// libFuzzer over rows of the evidence. Errors name the text and a line; what reads is written again
// and reads as the same.
#include <string>
#include <vector>

#include "tests/fuzz/fuzzing.h"

#include "rubato/metrics/evidence_row.h"

namespace rubato {
namespace {

std::string to_lines(const std::vector<EvidenceRow>& rows) {
  std::string text;
  for (const EvidenceRow& row : rows) text += to_line(row) + "\n";
  return text;
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  std::vector<EvidenceRow> rows;
  const auto sound = read_evidence_rows("rows", as_text(data, size), rows);
  if (!sound.ok()) {
    check_error(sound.status(), "rows");
    return 0;
  }
  RUBATO_CHECK(*sound <= size, "more than there was");
  const std::string text = to_lines(rows);
  std::vector<EvidenceRow> again;
  const auto read = read_evidence_rows("again", text, again);
  RUBATO_CHECK(read.ok(), "rows that were written do not read: ", read.status().message());
  RUBATO_CHECK(to_lines(again) == text, "rows changed");
  for (const EvidenceRow& row : rows) {
    const std::vector<double> equal(row.seconds_per_step.size(), 1.0);
    RUBATO_CHECK(at_speeds(row, equal).curve_time_s.size() == row.curve_time_s.size(), "a curve");
    time_to_loss(row, 1.0);
  }
  return 0;
}
