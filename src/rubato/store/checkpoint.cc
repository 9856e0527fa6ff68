#include "rubato/store/checkpoint.h"

#include <algorithm>

#include "rubato/base/digest.h"
#include "rubato/store/file_names.h"
#include "rubato/store/state_file.h"

namespace rubato {
namespace {

constexpr char kDirectory[] = "checkpoints";
constexpr char kModelFile[] = "model.safetensors";
constexpr char kStateFile[] = "state.safetensors";
constexpr char kManifestFile[] = "manifest.json";
constexpr std::string_view kStepPrefix = "step-";
/// Names of what is not (yet, or any more) a checkpoint; whoever writes next removes them.
constexpr std::string_view kTemporaryPrefix = ".tmp-", kReplacedPrefix = ".old-";
/// [bytes] for the manifest, directories and the rounding of files to blocks.
constexpr int64_t kSlackBytes = 64 * 1024;

std::string checkpoints_dir(const std::string& run_dir) { return join_path(run_dir, kDirectory); }

std::string words(std::string_view name, const std::vector<int64_t>& shape) {
  return cat(name, " [", join(shape, ","), "]");
}

/// Everything that is to be written, sized before the first byte is.
struct Plan {
  std::vector<TensorInfo> model;
  TensorMetadata model_metadata{{"format", "pt"}};  // what readers of models expect to find
  StateOutline state;
  int64_t bytes = 0;
};

StatusOr<Plan> make_plan(const Layout& layout, const StateVisit& visit) {
  Plan plan;
  for (const TensorSpec& tensor : layout.tensors())
    plan.model.push_back(tensor_info(tensor.name, TensorType::kF32, tensor.shape));
  visit(plan.state);
  SafetensorsHeader model{plan.model, plan.model_metadata, 0, 0};
  SafetensorsHeader state{plan.state.tensors(), {}, 0, 0};
  RUBATO_RETURN_IF_ERROR(encode_safetensors_header(model).status());
  RUBATO_RETURN_IF_ERROR(encode_safetensors_header(state).status());
  plan.bytes = model.file_bytes() + state.file_bytes() + kSlackBytes;
  return plan;
}

Status check_room(FileSystem& files, const std::string& directory, int64_t want) {
  RUBATO_ASSIGN_OR_RETURN(const int64_t available, files.available_bytes(directory));
  if (available >= want) return absl::OkStatus();
  return absl::ResourceExhaustedError(cat("[checkpoint] ", directory, ": got ", available,
                                          " bytes of free disk, want ", want,
                                          "; free some space or keep fewer checkpoints"));
}

Status remove_leftovers(FileSystem& files, const std::string& directory) {
  RUBATO_ASSIGN_OR_RETURN(const auto entries, files.list(directory));
  for (const DirectoryEntry& entry : entries) {
    if (entry.name.starts_with(kTemporaryPrefix) || entry.name.starts_with(kReplacedPrefix))
      RUBATO_RETURN_IF_ERROR(files.remove_tree(join_path(directory, entry.name)));
  }
  return absl::OkStatus();
}

StatusOr<FileFacts> write_model(FileSystem& files, const std::string& path, const Plan& plan,
                                const Layout& layout, std::span<const float> theta) {
  RUBATO_ASSIGN_OR_RETURN(auto writer,
                          SafetensorsWriter::create(files, path, plan.model, plan.model_metadata));
  for (const TensorSpec& tensor : layout.tensors()) {
    const auto values =
        theta.subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.size));
    RUBATO_RETURN_IF_ERROR(writer.write(tensor.name, values));
  }
  return writer.finish();
}

StatusOr<FileFacts> write_state(FileSystem& files, const std::string& path, const Plan& plan,
                                const StateVisit& visit) {
  RUBATO_ASSIGN_OR_RETURN(auto writer,
                          SafetensorsWriter::create(files, path, plan.state.tensors(), {}));
  RUBATO_RETURN_IF_ERROR(plan.state.write_values(writer));
  PlaneWriter planes(writer);
  visit(planes);
  RUBATO_RETURN_IF_ERROR(planes.status());
  RUBATO_RETURN_IF_ERROR(plan.state.write_records(writer));
  return writer.finish();
}

Status write_synced(FileSystem& files, const std::string& path, std::string_view bytes) {
  RUBATO_ASSIGN_OR_RETURN(auto file, files.create(path));
  RUBATO_RETURN_IF_ERROR(file->append(bytes));
  RUBATO_RETURN_IF_ERROR(file->sync());
  return file->close();
}

