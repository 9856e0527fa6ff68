#include "rubato/interchange/portable_model.h"

#include "rubato/base/flat_ops.h"
#include "rubato/text/utf8.h"

namespace rubato {
namespace {

using Kind = SentencepieceModel::Kind;
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// Why no other program would find the piece's text; "" when it would.
std::string_view obstacle(const std::string& text) {
  if (text.find(' ') != text.npos) return "a plain space";
  if (text.find('\0') != text.npos) return "a NUL";
  return valid_utf8_prefix(text) < text.size() ? "bytes that are not UTF-8" : "";
}

Status make_whole(FileSystem& files, const std::string& path,
                  const std::function<Status(const std::string&)>& make) {
  std::string target = path;
  while (target.size() > 1 && target.ends_with('/')) target.pop_back();
  if (files.exists(target)) {
    return absl::AlreadyExistsError(cat("[out] ", target,
                                        ": got a path that is taken, want a new one; remove what "
                                        "is there or name another"));
  }
  const std::string partial = target + ".partial";
  // What an interrupted one left is worth nothing.
  RUBATO_RETURN_IF_ERROR(files.remove_tree(partial));
  Status status = make(partial);
  if (status.ok()) status = files.rename(partial, target);
  if (status.ok()) return files.sync_directory(parent_path(target));
  // The first error is the one to tell.
  files.remove_tree(partial).IgnoreError();
  return status;
}

}  // namespace

Status check_portable(const PortableModel& model) {
  RUBATO_RETURN_IF_ERROR(validate(model.config));
  const int64_t size = model_layout(model.config).size();
  if (static_cast<int64_t>(model.params.size()) != size) {
    return absl::FailedPreconditionError(
        cat("[export] got ", model.params.size(), " parameters, want ", size));
  }
  if (model.tokenizer->vocab_size() != model.config.vocab) {
    return absl::FailedPreconditionError(cat("[export] got a tokenizer of ",
                                             model.tokenizer->vocab_size(), " pieces, want ",
                                             model.config.vocab, " as the model has"));
  }
  if (!all_finite(model.params)) {
    return absl::FailedPreconditionError(
        "[export] got a parameter that is not finite, want a model without any");
  }
  return absl::OkStatus();
}

StatusOr<std::vector<SentencepieceModel::Piece>> portable_pieces(const Tokenizer& tokenizer) {
  std::vector<SentencepieceModel::Piece> pieces = tokenizer.pieces();
  bool only_bytes = true;
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (pieces[id].kind == Kind::kNormal) only_bytes = false;
    const std::string_view problem = obstacle(pieces[id].text);
    if (problem.empty()) continue;
    return absl::InvalidArgumentError(
        cat("[export] got piece ", id, " with ", problem,
            ", want one that other programs can hold; it is the tokenizer's"));
  }
  for (SentencepieceModel::Piece& piece : pieces) {
    if (!only_bytes || piece.text != "<0x20>") continue;
    piece = {std::string(kSpaceMark), Kind::kNormal, 0};
  }
  return pieces;
}

Status make_directory(FileSystem& files, const std::string& path,
                      const std::function<Status(const std::string&)>& fill) {
  return make_whole(files, path, [&](const std::string& partial) -> Status {
    RUBATO_RETURN_IF_ERROR(files.make_directories(partial));
    RUBATO_RETURN_IF_ERROR(fill(partial));
    return files.sync_directory(partial);
  });
}

Status make_file(FileSystem& files, const std::string& path,
                 const std::function<Status(const std::string&)>& fill) {
  return make_whole(files, path, [&](const std::string& partial) -> Status {
    RUBATO_RETURN_IF_ERROR(files.make_directories(parent_path(partial)));
    return fill(partial);
  });
}

}  // namespace rubato
