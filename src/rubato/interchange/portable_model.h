// A language model as it is handed to other programs: shape, parameters, vocabulary, and how long
// its sequences were. What cannot be handed over is refused here, for every format.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "rubato/base/status.h"
#include "rubato/lm/model_config.h"
#include "rubato/store/file_system.h"
#include "rubato/text/tokenizer.h"

namespace rubato {

struct PortableModel {
  std::string name;                      // for readers
  ModelConfig config;                    //
  std::span<const float> params;         // [P] in the order of model_layout(config)
  const Tokenizer* tokenizer = nullptr;  // not owned
  int64_t context_tokens = 0;            // the longest sequence it was trained on
};

/// FailedPrecondition when parameters or vocabulary are not of the shape that `config` says, or a
/// parameter is not finite.
Status check_portable(const PortableModel& model);

/// The vocabulary as llama.cpp and the `tokenizers` library read it: both write every space U+2581
/// before they look for pieces. In the vocabulary of bytes, which has no such piece, it stands in
/// the place of the byte 0x20, so that a space stays one token and every id is as it was.
/// InvalidArgument for a piece that they would never find or that they cannot hold: one with a
/// plain space, a NUL, or bytes that are not UTF-8.
StatusOr<std::vector<SentencepieceModel::Piece>> portable_pieces(const Tokenizer& tokenizer);

/// Makes the directory `path` whole or not at all: `fill` writes files into PATH.partial and syncs
/// them, then it is renamed. AlreadyExists when there is something at `path`; `fill`'s errors, and
/// nothing is left then.
Status make_directory(FileSystem& files, const std::string& path,
                      const std::function<Status(const std::string& partial)>& fill);
/// The same for a single file, which `fill` makes.
Status make_file(FileSystem& files, const std::string& path,
                 const std::function<Status(const std::string& partial)>& fill);

}  // namespace rubato
