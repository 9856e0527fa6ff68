#include "rubato/store/file_names.h"

#include <algorithm>
#include <charconv>

#include "rubato/base/text.h"
#include "rubato/store/file_system.h"

namespace rubato {
namespace {

constexpr std::string_view kSegmentPrefix = "segment-", kTaskPrefix = "task-",
                           kVersionPrefix = "v-";
constexpr std::string_view kPartSuffix = ".part", kDeltaSuffix = ".delta";
/// Digits of a segment's index, so that a listing by name is in order; a longer one is fine.
constexpr size_t kSegmentDigits = 12;

std::string segment_name(int64_t first_index) {
  const std::string digits = cat(first_index);
  const size_t zeros = kSegmentDigits - std::min(kSegmentDigits, digits.size());
  return cat(kSegmentPrefix, std::string(zeros, '0'), digits);
}

}  // namespace

int64_t number_in_name(std::string_view name, std::string_view prefix, std::string_view suffix) {
  if (name.size() < prefix.size() + suffix.size() || !name.starts_with(prefix) ||
      !name.ends_with(suffix))
    return -1;
  const std::string_view digits =
      name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
  int64_t number = -1;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return result.ec == std::errc() && cat(number) == digits ? std::max<int64_t>(number, -1) : -1;
}

std::string journal_directory(std::string_view run_dir) { return join_path(run_dir, "journal"); }

std::string journal_segment_path(std::string_view run_dir, int64_t first_index) {
  return join_path(journal_directory(run_dir), segment_name(first_index));
}

int64_t journal_segment_index(std::string_view name) {
  if (!name.starts_with(kSegmentPrefix)) return -1;
  std::string_view digits = name.substr(kSegmentPrefix.size());
  while (digits.size() > 1 && digits.front() == '0') digits.remove_prefix(1);
  const int64_t index = number_in_name(digits, "");
  return index >= 0 && segment_name(index) == name ? index : -1;
}

std::string spool_directory(std::string_view run_dir) { return join_path(run_dir, "spool"); }
std::string kept_directory(std::string_view run_dir) { return join_path(run_dir, "kept"); }

std::string spool_part_path(std::string_view run_dir, TaskId task) {
  return join_path(spool_directory(run_dir), cat(kTaskPrefix, task, kPartSuffix));
}

std::string spool_delta_path(std::string_view run_dir, TaskId task) {
  return join_path(spool_directory(run_dir), cat(kTaskPrefix, task, kDeltaSuffix));
}

std::string kept_delta_path(std::string_view run_dir, TaskId task) {
  return join_path(kept_directory(run_dir), cat(kTaskPrefix, task, kDeltaSuffix));
}

int64_t spool_part_task(std::string_view name) {
  return number_in_name(name, kTaskPrefix, kPartSuffix);
}

int64_t spool_delta_task(std::string_view name) {
  return number_in_name(name, kTaskPrefix, kDeltaSuffix);
}

std::string versions_directory(std::string_view run_dir) { return join_path(run_dir, "versions"); }

std::string version_path(std::string_view run_dir, Version version) {
  return join_path(versions_directory(run_dir), cat(kVersionPrefix, version));
}

int64_t version_of_name(std::string_view name) { return number_in_name(name, kVersionPrefix); }

}  // namespace rubato