/// A whole checkpoint in `directory`, which is new; on disk when this returns.
Status fill(FileSystem& files, const std::string& directory, const Plan& plan,
            const CheckpointMeta& meta, const Layout& layout, std::span<const float> theta,
            const StateVisit& visit) {
  RUBATO_RETURN_IF_ERROR(files.make_directories(directory));
  CheckpointManifest manifest{meta, digest_of(layout.describe()), {}};
  RUBATO_ASSIGN_OR_RETURN(
      manifest.files[kModelFile],
      write_model(files, join_path(directory, kModelFile), plan, layout, theta));
  RUBATO_ASSIGN_OR_RETURN(manifest.files[kStateFile],
                          write_state(files, join_path(directory, kStateFile), plan, visit));
  RUBATO_ASSIGN_OR_RETURN(const std::string text, encode_manifest(manifest));
  RUBATO_RETURN_IF_ERROR(write_synced(files, join_path(directory, kManifestFile), text));
  return files.sync_directory(directory);
}

/// Gives a finished checkpoint its name. An older one of that name steps aside first, since a
/// directory cannot be renamed onto one that is full, and comes back when that fails.
Status put_in_place(FileSystem& files, const std::string& temporary, const std::string& target,
                    const std::string& replaced) {
  const bool replaces = files.exists(target);
  if (replaces) RUBATO_RETURN_IF_ERROR(files.rename(target, replaced));
  if (Status status = files.rename(temporary, target); !status.ok()) {
    if (replaces) files.rename(replaced, target).IgnoreError();
    files.remove_tree(temporary).IgnoreError();
    return status;
  }
  return absl::OkStatus();
}

/// A manifest that reads and files of its sizes. True too for versions this program cannot judge.
bool is_complete(FileSystem& files, const std::string& directory) {
  const std::string path = join_path(directory, kManifestFile);
  const auto text = files.read_file(path);
  if (!text.ok()) return false;
  const auto manifest = parse_manifest(path, *text);
  if (!manifest.ok()) return absl::IsFailedPrecondition(manifest.status());
  return std::ranges::all_of(manifest->files, [&](const auto& file) {
    const auto size = files.file_size(join_path(directory, file.first));
    return size.ok() && *size == file.second.bytes;
  });
}

/// FailedPrecondition names the first tensor of a file that is not the layout's.
Status check_layout(const SafetensorsReader& reader, const Layout& layout) {
  const auto& got = reader.tensors();
  const auto& want = layout.tensors();
  for (size_t i = 0; i < std::max(got.size(), want.size()); ++i) {
    const std::string have = i < got.size() ? words(got[i].name, got[i].shape) : "no more tensors";
    const std::string need =
        i < want.size() ? words(want[i].name, want[i].shape) : "no more tensors";
    const bool is_f32 = i >= got.size() || got[i].type == TensorType::kF32;
    if (have == need && is_f32) continue;
    return absl::FailedPreconditionError(
        cat("[checkpoint] ", reader.path(), ": checkpoint of another model: got ", have,
            is_f32 ? "" : cat(" ", type_name(got[i].type)), ", want ", need));
  }
  return absl::OkStatus();
}

}  // namespace

std::string checkpoint_path(const std::string& run_dir, int64_t step) {
  return join_path(checkpoints_dir(run_dir), cat(kStepPrefix, step));
}

int64_t checkpoint_step(std::string_view name) { return number_in_name(name, kStepPrefix); }

Status write_checkpoint(FileSystem& files, const std::string& run_dir, const CheckpointMeta& meta,
                        const Layout& layout, std::span<const float> theta,
                        const StateVisit& visit) {
  RUBATO_CHECK(meta.step >= 0, "step ", meta.step);
  RUBATO_CHECK(static_cast<int64_t>(theta.size()) == layout.size(), theta.size());
  const std::string directory = checkpoints_dir(run_dir);
  const std::string name = cat(kStepPrefix, meta.step);
  const std::string target = join_path(directory, name);
  const std::string temporary = join_path(directory, cat(kTemporaryPrefix, name));
  const std::string replaced = join_path(directory, cat(kReplacedPrefix, name));

  RUBATO_ASSIGN_OR_RETURN(const Plan plan, make_plan(layout, visit));
  RUBATO_RETURN_IF_ERROR(files.make_directories(directory));
  RUBATO_RETURN_IF_ERROR(remove_leftovers(files, directory));
  RUBATO_RETURN_IF_ERROR(check_room(files, directory, plan.bytes));
  if (Status status = fill(files, temporary, plan, meta, layout, theta, visit); !status.ok()) {
    // The first error is the one to report; what stays is removed by whoever writes next.
    files.remove_tree(temporary).IgnoreError();
    return status;
  }
  RUBATO_RETURN_IF_ERROR(put_in_place(files, temporary, target, replaced));
  RUBATO_RETURN_IF_ERROR(files.sync_directory(directory));
  // The checkpoint stands; what cannot be removed now is removed by the next one.
  files.remove_tree(replaced).IgnoreError();
  return absl::OkStatus();
}

StatusOr<CheckpointReader> open_checkpoint(FileSystem& files, const std::string& checkpoint_dir) {
  const std::string path = join_path(checkpoint_dir, kManifestFile);
  RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(path));
  RUBATO_ASSIGN_OR_RETURN(CheckpointManifest manifest, parse_manifest(path, text));
  return CheckpointReader(files, checkpoint_dir, std::move(manifest));
}

