// The only place that sees sentencepiece. Its header declares its own absl::string_view, which
// cannot meet Abseil's in one translation unit, so this interface speaks the standard library alone
// and reports errors as text. Exceptions end here.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rubato {

class SentencepieceModel {
 public:
  enum class Kind { kNormal, kUnknown, kControl, kByte, kUnused };
  struct Piece {
    std::string text;  // as in the model: spaces are written U+2581, bytes <0xNN>
    Kind kind = Kind::kNormal;
  };

  /// From a serialised model; nullptr and a reason in `error` when it is none.
  static std::unique_ptr<SentencepieceModel> load(std::string_view serialised, std::string& error);
  ~SentencepieceModel();

  const std::vector<Piece>& pieces() const { return pieces_; }
  /// Overwrites `ids`; false and a reason when the library refuses. Safe from several threads.
  bool encode(std::string_view text, std::vector<int>& ids, std::string& error) const;

 private:
  struct State;
  explicit SentencepieceModel(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
  std::vector<Piece> pieces_;
};

/// A model trained on `sentences` (which may hold newlines) with the trainer's `flags`, serialised;
/// "" and a reason in `error` when that fails.
std::string train_sentencepiece(const std::vector<std::pair<std::string, std::string>>& flags,
                                const std::vector<std::string>& sentences, std::string& error);

}  // namespace rubato
