// What the program asks of sentencepiece, as an interface across a seam: the library itself is
// reached only by librubato_sentencepiece.so (sentencepiece_module.cc), which the program loads on
// first use (sentencepiece_loader.h says why).
//
// It speaks the standard library alone and reports errors as one line of text: sentencepiece's
// header declares its own absl::string_view, which cannot meet Abseil's in one translation unit.
// Both sides share one C++ runtime and one heap, and no exception crosses.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rubato {

/// A model that sentencepiece has read. Owned by the caller.
class SentencepieceModel {
 public:
  enum class Kind { kNormal, kUnknown, kControl, kByte, kUnused };
  struct Piece {
    std::string text;  // as in the model: spaces are written U+2581, bytes <0xNN>
    Kind kind = Kind::kNormal;
    float score = 0;  // of two pairs that could be merged, the one with the larger score is
  };
  virtual ~SentencepieceModel() = default;

  virtual const std::vector<Piece>& pieces() const = 0;
  /// Overwrites `ids`; false and a reason when the library refuses. Safe from several threads.
  virtual bool encode(std::string_view text, std::vector<int>& ids, std::string& error) const = 0;
};

/// The library. One object lives as long as the process; safe from several threads.
class SentencepieceLibrary {
 public:
  /// From a serialised model; nullptr and a reason in `error` when it is none.
  virtual std::unique_ptr<SentencepieceModel> load(std::string_view serialised,
                                                   std::string& error) const = 0;
  /// A model trained on `sentences` (which may hold newlines) with the trainer's `flags`,
  /// serialised; "" and a reason in `error` when that fails.
  virtual std::string train(const std::vector<std::pair<std::string, std::string>>& flags,
                            const std::vector<std::string>& sentences,
                            std::string& error) const = 0;

 protected:
  ~SentencepieceLibrary() = default;
};

/// The one function the module exports; the object is the module's.
using SentencepieceFactory = const SentencepieceLibrary*();
inline constexpr const char* kSentencepieceFactoryName = "rubato_sentencepiece_library";

}  // namespace rubato
