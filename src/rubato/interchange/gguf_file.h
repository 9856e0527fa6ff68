// A model as one GGUF file that llama.cpp runs: architecture `llama`, its metadata, the vocabulary
// as a sentencepiece BPE with scores, the tensors under llama.cpp's names.
//
// RoPE: we and Hugging Face turn element i of a head together with element i + E/2, llama.cpp 2i
// with 2i + 1. So the rows of each head of q and k are dealt out anew; attention does not notice.
// Source: llama.cpp's convert_hf_to_gguf.py (LlamaModel.permute); docs/exports.md.
#pragma once

#include <string>

#include "rubato/interchange/portable_model.h"
#include "rubato/interchange/weights.h"

namespace rubato {

/// The file is there whole when OK, or not at all. `type` is that of the matrices: norms stay F32,
/// and in Q8_0 a matrix whose rows are no multiple of 32 long is F16. AlreadyExists when there is
/// something at `path`; InvalidArgument for what cannot be handed over.
Status write_gguf(FileSystem& files, const std::string& path, const PortableModel& model,
                  WeightType type);

}  // namespace rubato
