#include "rubato/rpc/model_file.h"

#include <algorithm>
#include <utility>

#include "rubato/rpc/wire.h"
#include "rubato/store/file_names.h"

namespace rubato {
namespace {

constexpr char kDigest[] = "layout_digest";
constexpr char kRoles[] = "roles";
constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

// One letter a tensor, in their order.
constexpr std::pair<TensorRole, char> kRoleLetters[] = {{TensorRole::kMatrix, 'm'},
                                                        {TensorRole::kEmbedding, 'e'},
                                                        {TensorRole::kNorm, 'n'},
                                                        {TensorRole::kBias, 'b'}};

std::string role_letters(const Layout& layout) {
  std::string letters;
  for (const TensorSpec& tensor : layout.tensors())
    letters +=
        std::ranges::find(kRoleLetters, tensor.role, [](auto pair) { return pair.first; })->second;
  return letters;
}

StatusOr<Layout> layout_of(const SafetensorsReader& reader) {
  const auto damaged = [&](std::string_view what) {
    return absl::DataLossError(
        cat("[model] ", reader.path(), ": got ", what, ", want what was written"));
  };
  const TensorMetadata& metadata = reader.metadata();
  const auto roles = metadata.find(kRoles), digest = metadata.find(kDigest);
  if (roles == metadata.end() || roles->second.size() != reader.tensors().size())
    return damaged("no role for each tensor");
  Layout layout;
  for (size_t i = 0; i < reader.tensors().size(); ++i) {
    const TensorInfo& tensor = reader.tensors()[i];
    const auto* role =
        std::ranges::find(kRoleLetters, roles->second[i], [](auto pair) { return pair.second; });
    if (tensor.type != TensorType::kF32 || role == std::end(kRoleLetters))
      return damaged("another type or role");
    layout.add(tensor.name, tensor.shape, role->first);
  }
  if (digest == metadata.end() || digest->second != layout_digest(layout))
    return damaged("a layout of another digest");
  return layout;
}

}  // namespace

std::string model_path(std::string_view run_dir) {
  return join_path(std::string(run_dir), "model.safetensors");
}

StatusOr<ModelFileWriter> ModelFileWriter::create(FileSystem& files, const std::string& run_dir,
                                                  const Layout& layout) {
  std::vector<TensorInfo> tensors;
  for (const TensorSpec& tensor : layout.tensors())
    tensors.push_back(tensor_info(tensor.name, TensorType::kF32, tensor.shape));
  RUBATO_ASSIGN_OR_RETURN(SafetensorsWriter writer,
                          SafetensorsWriter::create(
                              files, cat(model_path(run_dir), kTemporarySuffix), std::move(tensors),
                              {{kDigest, layout_digest(layout)}, {kRoles, role_letters(layout)}}));
  return ModelFileWriter(files, run_dir, layout, std::move(writer));
}

Status ModelFileWriter::append(std::string_view bytes) {
  while (!bytes.empty()) {
    RUBATO_CHECK(tensor_ < layout_.tensors().size());
    const TensorSpec& tensor = layout_.tensors()[tensor_];
    const std::string_view part =
        bytes.substr(0, static_cast<size_t>(tensor.size * kFloatBytes - written_));
    RUBATO_RETURN_IF_ERROR(writer_.write(tensor.name, part));
    bytes.remove_prefix(part.size());
    written_ += std::ssize(part);
    if (written_ < tensor.size * kFloatBytes) continue;
    ++tensor_;
    written_ = 0;
  }
  return absl::OkStatus();
}

Status ModelFileWriter::commit() {
  RUBATO_RETURN_IF_ERROR(writer_.finish().status());
  const std::string path = model_path(run_dir_);
  RUBATO_RETURN_IF_ERROR(files_->rename(cat(path, kTemporarySuffix), path));
  return files_->sync_directory(run_dir_);
}

StatusOr<std::optional<Layout>> read_model_layout(FileSystem& files, const std::string& run_dir) {
  const std::string path = model_path(run_dir);
  if (!files.exists(path)) return std::optional<Layout>();
  RUBATO_ASSIGN_OR_RETURN(const SafetensorsReader reader, SafetensorsReader::open(files, path));
  RUBATO_ASSIGN_OR_RETURN(Layout layout, layout_of(reader));
  return std::optional<Layout>(std::move(layout));
}

StatusOr<std::vector<float>> read_model_parameters(FileSystem& files, const std::string& run_dir) {
  RUBATO_ASSIGN_OR_RETURN(const SafetensorsReader reader,
                          SafetensorsReader::open(files, model_path(run_dir)));
  RUBATO_ASSIGN_OR_RETURN(const Layout layout, layout_of(reader));
  std::vector<float> theta(static_cast<size_t>(layout.size()));
  for (const TensorSpec& tensor : layout.tensors()) {
    const std::span<float> values(theta.data() + tensor.offset, static_cast<size_t>(tensor.size));
    RUBATO_RETURN_IF_ERROR(reader.read(tensor.name, values));
  }
  return theta;
}

}  // namespace rubato
