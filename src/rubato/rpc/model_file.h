// The model of an opaque run as its first worker gave it: RUN/model.safetensors, logical tensors in
// their order with the parameters that the run begins with, version 0. The file is there only when
// it is whole and on disk, so a run has a model or it has none. It stays: it says the layout to
// whoever opens the run later. docs/formats.md has its metadata.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/base/layout.h"
#include "rubato/store/safetensors.h"

namespace rubato {

std::string model_path(std::string_view run_dir);

/// Streams the parameters; they are the run's model when commit() is OK and not before.
class ModelFileWriter {
 public:
  /// Makes the file under another name. Errors as SafetensorsWriter::create(). `files` outlives it.
  static StatusOr<ModelFileWriter> create(FileSystem& files, const std::string& run_dir,
                                          const Layout& layout);
  /// The next bytes of the flat buffer [P floats]; no more of them than are missing.
  Status append(std::string_view bytes);
  /// After all of them: durable when OK.
  Status commit();

 private:
  ModelFileWriter(FileSystem& files, std::string run_dir, const Layout& layout,
                  SafetensorsWriter writer)
      : files_(&files), run_dir_(std::move(run_dir)), layout_(layout), writer_(std::move(writer)) {}

  FileSystem* files_;
  std::string run_dir_;
  Layout layout_;
  SafetensorsWriter writer_;
  size_t tensor_ = 0;    // being written
  int64_t written_ = 0;  // [bytes] of it
};

/// Layout of the run's model; nullopt when it has none yet. DataLoss `[model] ..` or
/// `[safetensors] ..` when the file is not as it was written.
StatusOr<std::optional<Layout>> read_model_layout(FileSystem& files, const std::string& run_dir);
/// Its parameters [P]; errors as read_model_layout(), NotFound when there is none.
StatusOr<std::vector<float>> read_model_parameters(FileSystem& files, const std::string& run_dir);

}  // namespace rubato
