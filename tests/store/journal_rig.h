// What the tests of the journal share: one run's identity, records of many sizes, reading it all.
#pragma once

#include <string>
#include <vector>

#include "rubato/store/journal.h"
#include "rubato/store/journal_reader.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {

inline constexpr char kRun[] = "run";

inline JournalIdentity tiny_identity() { return {"demo 1", "recipe", "layout"}; }

inline StatusOr<Journal> open_journal(FileSystem& files) {
  return Journal::open(files, kRun, tiny_identity());
}

/// Ends the writer, so that another can begin.
inline void close(StatusOr<Journal>& journal) { journal = absl::UnavailableError("closed"); }

/// Record `index` of the tests: every one differs, some are empty, some hold zeros.
inline std::string tiny_record(int64_t index) {
  if (index % 5 == 3) return "";
  return cat("record ", index, std::string(static_cast<size_t>(index * 7 % 23), '\0'));
}

inline Status append_records(Journal& journal, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    RUBATO_RETURN_IF_ERROR(journal.append(tiny_record(journal.next_index())).status());
  return absl::OkStatus();
}

/// What a reader finds from `index` (or the first) on.
inline StatusOr<std::vector<std::string>> read_records(FileSystem& files,
                                                       std::optional<int64_t> index = {}) {
  RUBATO_ASSIGN_OR_RETURN(auto reader, JournalReader::open(files, kRun, index));
  std::vector<std::string> records;
  while (true) {
    RUBATO_ASSIGN_OR_RETURN(const auto record, reader.next());
    if (!record) return records;
    records.emplace_back(record->bytes);
  }
}

inline std::vector<std::string> tiny_records(int64_t first, int64_t end) {
  std::vector<std::string> records;
  for (int64_t i = first; i < end; ++i) records.push_back(tiny_record(i));
  return records;
}

}  // namespace rubato
