// Checkpoints: RUN/checkpoints/step-N/ holds model.safetensors (theta as named tensors),
// state.safetensors (everything else a walk names) and manifest.json, which is written last. A
// checkpoint is put together under another name, synced and renamed: it is there whole or not at
// all, wherever the power goes. Formats: docs/formats.md. One writer per run directory.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rubato/base/layout.h"
#include "rubato/base/state_walk.h"
#include "rubato/store/checkpoint_manifest.h"
#include "rubato/store/file_system.h"
#include "rubato/store/safetensors.h"

namespace rubato {

/// Names every part of a run's state but theta, always the same ones in the same order.
using StateVisit = std::function<void(StateWalk&)>;

/// Writes checkpoint meta.step >= 0 of a run and returns when it would survive a crash. `visit`
/// runs twice: once for names and sizes, once to write the planes, which are never copied. An
/// existing checkpoint of that step is replaced (a power cut between the two renames loses that
/// step). After an error the older checkpoints are as they were and nothing partial is left;
/// ResourceExhausted with the numbers, before a byte is written, when the disk has too little room.
Status write_checkpoint(FileSystem& files, const std::string& run_dir, const CheckpointMeta& meta,
                        const Layout& layout, std::span<const float> theta,
                        const StateVisit& visit);

class CheckpointReader {
 public:
  const CheckpointMeta& meta() const { return manifest_.meta; }
  const std::string& directory() const { return directory_; }
  /// theta [P]. DataLoss names the file that is damaged; FailedPrecondition the first tensor in
  /// which the checkpoint's model differs from `layout`.
  Status read_theta(const Layout& layout, std::span<float> theta) const;
  /// Overwrites what `visit` names. DataLoss as above, before anything is overwritten;
  /// FailedPrecondition when the file has other parts or sizes than the visit: the state may be
  /// half overwritten then and must not be used.
  Status restore(const StateVisit& visit) const;
  /// DataLoss names the first file that is not as it was written.
  Status verify() const;

 private:
  friend StatusOr<CheckpointReader> open_checkpoint(FileSystem& files,
                                                    const std::string& checkpoint_dir);
  CheckpointReader(FileSystem& files, std::string directory, CheckpointManifest manifest)
      : files_(&files), directory_(std::move(directory)), manifest_(std::move(manifest)) {}
  StatusOr<SafetensorsReader> open_verified(const std::string& name) const;

  FileSystem* files_;
  std::string directory_;
  CheckpointManifest manifest_;
};

/// Reads the manifest; the files are read and checked when they are asked for. NotFound when it is
/// no checkpoint, DataLoss when the manifest is damaged, FailedPrecondition for an unknown version.
/// `files` must outlive the reader.
StatusOr<CheckpointReader> open_checkpoint(FileSystem& files, const std::string& checkpoint_dir);

/// Paths of the complete checkpoints of a run, newest first: a manifest that reads and files of the
/// right sizes. One of an unknown format version is listed, so that opening it says so. Empty when
/// there are none.
StatusOr<std::vector<std::string>> list_checkpoints(FileSystem& files, const std::string& run_dir);

/// A DataLoss of reading `checkpoint` with the newest older one of the run whose files are all as
/// they were written, if there is one; any other status as it is.
Status with_sound_checkpoint(FileSystem& files, const std::string& run_dir,
                             const std::string& checkpoint, const Status& status);

/// Step of the newest complete checkpoint whose files are all as they were written. Reads them.
std::optional<int64_t> newest_sound_checkpoint(FileSystem& files, const std::string& run_dir);

/// Removes the checkpoint of that step: its name first, so that no half of it is ever seen.
Status delete_checkpoint(FileSystem& files, const std::string& run_dir, int64_t step);

/// RUN/checkpoints/step-N.
std::string checkpoint_path(const std::string& run_dir, int64_t step);

/// N of a name step-N, or -1 when it is none: no sign, no leading zeros.
int64_t checkpoint_step(std::string_view name);

}  // namespace rubato
