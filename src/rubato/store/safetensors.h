// Files of named tensors in the safetensors format: a JSON header with names, types, shapes and
// offsets, then the data. The writer streams: it wants every name and shape first and the data
// after it, in that order, in pieces of any size. The reader maps the file and trusts nothing in
// it.
// Source: the format's description at github.com/huggingface/safetensors; docs/formats.md says what
// of it this project writes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/base/digest.h"
#include "rubato/store/file_system.h"

namespace rubato {

enum class TensorType { kF64, kF32, kF16, kBf16, kI64, kI32, kI16, kI8, kU8, kBool };

/// The format's word for it: "F32".
std::string_view type_name(TensorType type);
/// [bytes] of one element.
int64_t type_bytes(TensorType type);

struct TensorInfo {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;  // outermost first, row-major; [] is one element
  int64_t offset = 0;          // [bytes] from the start of the data
  int64_t bytes = 0;           // [bytes]
};

/// A tensor to be written; its offset follows from those before it.
TensorInfo tensor_info(std::string name, TensorType type, std::vector<int64_t> shape);

using TensorMetadata = std::map<std::string, std::string, std::less<>>;

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // in the order of their data
  TensorMetadata metadata;
  int64_t data_begin = 0;  // [bytes] from the start of the file; a multiple of 8 if we wrote it
  int64_t data_bytes = 0;
  int64_t file_bytes() const { return data_begin + data_bytes; }
};

/// The first bytes of a file up to its data; fills offsets and sizes of `header` from its shapes.
/// InvalidArgument when two tensors have one name, a shape is impossible or text is not UTF-8.
StatusOr<std::string> encode_safetensors_header(SafetensorsHeader& header);

/// Reads and checks the header of a whole file's bytes. DataLoss `[safetensors] WHO: ..` says what
/// is wrong: too short, no JSON object, unknown type, a size that is not its shape's, a gap, an
/// overlap, data missing or left over, a name twice.
StatusOr<SafetensorsHeader> parse_safetensors(std::string_view who, std::string_view file_bytes);

/// What identifies a file's content; kept in manifests.
struct FileFacts {
  int64_t bytes = 0;
  std::string digest;
};

class SafetensorsWriter {
 public:
  /// Makes the file and writes the header. The data must follow in the order of `tensors`.
  static StatusOr<SafetensorsWriter> create(FileSystem& files, const std::string& path,
                                            std::vector<TensorInfo> tensors,
                                            TensorMetadata metadata);
  /// The next bytes of `name`, which must be the first tensor that is not complete; aborts
  /// otherwise, and when there are more bytes than its shape has.
  Status write(std::string_view name, std::string_view bytes);
  Status write(std::string_view name, std::span<const float> values);
  /// Syncs and closes; aborts when data is missing.
  StatusOr<FileFacts> finish();

 private:
  SafetensorsWriter(std::unique_ptr<WritableFile> file, SafetensorsHeader header)
      : file_(std::move(file)), header_(std::move(header)) {}
  Status append(std::string_view bytes);
  void skip_empty();

  std::unique_ptr<WritableFile> file_;
  SafetensorsHeader header_;
  std::unique_ptr<Digester> digester_ = std::make_unique<Digester>();
  size_t current_ = 0;   // tensor being written
  int64_t written_ = 0;  // [bytes] of it
};

class SafetensorsReader {
 public:
  /// Maps the file and checks its header. NotFound, or DataLoss as parse_safetensors.
  static StatusOr<SafetensorsReader> open(FileSystem& files, const std::string& path);

  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }
  const TensorMetadata& metadata() const { return header_.metadata; }
  /// nullptr when there is none of that name.
  const TensorInfo* find(std::string_view name) const;
  /// The data of one of tensors(), in the map: not aligned in files of others.
  std::string_view data(const TensorInfo& tensor) const;
  /// DataLoss when the tensor is missing, is not F32 or has another number of elements.
  Status read(std::string_view name, std::span<float> values) const;
  const std::string& path() const { return path_; }
  /// The whole file.
  std::string_view file_bytes() const { return view_.bytes; }

 private:
  SafetensorsReader(std::string path, FileView view, SafetensorsHeader header);

  std::string path_;
  FileView view_;
  SafetensorsHeader header_;
  std::map<std::string, size_t, std::less<>> by_name_;
};

}  // namespace rubato
