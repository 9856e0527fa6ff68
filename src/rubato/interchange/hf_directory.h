// A model as a directory that Hugging Face's transformers loads: model.safetensors, config.json,
// generation_config.json, tokenizer.model, tokenizer.json, tokenizer_config.json. Names and order
// of the tensors are ours already (lm/model_config.h); docs/exports.md has the details.
#pragma once

#include <string>

#include "rubato/interchange/portable_model.h"
#include "rubato/interchange/weights.h"

namespace rubato {

inline constexpr const char* kHfConfigFile = "config.json";
inline constexpr const char* kHfModelFile = "model.safetensors";

/// The directory is there whole when OK, or not at all. AlreadyExists when there is something at
/// `path`; InvalidArgument for Q8_0, which the format does not have, and for what cannot be handed
/// over.
Status write_hf_directory(FileSystem& files, const std::string& path, const PortableModel& model,
                          WeightType type);

}  // namespace rubato
