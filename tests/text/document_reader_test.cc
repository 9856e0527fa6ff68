#include "rubato/text/document_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include "rubato/base/rng.h"
#include "rubato/store/memory_file_system.h"
#include "rubato/text/utf8.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string gzip(const std::string& text) {
  std::string out(text.size() + 1024, '\0');
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);  // as the zstd program does
  out.resize(ZSTD_compress2(context, out.data(), out.size(), text.data(), text.size()));
  ZSTD_freeCCtx(context);
  return out;
}

/// Text that neither compresses to nothing nor repeats: numbers.
std::string long_text(size_t bytes) {
  Rng rng(3, RngStream::kTest);
  std::string text;
  while (text.size() < bytes) text += cat(rng.next_u64(), rng.below(5) == 0 ? "\n" : " ");
  return text;
}

class Reading : public ::testing::Test {
 protected:
  void put(const std::string& path, std::string_view text) {
    ASSERT_TRUE(files_.make_directories(parent_path(path)).ok());
    ASSERT_TRUE(files_.replace_file(path, text).ok());
  }
  StatusOr<std::vector<std::string>> read(const std::vector<std::string>& inputs,
                                          ReaderOptions options = {}) {
    RUBATO_ASSIGN_OR_RETURN(auto reader, DocumentReader::open(files_, inputs, options));
    std::vector<std::string> texts;
    Document document;
    while (true) {
      RUBATO_ASSIGN_OR_RETURN(const bool more, reader->next(document));
      if (!more) return texts;
      texts.push_back(document.text);
    }
  }
  /// The error of reading one file, which must be one line.
  std::string error_of(const std::string& path) {
    const Status status = read({path}).status();
    EXPECT_FALSE(status.ok());
    const std::string message(status.message());
    EXPECT_EQ(message.find('\n'), message.npos) << message;
    return message;
  }
  MemoryFileSystem files_;
};

TEST_F(Reading, FilesAndDirectoriesInOrder) {
  put("/d/b.txt", "b");
  put("/d/a/z.txt", "a/z");
  put("/d/a/sub/y.txt", "a/sub/y");
  put("/d/.hidden", "\xFF");
  put("/one.txt", "one");
  EXPECT_THAT(*read({"/one.txt", "/d"}), ElementsAre("one", "a/sub/y", "a/z", "b"));
}

TEST_F(Reading, KnowsTheSourceAndBeginsAgain) {
  put("/d/a.txt", "a");
  put("/d/b.txt", "b");
  put("/e.txt", "e");
  auto reader = DocumentReader::open(files_, {"/d", "/e.txt"}).value();
  for (int round = 0; round < 2; ++round) {
    std::vector<int64_t> sources;
    for (Document document; *reader->next(document);) sources.push_back(document.source);
    EXPECT_THAT(sources, ElementsAre(0, 0, 1));
    EXPECT_EQ(reader->disk_bytes_read(), 3);
    EXPECT_EQ(reader->disk_bytes_total(), 3);
    reader->rewind();
    EXPECT_EQ(reader->disk_bytes_read(), 0);
  }
}

TEST_F(Reading, CompressedFilesAreReadAsTheirText) {
  const std::string text = long_text(3 << 20);  // more than one chunk, in and out
  put("/plain.txt", text);
  put("/a.txt.gz", gzip(text));
  put("/a.txt.zst", zstd(text));
  put("/two.gz", gzip(text.substr(0, 1000)) + gzip(text.substr(1000)));
  put("/two.zst", zstd(text.substr(0, 1000)) + zstd(text.substr(1000)));
  const auto want = *read({"/plain.txt"});
  EXPECT_GT(want.size(), 40u);
  for (const std::string path : {"/a.txt.gz", "/a.txt.zst", "/two.gz", "/two.zst"}) {
    EXPECT_EQ(*read({path}), want) << path;
  }
}

TEST_F(Reading, HighlyCompressibleTextIsReadWhole) {
  const std::string text(5 << 20, 'a');  // a few kB compressed: output fills many times over
  put("/a.gz", gzip(text));
  put("/a.zst", zstd(text));
  for (const std::string path : {"/a.gz", "/a.zst"}) {
    size_t bytes = 0;
    const auto documents = *read({path});
    for (const std::string& document : documents) bytes += document.size();
    EXPECT_EQ(bytes, text.size()) << path;
  }
}

TEST_F(Reading, TruncatedAndCorruptCompressionIsAnError) {
  const std::string text = long_text(200000);
  for (const auto& [name, packed] : {std::pair{"/t.gz", gzip(text)}, {"/t.zst", zstd(text)}}) {
    for (const size_t size : {size_t{0}, size_t{5}, packed.size() / 2, packed.size() - 1}) {
      put(name, packed.substr(0, size));
      EXPECT_EQ(read({name}).status().code(), absl::StatusCode::kDataLoss) << name << size;
      EXPECT_THAT(error_of(name), HasSubstr(name));
    }
    std::string flipped = packed;
    flipped[packed.size() / 2] = static_cast<char>(flipped[packed.size() / 2] ^ 0x55);
    put(name, flipped);
    EXPECT_FALSE(read({name}).ok());
    put(name, "plain text under a packed name");
    EXPECT_THAT(error_of(name), HasSubstr("broken compression"));
  }
}

TEST_F(Reading, JsonLines) {
  const std::string lines =
      "{\"id\": 1, \"text\": \"first\\nline two\"}\n\n{\"text\": \"caf\\u00e9\", \"x\": [{}]}\r\n"
      "{\"text\": \"  \"}\n{\"text\": \"no newline at the end\"}";
  put("/a.jsonl", lines);
  put("/a.jsonl.gz", gzip(lines));
  put("/a.jsonl.zst", zstd(lines));
  for (const std::string path : {"/a.jsonl", "/a.jsonl.gz", "/a.jsonl.zst"}) {
    EXPECT_THAT(*read({path}),
                ElementsAre("first\nline two", "caf\xC3\xA9", "no newline at the end"))
        << path;
  }
}

