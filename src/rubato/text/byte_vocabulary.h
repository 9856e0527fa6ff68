// The built-in vocabulary of bytes as a sentencepiece model: unk, bos, eos and 256 byte pieces,
// so that models of bytes and trained ones load through one path and other programs read both.
#pragma once

#include <string>

namespace rubato {

/// The serialised model, 259 pieces: id 3 + b is byte b. Spaces stay spaces (escape_whitespaces is
/// off), because U+2581 in their place would cost three byte pieces each.
std::string byte_vocabulary_model();

}  // namespace rubato
