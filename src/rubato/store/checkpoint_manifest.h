// manifest.json of a checkpoint: what it is of, and size and digest of every file in it. It carries
// a digest of itself, so a changed byte in it is found too.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "rubato/store/safetensors.h"

namespace rubato {

/// What a checkpoint says of itself. Text is UTF-8.
struct CheckpointMeta {
  int64_t step = 0;  // outer steps that moved theta
  std::string build_id, recipe_digest, data_digest;
  std::map<std::string, std::string> notes;
};

inline constexpr int64_t kCheckpointFormat = 1;

struct CheckpointManifest {
  CheckpointMeta meta;
  std::string layout_digest;
  std::map<std::string, FileFacts> files;  // by name inside the checkpoint's directory
};

/// InvalidArgument when text is not UTF-8.
StatusOr<std::string> encode_manifest(const CheckpointManifest& manifest);

/// FailedPrecondition `[checkpoint] WHO: got format 3, want 1` for an unknown version, DataLoss
/// when the manifest is damaged.
StatusOr<CheckpointManifest> parse_manifest(std::string_view who, std::string_view text);

}  // namespace rubato
