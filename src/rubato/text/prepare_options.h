// What `rubato prepare` can be asked for, and which of it makes sense.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rubato/base/status.h"

namespace rubato {

struct PrepareOptions {
  std::vector<std::string> inputs;  // files and directories; each is a source
  std::string out_dir;
  std::optional<int64_t> vocab;   // [pieces] of a BPE to train; absent: bytes
  std::string tokenizer;          // a model's file to take instead, or a directory that has one
  std::optional<int64_t> shards;  // absent: 1, or one a source for "by-source"
  /// "iid": documents are dealt to shards at random so that shards have about equal text.
  /// "by-source": a shard a source.
  std::string split = "iid";
  double validation_fraction = 0.05;  // [1] of the documents; 0 to 0.5
  uint64_t seed = 0;                  // of split, dealing and sample
};

/// InvalidArgument for a value out of its range and for options that do not go together.
Status check_prepare_options(const PrepareOptions& options);

/// Short and unique names of the sources, for shards: last parts of their paths without the endings
/// of text files.
std::vector<std::string> source_names(const std::vector<std::string>& inputs);

}  // namespace rubato