StatusOr<SafetensorsReader> CheckpointReader::open_verified(const std::string& name) const {
  const std::string path = join_path(directory_, name);
  const auto facts = manifest_.files.find(name);
  if (facts == manifest_.files.end())
    return absl::DataLossError(cat("[checkpoint] ", path, ": got no entry in the manifest"));
  auto reader = SafetensorsReader::open(*files_, path);
  if (absl::IsNotFound(reader.status()))
    return absl::DataLossError(
        cat("[checkpoint] ", path, ": got no file, want ", facts->second.bytes, " bytes"));
  if (!reader.ok()) return reader.status();
  const int64_t bytes = static_cast<int64_t>(reader->file_bytes().size());
  if (bytes != facts->second.bytes || digest_of(reader->file_bytes()) != facts->second.digest)
    return absl::DataLossError(cat("[checkpoint] ", path, ": got ", bytes, " bytes with digest ",
                                   digest_of(reader->file_bytes()), ", want ", facts->second.bytes,
                                   " with ", facts->second.digest, "; the file is damaged"));
  return reader;
}

Status CheckpointReader::read_theta(const Layout& layout, std::span<float> theta) const {
  RUBATO_CHECK(static_cast<int64_t>(theta.size()) == layout.size(), theta.size());
  RUBATO_ASSIGN_OR_RETURN(const SafetensorsReader reader, open_verified(kModelFile));
  RUBATO_RETURN_IF_ERROR(check_layout(reader, layout));
  for (const TensorSpec& tensor : layout.tensors()) {
    RUBATO_RETURN_IF_ERROR(reader.read(
        tensor.name,
        theta.subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.size))));
  }
  return absl::OkStatus();
}

Status CheckpointReader::restore(const StateVisit& visit) const {
  RUBATO_ASSIGN_OR_RETURN(const SafetensorsReader reader, open_verified(kStateFile));
  StateFileRestorer restorer(reader);
  visit(restorer);
  return restorer.finish();
}

Status CheckpointReader::verify() const {
  for (const std::string_view name : {kModelFile, kStateFile}) {
    RUBATO_RETURN_IF_ERROR(open_verified(std::string(name)).status());
  }
  return absl::OkStatus();
}

namespace {

bool is_sound(FileSystem& files, const std::string& checkpoint) {
  const auto reader = open_checkpoint(files, checkpoint);
  return reader.ok() && reader->verify().ok();
}

}  // namespace

Status with_sound_checkpoint(FileSystem& files, const std::string& run_dir,
                             const std::string& checkpoint, const Status& status) {
  if (!absl::IsDataLoss(status)) return status;
  RUBATO_ASSIGN_OR_RETURN(const std::vector<std::string> paths, list_checkpoints(files, run_dir));
  for (auto it = std::ranges::find(paths, checkpoint); it != paths.end(); ++it) {
    if (!is_sound(files, *it)) continue;
    return {status.code(), cat(status.message(), "; ", *it,
                               " is older and sound: remove what is newer to go on from there")};
  }
  return status;
}

std::optional<int64_t> newest_sound_checkpoint(FileSystem& files, const std::string& run_dir) {
  const auto paths = list_checkpoints(files, run_dir);
  if (!paths.ok()) return std::nullopt;
  for (const std::string& path : *paths) {
    if (is_sound(files, path)) return checkpoint_step(base_name(path));
  }
  return std::nullopt;
}

StatusOr<std::vector<std::string>> list_checkpoints(FileSystem& files, const std::string& run_dir) {
  const auto entries = files.list(checkpoints_dir(run_dir));
  if (absl::IsNotFound(entries.status())) return std::vector<std::string>();
  if (!entries.ok()) return entries.status();
  std::vector<int64_t> steps;
  for (const DirectoryEntry& entry : *entries) {
    const int64_t step = checkpoint_step(entry.name);
    if (step >= 0 && is_complete(files, checkpoint_path(run_dir, step))) steps.push_back(step);
  }
  std::ranges::sort(steps, std::greater());
  std::vector<std::string> paths;
  for (const int64_t step : steps) paths.push_back(checkpoint_path(run_dir, step));
  return paths;
}

Status delete_checkpoint(FileSystem& files, const std::string& run_dir, int64_t step) {
  const std::string directory = checkpoints_dir(run_dir);
  const std::string hidden = join_path(directory, cat(kReplacedPrefix, kStepPrefix, step));
  RUBATO_RETURN_IF_ERROR(files.remove_tree(hidden));
  RUBATO_RETURN_IF_ERROR(files.rename(checkpoint_path(run_dir, step), hidden));
  RUBATO_RETURN_IF_ERROR(files.sync_directory(directory));
  return files.remove_tree(hidden);
}

}  // namespace rubato
