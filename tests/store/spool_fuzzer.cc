// libFuzzer over a spooled delta. The first byte says what the rest is: a whole file, the body of a
// header with the payload that it wants, or a payload behind a right header; and whether it lies
// there as a part or as a delta. Whatever lies there, an upload goes through and is read as sent.
#include "tests/fuzz/fuzzing.h"
#include "tests/store/spool_rig.h"

#include "rubato/store/file_names.h"

namespace rubato {
namespace {

constexpr TaskId kTask(7);

std::string file_of(uint8_t kind, std::string_view rest) {
  const std::string delta = tiny_delta(7);
  if (kind % 3 == 0) return std::string(rest);
  if (kind % 3 == 1) return cat(encode_header(kDeltaFormat, rest.substr(0, 10'000)), delta);
  return cat(encode_delta_header(kTask, meta_of(delta)), rest);
}

/// What reads is written again as the same.
void check_reading(const std::string& path, const StatusOr<SpooledDelta>& delta) {
  if (!delta.ok()) return check_error(delta.status(), path);
  const std::string again = encode_delta_header(kTask, delta->header.meta);
  RUBATO_CHECK(cat(again, delta->payload) == delta->file.bytes, "the file changed");
  if (const Status status = delta->verify(); !status.ok()) check_error(status, path);
}

void check_sending(MemoryFileSystem& files) {
  const auto spool = open_spool(files);
  const std::string delta = tiny_delta(7);
  Status sent = upload(*spool, kTask, delta);
  if (absl::IsDataLoss(sent)) sent = upload(*spool, kTask, delta);
  const auto found = spool->read(kTask);
  // Nobody but the user removes another delta, or one of a later program.
  const bool others = absl::IsAlreadyExists(sent) || absl::IsFailedPrecondition(sent);
  RUBATO_CHECK(sent.ok() || others, sent.ToString());
  RUBATO_CHECK(others || found->payload == delta, "another payload");
  RUBATO_CHECK(spool->trim({}).ok() && spool->bytes_used() == 0, "it cannot be removed");
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  if (size == 0) return 0;
  const bool complete = data[0] & 128;
  MemoryFileSystem files;
  const std::string path = complete ? spool_delta_path(kRun, kTask) : spool_part_path(kRun, kTask);
  RUBATO_CHECK(files.make_directories(spool_directory(kRun)).ok(), "a directory in memory");
  RUBATO_CHECK(files.replace_file(path, file_of(data[0] & 127, as_text(data + 1, size - 1))).ok(),
               "a file in memory");
  if (complete) check_reading(path, open_delta(files, kRun, kTask));
  check_sending(files);
  return 0;
}
