#include "rubato/island/shared_file.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "rubato/base/digest.h"
#include "rubato/island/orders.h"

namespace rubato {
namespace {

constexpr int64_t kPieceBytes = int64_t{4} << 20;

bool has_file(FileSystem& files, const SharedFile& file) {
  const StatusOr<int64_t> size = files.file_size(file.path);
  if (!size.ok() || *size != file.bytes) return false;
  const StatusOr<FileView> view = files.map(file.path);
  return view.ok() && digest_of(view->bytes) == file.digest;
}

// Beside the file until it is whole. Ranks of one machine may all lack it: each writes its own, and
// they are equal.
class Copy {
 public:
  Copy(FileSystem& files, const SharedFile& file, int rank)
      : files_(files), file_(file), part_(cat(file.path, ".part-", rank)) {}

  Status begin() {
    RUBATO_RETURN_IF_ERROR(files_.make_directories(parent_path(file_.path)));
    RUBATO_ASSIGN_OR_RETURN(out_, files_.create(part_));
    return absl::OkStatus();
  }

  Status append(std::string_view bytes) {
    digester_.update(bytes);
    return out_->append(bytes);
  }

  Status finish() {
    if (digester_.hex() != file_.digest) {
      return absl::DataLossError(cat("[island] ", file_.path, ": got digest ", digester_.hex(),
                                     ", want ", file_.digest, "; rank 0's file has changed"));
    }
    RUBATO_RETURN_IF_ERROR(out_->sync());
    RUBATO_RETURN_IF_ERROR(out_->close());
    RUBATO_RETURN_IF_ERROR(files_.rename(part_, file_.path));
    return files_.sync_directory(parent_path(file_.path));
  }

  // After an error, which is what is told.
  void drop() {
    out_ = nullptr;
    files_.remove_file(part_).IgnoreError();
  }

 private:
  FileSystem& files_;
  const SharedFile& file_;
  std::string part_;
  std::unique_ptr<WritableFile> out_;
  Digester digester_;
};

// Calls take(piece) for the pieces of the file as rank 0 sends them.
template <class Take>
void in_pieces(const SharedFile& file, Take take) {
  for (int64_t at = 0; at < file.bytes; at += kPieceBytes)
    take(at, std::min(kPieceBytes, file.bytes - at));
}

}  // namespace

Status give_file(IslandLink& link, FileSystem& files, const SharedFile& file) {
  StatusOr<FileView> view = files.map(file.path);
  if (view.ok() && std::ssize(view->bytes) != file.bytes) {
    view = absl::DataLossError(cat("[island] ", file.path, ": got ", std::ssize(view->bytes),
                                   " bytes, want ", file.bytes));
  }
  bool goes_out = !gather_answers(link, absl::OkStatus()).ok() && view.ok();
  broadcast_values(link, std::span(&goes_out, 1));
  if (!goes_out) return view.status();
  std::string piece;
  in_pieces(file, [&](int64_t at, int64_t size) {
    piece = view->bytes.substr(static_cast<size_t>(at), static_cast<size_t>(size));
    broadcast_values(link, std::span(piece));
  });
  return gather_answers(link, absl::OkStatus());
}

void take_file(IslandLink& link, FileSystem& files, const SharedFile& file) {
  const bool is_here = has_file(files, file);
  send_answer(link, is_here ? absl::OkStatus() : absl::NotFoundError("[island] not here"));
  bool comes = false;
  broadcast_values(link, std::span(&comes, 1));
  if (!comes) return;
  Copy copy(files, file, link.rank());
  Status status = is_here ? absl::OkStatus() : copy.begin();
  std::string piece;
  in_pieces(file, [&](int64_t, int64_t size) {
    piece.resize(static_cast<size_t>(size));
    broadcast_values(link, std::span(piece));
    if (!is_here && status.ok()) status = copy.append(piece);
  });
  if (!is_here && status.ok()) status = copy.finish();
  if (!status.ok()) copy.drop();
  send_answer(link, status);
}

}  // namespace rubato