TEST_F(Reading, AJsonDocumentIsNeverCut) {
  const std::string text = std::string(500000, 'a') + "\\n\\n" + std::string(900000, 'b');
  put("/a.jsonl", "{\"text\": \"" + text + "\"}\n{\"text\": \"next\"}\n");
  const auto documents = *read({"/a.jsonl"});
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[0].size(), 1400002u);
}

TEST_F(Reading, BadJsonLinesNameTheLine) {
  for (const std::string bad : {"not json", "{\"text\": 5}", "{\"title\": \"a\"}", "[\"text\"]",
                                "{\"text\": \"lone \\ud800 surrogate\"}", "{\"text\": \"cut"}) {
    put("/a.jsonl", "{\"text\": \"good\"}\n" + bad + "\n");
    EXPECT_THAT(error_of("/a.jsonl"), HasSubstr("/a.jsonl: line 2 ")) << bad;
  }
}

TEST_F(Reading, NamesTheByteThatIsNotUtf8) {
  put("/notes.txt", std::string(1042, 'x') + "\xE9t\xE9");
  EXPECT_THAT(error_of("/notes.txt"), HasSubstr("/notes.txt: byte 1042 is not UTF-8"));
  const std::string text = long_text(3'000'000);
  put("/late.txt.zst", zstd(text + "\xFF" + text));
  EXPECT_THAT(error_of("/late.txt.zst"), HasSubstr(cat("byte ", text.size(), " is not UTF-8")));
  put("/cut.txt", "ends within \xE2\x82");
  EXPECT_THAT(error_of("/cut.txt"), HasSubstr("byte 12 is not UTF-8"));
  put("/a.jsonl", "{\"text\": \"\xFF\"}");
  EXPECT_THAT(error_of("/a.jsonl"), HasSubstr("byte 10 is not UTF-8"));
}

TEST_F(Reading, NothingToReadIsAnErrorAndBlankFilesArePassedOver) {
  put("/empty.txt", "");
  put("/blank.txt", " \n\t\r\n");
  EXPECT_THAT(error_of("/empty.txt"), HasSubstr("/empty.txt: got no text"));
  EXPECT_THAT(error_of("/blank.txt"), HasSubstr("/blank.txt: got no text"));
  ASSERT_TRUE(files_.make_directories("/none").ok());
  EXPECT_THAT(error_of("/none"), HasSubstr("directory without files"));
  EXPECT_EQ(read({"/missing"}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(read({}).status().code(), absl::StatusCode::kInvalidArgument);
  put("/d/a.txt", "");
  put("/d/b.txt", "text");
  put("/d/c.txt", "\n\n");
  EXPECT_THAT(*read({"/d"}), ElementsAre("text"));
  put("/e/a.txt", "");
  EXPECT_THAT(error_of("/e"), HasSubstr("/e: got no text"));
  EXPECT_THAT(std::string(read({"/d", "/empty.txt", "/d"}).status().message()),
              HasSubstr("/empty.txt: got no text"));
}

TEST_F(Reading, LongFilesAreCutAtBlankLines) {
  const std::string paragraph = "A line of text.\nAnother line of text.\n\n";
  std::string text;
  for (int i = 0; i < 100; ++i) text += paragraph;
  put("/long.txt", text);
  const auto documents = *read({"/long.txt"}, {.document_bytes_max = 200});
  std::string joined;
  for (const std::string& document : documents) {
    EXPECT_LE(document.size(), 200u);
    EXPECT_TRUE(document.ends_with("\n\n"));
    EXPECT_TRUE(document.starts_with("A line"));
    joined += document;
  }
  EXPECT_EQ(joined, text);
  EXPECT_EQ(documents.size(), 20u);
}

// Whatever the text is, cutting loses nothing, keeps the limit and never cuts a character.
RC_GTEST_PROP(ReadingAnything, CutsJoinToTheText, (uint64_t seed)) {
  Rng rng(seed, RngStream::kTest);
  static const std::vector<std::string> kParts = {"a",    "bc", "\n",       "\r\n",
                                                  "\n\n", " ",  "\xC3\xA9", "\xF0\x9F\x8E\xBB"};
  // Text of few kinds of parts, so that any kind of cut may be the only one there is.
  const uint64_t kinds = 1 + rng.below(kParts.size());
  std::string text = "x";
  for (uint64_t n = rng.below(400); n > 0; --n) {
    text += kParts[(seed + rng.below(kinds)) % kParts.size()] + (rng.below(3) == 0 ? "y" : "");
  }
  MemoryFileSystem files;
  RC_ASSERT(files.replace_file("/a.txt", text).ok());
  const auto limit = static_cast<int64_t>(16 + rng.below(100));
  auto reader = DocumentReader::open(files, {"/a.txt"}, {.document_bytes_max = limit}).value();
  std::string joined;
  for (Document document; *reader->next(document);) {
    RC_ASSERT(static_cast<int64_t>(document.text.size()) <= limit);
    RC_ASSERT(valid_utf8_prefix(document.text) == document.text.size());
    joined += document.text;
  }
  // Blank documents are passed over; nothing else may be missing.
  const auto without_space = [](std::string s) {
    std::erase_if(s, [](char c) { return c == ' ' || c == '\n' || c == '\r'; });
    return s;
  };
  RC_ASSERT(without_space(joined) == without_space(text));
  if (reader->blank_documents() == 0) RC_ASSERT(joined == text);
}

}  // namespace
}  // namespace rubato
