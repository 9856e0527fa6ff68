#include "rubato/text/byte_source.h"

#include <zlib.h>
#include <zstd.h>

#include "rubato/store/file_system.h"

namespace rubato {

namespace {

constexpr int64_t kChunk = 1 << 20;

class FileSource final : public ByteSource {
 public:
  FileSource(FileSystem& files, std::string path) : files_(files), path_(std::move(path)) {}
  StatusOr<bool> read(std::string& out) override {
    RUBATO_ASSIGN_OR_RETURN(const std::string bytes, files_.read_range(path_, offset_, kChunk));
    offset_ += static_cast<int64_t>(bytes.size());
    out += bytes;
    return !bytes.empty();
  }
  int64_t disk_bytes_read() const override { return offset_; }
  const std::string& path() const { return path_; }

 private:
  FileSystem& files_;
  std::string path_;
  int64_t offset_ = 0;
};

/// What a decompressor did with one call.
struct Step {
  size_t consumed = 0, produced = 0;
  bool member_ended = false;
  std::string error;  // "" when fine
};

/// Feeds compressed bytes to a decompressor and knows a file that ends in the middle of a member.
class CompressedSource : public ByteSource {
 public:
  explicit CompressedSource(std::unique_ptr<FileSource> file) : file_(std::move(file)) {}
  int64_t disk_bytes_read() const override { return file_->disk_bytes_read(); }

  StatusOr<bool> read(std::string& out) override {
    const size_t before = out.size();
    while (out.size() == before) {
      if (used_ == input_.size() && !drains_) {
        input_.clear();
        used_ = 0;
        RUBATO_ASSIGN_OR_RETURN(const bool more, file_->read(input_));
        if (!more) {
          if (!at_member_start_) return broken("the file is cut off");
          return false;
        }
      }
      out.resize(before + kChunk);
      const Step step = decompress(std::string_view(input_).substr(used_), out.data() + before,
                                   static_cast<size_t>(kChunk));
      out.resize(before + step.produced);
      used_ += step.consumed;
      if (!step.error.empty()) return broken(step.error);
      at_member_start_ = step.member_ended;
      // A full output may mean that the decompressor holds more of what it already took in.
      drains_ = !step.member_ended && step.produced == static_cast<size_t>(kChunk);
    }
    return true;
  }

 protected:
  virtual Step decompress(std::string_view input, char* out, size_t room) = 0;

 private:
  Status broken(std::string_view what) const {
    return absl::DataLossError(cat("[prepare] ", file_->path(), ": got broken compression (", what,
                                   "), want a whole file; ", file_->disk_bytes_read(),
                                   " bytes were read"));
  }

  std::unique_ptr<FileSource> file_;
  std::string input_;
  size_t used_ = 0;
  bool at_member_start_ = false;  // a file of no bytes is no compressed file
  bool drains_ = false;
};

class GzipSource final : public CompressedSource {
 public:
  explicit GzipSource(std::unique_ptr<FileSource> file) : CompressedSource(std::move(file)) {
    // 16 asks for gzip's own header. Fails for want of memory only.
    RUBATO_CHECK(inflateInit2(&stream_, 15 + 16) == Z_OK, "inflateInit2");
  }
  ~GzipSource() override { inflateEnd(&stream_); }

 protected:
  Step decompress(std::string_view input, char* out, size_t room) override {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
    stream_.avail_in = static_cast<uInt>(input.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = static_cast<uInt>(room);
    const int result = inflate(&stream_, Z_NO_FLUSH);
    Step step{input.size() - stream_.avail_in, room - stream_.avail_out, false, ""};
    if (result == Z_STREAM_END) {
      step.member_ended = true;
      inflateReset(&stream_);
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      step.error = stream_.msg != nullptr ? stream_.msg : "it is not gzip";
    }
    return step;
  }

 private:
  z_stream stream_{};
};

class ZstdSource final : public CompressedSource {
 public:
  explicit ZstdSource(std::unique_ptr<FileSource> file)
      : CompressedSource(std::move(file)), stream_(ZSTD_createDStream(), &ZSTD_freeDStream) {
    RUBATO_CHECK(stream_ != nullptr, "ZSTD_createDStream");
  }

 protected:
  Step decompress(std::string_view input, char* out, size_t room) override {
    ZSTD_inBuffer in{input.data(), input.size(), 0};
    ZSTD_outBuffer to{out, room, 0};
    const size_t result = ZSTD_decompressStream(stream_.get(), &to, &in);
    Step step{in.pos, to.pos, result == 0, ""};
    if (ZSTD_isError(result) != 0) step.error = ZSTD_getErrorName(result);
    return step;
  }

 private:
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream_;
};

}  // namespace

StatusOr<std::unique_ptr<ByteSource>> open_byte_source(FileSystem& files, const std::string& path) {
  RUBATO_RETURN_IF_ERROR(files.file_size(path).status());
  auto file = std::make_unique<FileSource>(files, path);
  if (path.ends_with(".gz")) return std::make_unique<GzipSource>(std::move(file));
  if (path.ends_with(".zst")) return std::make_unique<ZstdSource>(std::move(file));
  return file;
}

}  // namespace rubato
