#include "rubato/text/shard_writer.h"

namespace rubato {

StatusOr<ShardWriter> ShardWriter::create(FileSystem& files, const std::string& directory,
                                          std::string name, std::string file, int64_t token_bytes) {
  RUBATO_CHECK(token_bytes == 2 || token_bytes == 4, "token_bytes ", token_bytes);
  ShardWriter writer;
  RUBATO_ASSIGN_OR_RETURN(writer.file_, files.create(join_path(directory, file)));
  writer.entry_.name = std::move(name);
  writer.entry_.file = std::move(file);
  writer.digester_ = std::make_unique<Digester>();
  writer.token_bytes_ = token_bytes;
  return writer;
}

Status ShardWriter::add(std::span<const int32_t> tokens, int64_t text_bytes) {
  for (const int32_t token : tokens) {
    for (int64_t byte = 0; byte < token_bytes_; ++byte) {
      buffer_.push_back(static_cast<char>(token >> (8 * byte)));
    }
  }
  entry_.tokens += static_cast<int64_t>(tokens.size());
  entry_.documents += 1;
  entry_.text_bytes += text_bytes;
  constexpr size_t kFlushBytes = 1 << 18;
  return buffer_.size() >= kFlushBytes ? flush() : absl::OkStatus();
}

Status ShardWriter::flush() {
  digester_->update(buffer_);
  const Status status = file_->append(buffer_);
  buffer_.clear();
  return status;
}

StatusOr<ShardEntry> ShardWriter::finish() {
  RUBATO_RETURN_IF_ERROR(flush());
  RUBATO_RETURN_IF_ERROR(file_->sync());
  RUBATO_RETURN_IF_ERROR(file_->close());
  entry_.digest = digester_->hex();
  return entry_;
}

}  // namespace rubato
