// libFuzzer over documents: the first byte says how the rest is stored (as a .gz or .zst file, as
// plain text or JSON lines, or those packed here), the second how long a document may be. Documents
// are UTF-8, not blank, within their length, the same in a second pass and whether packed or not;
// those of plain text are the text.
#include <string>
#include <vector>

#include "tests/fuzz/fuzzing.h"
#include <zlib.h>
#include <zstd.h>

#include "rubato/store/memory_file_system.h"
#include "rubato/text/document_reader.h"
#include "rubato/text/utf8.h"

namespace rubato {
namespace {

/// [bytes] A few bytes can unpack to a few thousand times as many; beyond this it is only slow.
constexpr size_t kPackedBytesMax = 512;

struct Reading {
  std::vector<std::string> documents;
  int64_t blank = 0;
  Status status;
};

Reading read_pass(DocumentReader& reader) {
  Reading pass;
  for (Document document;;) {
    const auto more = reader.next(document);
    pass.status = more.status();
    if (!more.ok() || !*more) break;
    pass.documents.push_back(document.text);
  }
  pass.blank = reader.blank_documents();
  if (pass.status.ok()) {
    RUBATO_CHECK(reader.disk_bytes_read() == reader.disk_bytes_total(), "bytes left unread");
  }
  return pass;
}

Reading read_all(const std::string& path, std::string_view bytes, const ReaderOptions& options) {
  MemoryFileSystem files;
  RUBATO_CHECK(files.make_directories("/text").ok() && files.replace_file(path, bytes).ok(), path);
  auto reader = DocumentReader::open(files, {path}, options);
  RUBATO_CHECK(reader.ok(), reader.status().message());
  Reading first = read_pass(**reader);
  (*reader)->rewind();
  const Reading second = read_pass(**reader);
  RUBATO_CHECK(first.documents == second.documents && first.status == second.status &&
                   first.blank == second.blank,
               "another second pass");
  if (!first.status.ok()) check_error(first.status, path);
  for (const std::string& text : first.documents) {
    RUBATO_CHECK(valid_utf8_prefix(text) == text.size(), "a document that is not UTF-8");
    RUBATO_CHECK(text.find_first_not_of(" \t\r\n\f\v") != text.npos, "a blank document");
    const bool plain = path.find(".jsonl") == path.npos;
    RUBATO_CHECK(!plain || static_cast<int64_t>(text.size()) <= options.document_bytes_max,
                 "a document of ", text.size(), " bytes");
  }
  return first;
}

std::string gzip(std::string_view text) {
  z_stream stream{};
  RUBATO_CHECK(deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "gz");
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  RUBATO_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END, "gz");
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 1));
  return out;
}

/// The text, and the same text packed as two members, make the same documents.
void check_packed(const std::string& path, std::string_view text, const ReaderOptions& options) {
  const std::string_view head = text.substr(0, text.size() / 2), tail = text.substr(head.size());
  const Reading plain = read_all(path, text, options);
  const Reading packed = text.size() % 2 == 0
                             ? read_all(path + ".gz", gzip(head) + gzip(tail), options)
                             : read_all(path + ".zst", zstd(head) + zstd(tail), options);
  RUBATO_CHECK(packed.status.code() == plain.status.code(), "another status when packed");
  // Before an error as many as were read by then, which depends on the packing.
  RUBATO_CHECK(!plain.status.ok() || packed.documents == plain.documents, "other documents");
}

void check_plain(std::string_view text, const ReaderOptions& options) {
  const Reading plain = read_all("/text/a", text, options);
  if (!plain.status.ok() || plain.blank > 0) return;
  RUBATO_CHECK(join(plain.documents, "") == text, "text was lost");
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  if (size < 2) return 0;
  const std::string_view text = as_text(data + 2, size - 2);
  const ReaderOptions options{.document_bytes_max = 16 + data[1]};
  constexpr const char* kPacked[] = {"/text/a.gz", "/text/a.zst", "/text/a.jsonl.gz",
                                     "/text/a.jsonl.zst"};
  switch (data[0] % 8) {
    case 4:
      check_plain(text, options);
      break;
    case 5:
      read_all("/text/a.jsonl", text, options);
      break;
    case 6:
      check_packed("/text/a", text, options);
      break;
    case 7:
      check_packed("/text/a.jsonl", text, options);
      break;
    default:
      read_all(kPacked[data[0] % 8], text.substr(0, kPackedBytesMax), options);
  }
  return 0;
}
