// A vocabulary in the files of Hugging Face's tokenizers, beside tokenizer.model: tokenizer.json,
// which the `tokenizers` library reads, and tokenizer_config.json. A sentencepiece BPE knows scores
// of pieces, theirs pairs in the order of merging: every cut of a piece into two others is one.
// Source: transformers, convert_slow_tokenizer.py (SentencePieceExtractor); docs/exports.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "rubato/base/status.h"
#include "rubato/text/sentencepiece_library.h"

namespace rubato {

/// `pieces` of portable_pieces(); BOS in front of every text, nothing behind it.
std::string tokenizer_json(std::span<const SentencepieceModel::Piece> pieces);
std::string tokenizer_config_json(std::span<const SentencepieceModel::Piece> pieces,
                                  int64_t context_tokens);

}  // namespace rubato
