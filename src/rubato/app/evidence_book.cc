#include "rubato/app/evidence_book.h"

namespace rubato {
namespace {

constexpr std::string_view kEnding = ".jsonl";

}  // namespace

StatusOr<EvidenceBook> EvidenceBook::open(FileSystem& files, const std::string& directory) {
  EvidenceBook book(files, directory);
  if (!files.exists(directory)) return book;
  RUBATO_ASSIGN_OR_RETURN(const std::vector<DirectoryEntry> entries, files.list(directory));
  for (const DirectoryEntry& entry : entries) {
    if (entry.is_directory || !entry.name.ends_with(kEnding)) continue;
    const std::string path = join_path(directory, entry.name);
    RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(path));
    RUBATO_RETURN_IF_ERROR(read_evidence_rows(path, text, book.rows_).status());
  }
  return book;
}

std::optional<EvidenceRow> EvidenceBook::find(const PlannedRun& run,
                                              std::string_view data_digest) const {
  const std::string own = run.recipe.digest();
  const EvidenceRow* found = nullptr;
  for (const EvidenceRow& row : rows_) {
    if (row.losses_digest != run.losses_digest) continue;
    if (!data_digest.empty() && row.summary.data_digest != data_digest) continue;
    const bool is_own = row.summary.recipe_digest == own;
    if (found == nullptr || is_own || found->summary.recipe_digest != own) found = &row;
  }
  if (found == nullptr) return std::nullopt;
  if (found->summary.recipe_digest == own) return *found;
  return at_speeds(*found, run.recipe.reals("fleet.seconds_per_step"));
}

std::vector<EvidenceRow> EvidenceBook::rows_of(std::string_view experiment) const {
  std::vector<EvidenceRow> own;
  for (const EvidenceRow& row : rows_) {
    if (row.experiment == experiment) own.push_back(row);
  }
  return own;
}

Status EvidenceBook::append(EvidenceRow row) {
  RUBATO_RETURN_IF_ERROR(files_->make_directories(directory_));
  const std::string path = join_path(directory_, cat(row.experiment, kEnding));
  int64_t sound = 0;
  if (files_->exists(path)) {
    RUBATO_ASSIGN_OR_RETURN(const std::string text, files_->read_file(path));
    sound = static_cast<int64_t>(text.rfind('\n') + 1);  // 0 when there is none
  }
  RUBATO_ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file, files_->open_append(path));
  RUBATO_RETURN_IF_ERROR(file->truncate(sound));
  RUBATO_RETURN_IF_ERROR(file->append(to_line(row) + "\n"));
  RUBATO_RETURN_IF_ERROR(file->sync());
  RUBATO_RETURN_IF_ERROR(file->close());
  RUBATO_RETURN_IF_ERROR(files_->sync_directory(directory_));
  rows_.push_back(std::move(row));
  return absl::OkStatus();
}

std::string EvidenceBook::tuning_path(std::string_view tuning) const {
  return join_path(directory_, cat(tuning, ".json"));
}

}  // namespace rubato
