#include "rubato/store/spool_file.h"

#include <algorithm>

#include "rubato/base/digest.h"
#include "rubato/store/file_names.h"

namespace rubato {
namespace {

constexpr size_t kMaxTextBytes = 4096;
constexpr size_t kDigestDigits = 32;

struct Body {
  TaskId task;
  DeltaMeta meta;
  template <class A>
  void archive(A& a) {
    a(task, meta);
  }
};

Status refused(TaskId task, std::string_view got, std::string_view want) {
  return absl::InvalidArgumentError(cat("[spool] task ", task, ": got ", got, ", want ", want));
}

bool is_digest(std::string_view text) {
  return text.size() == kDigestDigits && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace

Status check_delta_meta(TaskId task, const DeltaMeta& meta) {
  if (task < TaskId(0)) return refused(task, "a negative id", "one that was dispatched");
  if (meta.values < 0) return refused(task, cat(meta.values, " values"), "0 or more");
  // So that sums of sizes never overflow.
  if (meta.bytes < 0 || meta.bytes > (int64_t{1} << 50))
    return refused(task, cat(meta.bytes, " bytes"), "0 to 2^50");
  if (meta.codec.size() > kMaxTextBytes || meta.codec_options.size() > kMaxTextBytes)
    return refused(task, "a codec whose name or options are longer", cat(kMaxTextBytes, " bytes"));
  if (!is_digest(meta.digest))
    return refused(task, cat("a digest of ", meta.digest.size(), " characters"),
                   "32 hexadecimal digits");
  return absl::OkStatus();
}

std::string encode_delta_header(TaskId task, const DeltaMeta& meta) {
  Body body{task, meta};
  return encode_header(kDeltaFormat, to_archive(body));
}

StatusOr<DeltaHeader> parse_delta_header(std::string_view path, std::string_view file_bytes) {
  Body body;
  RUBATO_ASSIGN_OR_RETURN(const BinaryHeader parsed,
                          parse_header_as(kDeltaFormat, path, file_bytes, body));
  if (const Status status = check_delta_meta(body.task, body.meta); !status.ok())
    return damaged_file(kDeltaFormat, path, cat(status.message()));
  return DeltaHeader{body.task, std::move(body.meta), parsed.bytes};
}

Status SpooledDelta::verify() const {
  const std::string digest = digest_of(payload);
  if (digest == header.meta.digest) return absl::OkStatus();
  return damaged_file(kDeltaFormat, path,
                      cat("got a payload with digest ", digest, ", want ", header.meta.digest));
}

StatusOr<SpooledDelta> open_delta_file(FileSystem& files, const std::string& path, TaskId task) {
  SpooledDelta delta;
  delta.path = path;
  RUBATO_ASSIGN_OR_RETURN(delta.file, files.map(path));
  RUBATO_ASSIGN_OR_RETURN(delta.header, parse_delta_header(path, delta.file.bytes));
  const DeltaHeader& header = delta.header;
  if (header.task != task)
    return damaged_file(kDeltaFormat, path, cat("it is the delta of task ", header.task));
  delta.payload = delta.file.bytes.substr(static_cast<size_t>(header.bytes));
  if (static_cast<int64_t>(delta.payload.size()) != header.meta.bytes)
    return damaged_file(kDeltaFormat, path,
                        cat("got ", delta.payload.size(), " bytes, want ", header.meta.bytes));
  return delta;
}

StatusOr<SpooledDelta> open_delta(FileSystem& files, const std::string& run_dir, TaskId task) {
  auto spooled = open_delta_file(files, spool_delta_path(run_dir, task), task);
  if (!absl::IsNotFound(spooled.status())) return spooled;
  // In this order: it may be moved from one to the other meanwhile.
  auto kept = open_delta_file(files, kept_delta_path(run_dir, task), task);
  return absl::IsNotFound(kept.status()) ? spooled : kept;
}

StatusOr<SpooledDelta> open_sound_delta(FileSystem& files, const std::string& run_dir,
                                        TaskId task) {
  RUBATO_ASSIGN_OR_RETURN(SpooledDelta delta, open_delta(files, run_dir, task));
  RUBATO_RETURN_IF_ERROR(delta.verify());
  return delta;
}

}  // namespace rubato
