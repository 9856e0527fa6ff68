// Text to a directory of token shards that TokenDataset opens: tokenizer.model, one file of tokens
// a shard, one for validation, manifest.json last. The same options over the same text make the
// same bytes.
//
// The text is read twice: once to count, to check and to sample it for the tokenizer, once to
// encode it; so a bad byte at the end is found before anything is written, and no more than a few
// documents and the sample are in memory.
#pragma once

#include <cstdint>
#include <functional>

#include "rubato/base/status.h"
#include "rubato/text/manifest.h"
#include "rubato/text/prepare_options.h"

namespace rubato {

class FileSystem;

enum class PrepareStage { kReading, kLearning, kEncoding };

struct PrepareProgress {
  PrepareStage stage = PrepareStage::kReading;
  int64_t bytes_done = 0;   // on disk; 0 while kLearning, which cannot tell
  int64_t bytes_total = 0;  // on disk
};

struct PrepareSummary {
  TextManifest manifest;
  int64_t documents = 0;
  int64_t blank_documents = 0;  // nothing but whitespace, passed over
  int64_t text_bytes = 0;
  int64_t tokens = 0;   // of all shards and validation
  bool reused = false;  // the directory held the same already
  double bytes_per_token() const {
    return tokens > 0 ? static_cast<double>(text_bytes) / static_cast<double>(tokens) : 0;
  }
};

/// Called before each document and stage; an error ends the work and is returned.
using PrepareCallback = std::function<Status(const PrepareProgress&)>;

/// Makes options.out_dir, or finds that it holds the same already. AlreadyExists when it holds
/// anything else; InvalidArgument for options and text that do not go together; ResourceExhausted
/// when the disk is full. After an error out_dir is as it was.
StatusOr<PrepareSummary> prepare_text(const PrepareOptions& options,
                                      const PrepareCallback& progress = {});
StatusOr<PrepareSummary> prepare_text(FileSystem& files, const PrepareOptions& options,
                                      const PrepareCallback& progress = {});

}  // namespace rubato
