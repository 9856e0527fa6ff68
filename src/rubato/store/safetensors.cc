#include "rubato/store/safetensors.h"

#include <cstring>

namespace rubato {

StatusOr<SafetensorsWriter> SafetensorsWriter::create(FileSystem& files, const std::string& path,
                                                      std::vector<TensorInfo> tensors,
                                                      TensorMetadata metadata) {
  SafetensorsHeader header;
  header.tensors = std::move(tensors);
  header.metadata = std::move(metadata);
  auto encoded = encode_safetensors_header(header);
  if (!encoded.ok()) return annotate(encoded.status(), path);
  RUBATO_ASSIGN_OR_RETURN(auto file, files.create(path));
  SafetensorsWriter writer(std::move(file), std::move(header));
  RUBATO_RETURN_IF_ERROR(writer.append(*encoded));
  writer.skip_empty();
  return writer;
}

Status SafetensorsWriter::append(std::string_view bytes) {
  digester_->update(bytes);
  return file_->append(bytes);
}

void SafetensorsWriter::skip_empty() {
  while (current_ < header_.tensors.size() && written_ == header_.tensors[current_].bytes) {
    ++current_;
    written_ = 0;
  }
}

Status SafetensorsWriter::write(std::string_view name, std::string_view bytes) {
  if (bytes.empty()) return absl::OkStatus();
  RUBATO_CHECK(current_ < header_.tensors.size(), "all tensors are written; got ", name);
  const TensorInfo& tensor = header_.tensors[current_];
  RUBATO_CHECK(tensor.name == name, "got data of ", name, ", want ", tensor.name);
  written_ += static_cast<int64_t>(bytes.size());
  RUBATO_CHECK(written_ <= tensor.bytes, name, " has more data than its shape");
  RUBATO_RETURN_IF_ERROR(append(bytes));
  skip_empty();
  return absl::OkStatus();
}

Status SafetensorsWriter::write(std::string_view name, std::span<const float> values) {
  return write(name,
               std::string_view(reinterpret_cast<const char*>(values.data()), values.size_bytes()));
}

StatusOr<FileFacts> SafetensorsWriter::finish() {
  RUBATO_CHECK(current_ == header_.tensors.size(), "data is missing for ",
               header_.tensors[current_].name);
  RUBATO_RETURN_IF_ERROR(file_->sync());
  RUBATO_RETURN_IF_ERROR(file_->close());
  return FileFacts{header_.file_bytes(), digester_->hex()};
}

SafetensorsReader::SafetensorsReader(std::string path, FileView view, SafetensorsHeader header)
    : path_(std::move(path)), view_(std::move(view)), header_(std::move(header)) {
  for (size_t i = 0; i < header_.tensors.size(); ++i) by_name_[header_.tensors[i].name] = i;
}

StatusOr<SafetensorsReader> SafetensorsReader::open(FileSystem& files, const std::string& path) {
  RUBATO_ASSIGN_OR_RETURN(FileView view, files.map(path));
  RUBATO_ASSIGN_OR_RETURN(SafetensorsHeader header, parse_safetensors(path, view.bytes));
  return SafetensorsReader(path, std::move(view), std::move(header));
}

const TensorInfo* SafetensorsReader::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &header_.tensors[it->second];
}

std::string_view SafetensorsReader::data(const TensorInfo& tensor) const {
  return view_.bytes.substr(static_cast<size_t>(header_.data_begin + tensor.offset),
                            static_cast<size_t>(tensor.bytes));
}

Status SafetensorsReader::read(std::string_view name, std::span<float> values) const {
  const TensorInfo* tensor = find(name);
  if (tensor == nullptr)
    return absl::DataLossError(cat("[safetensors] ", path_, ": got no tensor ", name));
  if (tensor->type != TensorType::kF32 ||
      tensor->bytes != static_cast<int64_t>(values.size_bytes())) {
    return absl::DataLossError(cat("[safetensors] ", path_, ": got ", name, " ",
                                   type_name(tensor->type), " [", join(tensor->shape, ","),
                                   "], want F32 with ", values.size(), " elements"));
  }
  if (!values.empty()) std::memcpy(values.data(), data(*tensor).data(), values.size_bytes());
  return absl::OkStatus();
}

}  // namespace rubato
