#include "rubato/store/safetensors.h"

#include <cstring>
#include <limits>

#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "rubato/store/memory_file_system.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

/// A file's bytes from the text of its header and its data.
std::string file_of(std::string_view header, std::string_view data) {
  const uint64_t length = header.size();
  return cat(std::string_view(reinterpret_cast<const char*>(&length), sizeof length), header, data);
}

std::string problem_of(std::string_view header, std::string_view data = "") {
  const auto parsed = parse_safetensors("F", file_of(header, data));
  if (parsed.ok()) return "";
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kDataLoss);
  return std::string(parsed.status().message());
}

TEST(Safetensors, TheBytesOfASmallFileAreThese) {
  MemoryFileSystem files;
  auto writer = SafetensorsWriter::create(
      files, "f",
      {tensor_info("b/x", TensorType::kF32, {1, 2}), tensor_info("a", TensorType::kU8, {3})},
      {{"k", "v"}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  const std::vector<float> values{1.0f, -2.0f};
  ASSERT_TRUE(writer->write("b/x", values).ok());
  ASSERT_TRUE(writer->write("a", "xy").ok());
  ASSERT_TRUE(writer->write("a", "z").ok());
  const auto facts = writer->finish();
  ASSERT_TRUE(facts.ok()) << facts.status();
  const std::string header =
      R"({"__metadata__":{"k":"v"},"b/x":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}})";
  const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  const std::string want =
      file_of(padded, cat(std::string_view("\0\0\x80\x3f\0\0\0\xc0", 8), "xyz"));
  EXPECT_EQ(*files.read_file("f"), want);
  EXPECT_EQ(facts->bytes, static_cast<int64_t>(want.size()));
  EXPECT_EQ(facts->digest, digest_of(want));
}

struct RandomFile {
  std::vector<TensorInfo> tensors;
  std::vector<std::string> data;
  TensorMetadata metadata;
};

RandomFile random_file() {
  RandomFile file;
  const int count = *rc::gen::inRange(0, 6);
  for (int i = 0; i < count; ++i) {
    const auto type = *rc::gen::element(
        TensorType::kF64, TensorType::kF32, TensorType::kF16, TensorType::kBf16, TensorType::kI64,
        TensorType::kI32, TensorType::kI16, TensorType::kI8, TensorType::kU8, TensorType::kBool);
    const auto shape = *rc::gen::container<std::vector<int64_t>>(rc::gen::inRange<int64_t>(0, 4));
    int64_t bytes = type_bytes(type);
    for (const int64_t extent : shape) bytes *= extent;
    const auto stem = *rc::gen::container<std::string>(
        rc::gen::element('a', '/', '.', '"', '\\', '\n', '\x01', ' '));
    file.tensors.push_back(tensor_info(cat(stem, i), type, shape));
    file.data.push_back(
        *rc::gen::container<std::string>(static_cast<size_t>(bytes), rc::gen::arbitrary<char>()));
    file.metadata[stem] = "words \xc3\xa9";
  }
  return file;
}

/// Writes `file`, every tensor in two pieces.
void write_file(FileSystem& files, const std::string& path, const RandomFile& file) {
  auto writer = SafetensorsWriter::create(files, path, file.tensors, file.metadata);
  RC_ASSERT(writer.ok());
  for (size_t i = 0; i < file.tensors.size(); ++i) {
    const std::string_view data = file.data[i];
    RC_ASSERT(writer->write(file.tensors[i].name, data.substr(0, data.size() / 3)).ok());
    RC_ASSERT(writer->write(file.tensors[i].name, data.substr(data.size() / 3)).ok());
  }
  RC_ASSERT(writer->finish().ok());
}

void round_trip(FileSystem& files, const std::string& path) {
  const RandomFile file = random_file();
  write_file(files, path, file);
  const auto reader = SafetensorsReader::open(files, path);
  RC_ASSERT(reader.ok());
  RC_ASSERT(reader->metadata() == file.metadata);
  RC_ASSERT(reader->tensors().size() == file.tensors.size());
  for (size_t i = 0; i < file.tensors.size(); ++i) {
    const TensorInfo* tensor = reader->find(file.tensors[i].name);
    RC_ASSERT(tensor != nullptr);
    RC_ASSERT(tensor->type == file.tensors[i].type);
    RC_ASSERT(tensor->shape == file.tensors[i].shape);
    RC_ASSERT(reader->data(*tensor) == file.data[i]);
  }
}

TEST(Safetensors, WhatIsWrittenIsReadFromMemory) {
  MemoryFileSystem files;
  EXPECT_TRUE(rc::check([&] { round_trip(files, "f"); }));
}

TEST(Safetensors, WhatIsWrittenIsReadFromDisk) {
  TemporaryDirectory directory;
  PosixFileSystem files;
  EXPECT_TRUE(rc::check([&] { round_trip(files, join_path(directory.path(), "f")); }));
}

TEST(Safetensors, ATruncatedOrLengthenedFileIsRefusedAtEveryLength) {
  EXPECT_TRUE(rc::check([] {
    MemoryFileSystem files;
    write_file(files, "f", random_file());
    const std::string bytes = *files.read_file("f");
    for (size_t length = 0; length < bytes.size(); ++length) {
      RC_ASSERT(absl::IsDataLoss(parse_safetensors("f", bytes.substr(0, length)).status()));
    }
    RC_ASSERT(absl::IsDataLoss(parse_safetensors("f", bytes + "x").status()));
  }));
}

// Whatever a header claims, tensors that come out of it lie within the file.
TEST(Safetensors, DamagedBytesNeverReachOutsideTheFile) {
  EXPECT_TRUE(rc::check([] {
    MemoryFileSystem files;
    write_file(files, "f", random_file());
    std::string bytes = *files.read_file("f");
    const int flips = *rc::gen::inRange(1, 4);
    for (int i = 0; i < flips; ++i) {
      const size_t at = *rc::gen::inRange<size_t>(0, bytes.size());
      bytes[at] = *rc::gen::element('0', '9', '[', '{', '"', ',', '}', '\0', '\xff', 'e', '-');
    }
    const auto header = parse_safetensors("f", bytes);
    if (!header.ok()) {
      RC_ASSERT(absl::IsDataLoss(header.status()));
      RC_ASSERT(header.status().message().find('\n') == absl::string_view::npos);
      return;
    }
    RC_ASSERT(header->file_bytes() == static_cast<int64_t>(bytes.size()));
    int64_t end = 0;
    for (const TensorInfo& tensor : header->tensors) {
      RC_ASSERT(tensor.offset == end);
      end += tensor.bytes;
    }
    RC_ASSERT(end == header->data_bytes);
  }));
}

TEST(Safetensors, AHeaderSaysWhatIsWrongWithIt) {
  const auto tensor = [](std::string_view type, std::string_view shape, std::string_view range) {
    return cat(R"({"t":{"dtype":)", type, R"(,"shape":)", shape, R"(,"data_offsets":)", range,
               "}}");
  };
  EXPECT_EQ(problem_of(tensor(R"("F32")", "[1]", "[0,4]"), "1234"), "");
  EXPECT_EQ(problem_of("[]"),
            "[safetensors] F: got a header that does not begin with {, want a safetensors file; "
            "it is damaged or none");
  EXPECT_THAT(problem_of("{"), HasSubstr("no JSON object"));
  EXPECT_THAT(problem_of("{}", "x"), HasSubstr("1 bytes of data where the tensors have 0"));
  EXPECT_THAT(problem_of(R"({"t":3})"), HasSubstr("other parts than dtype"));
  EXPECT_THAT(problem_of(R"({"t":{"dtype":"F32","shape":[1]}})"), HasSubstr("other parts"));
  EXPECT_THAT(problem_of(tensor("7", "[1]", "[0,4]"), "1234"), HasSubstr("dtype that is no text"));
  EXPECT_THAT(problem_of(tensor(R"("F99")", "[1]", "[0,4]"), "1234"),
              HasSubstr("unknown dtype \"F99\""));
  EXPECT_THAT(problem_of(tensor(R"("F32")", "1", "[0,4]"), "1234"), HasSubstr("no array"));
  EXPECT_THAT(problem_of(tensor(R"("F32")", "[-1]", "[0,4]"), "1234"), HasSubstr("natural"));
  EXPECT_THAT(problem_of(tensor(R"("F32")", "[1.0]", "[0,4]"), "1234"), HasSubstr("natural"));
  EXPECT_THAT(problem_of(tensor(R"("F32")", "[1]", "[0]"), "1234"), HasSubstr("two natural"));
  EXPECT_THAT(problem_of(tensor(R"("F32")", "[1]", "[4,0]"), "1234"), HasSubstr("end before"));
  EXPECT_THAT(problem_of(tensor(R"("F32")", "[2]", "[0,4]"), "1234"),
              HasSubstr("4 bytes of data where its shape has 8"));
  EXPECT_THAT(problem_of(tensor(R"("F32")", "[1]", "[4,8]"), "12345678"),
              HasSubstr("at byte 4 of the data where 0 is next"));
  EXPECT_THAT(problem_of(tensor(R"("F32")", "[1]", "[0,4]"), "12"), HasSubstr("truncated"));
  EXPECT_THAT(problem_of(tensor(R"("F32")", "[9223372036854775807,4]", "[0,4]"), "1234"),
              HasSubstr("too large"));
  EXPECT_THAT(problem_of(tensor(R"("F32")", "[1]", "[0,18446744073709551615]"), "1234"),
              HasSubstr("two natural"));
  EXPECT_THAT(problem_of(R"({"__metadata__":[]})"), HasSubstr("metadata that is no object"));
  EXPECT_THAT(problem_of(R"({"__metadata__":{"a":1}})"), HasSubstr("\"a\" that is no text"));
  EXPECT_THAT(problem_of(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                         R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"),
              HasSubstr("the name \"a\" twice"));
  EXPECT_THAT(problem_of(R"({"t":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})"),
              HasSubstr("the name \"dtype\" twice"));
  EXPECT_THAT(problem_of(R"({"t":[[[[[[[[]]]]]]]]})"), HasSubstr("too deep"));
  EXPECT_THAT(problem_of("{\"\xff\":{}}"), HasSubstr("no JSON object"));
}

TEST(Safetensors, ALengthBeyondTheFileIsRefused) {
  for (const uint64_t length :
       {uint64_t{3}, uint64_t{100'000'001}, std::numeric_limits<uint64_t>::max()}) {
    std::string bytes = file_of("{}", "");
    std::memcpy(bytes.data(), &length, sizeof length);
    EXPECT_THAT(std::string(parse_safetensors("F", bytes).status().message()),
                HasSubstr(cat("got a header of ", length, " bytes in a file of 10")));
  }
}

TEST(Safetensors, WhatCannotBeWrittenIsRefused) {
  MemoryFileSystem files;
  const auto refused = [&](std::vector<TensorInfo> tensors, TensorMetadata metadata) {
    const auto writer = SafetensorsWriter::create(files, "f", std::move(tensors), metadata);
    EXPECT_EQ(writer.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_FALSE(files.exists("f"));
    return std::string(writer.status().message());
  };
  const auto tensor = [](std::string name, std::vector<int64_t> shape) {
    return tensor_info(std::move(name), TensorType::kF32, std::move(shape));
  };
  EXPECT_THAT(refused({tensor("a", {1}), tensor("a", {1})}, {}), HasSubstr("\"a\" twice"));
  EXPECT_THAT(refused({tensor("__metadata__", {1})}, {}), HasSubstr("twice"));
  EXPECT_THAT(refused({tensor("a", {-1})}, {}), HasSubstr("possible shape"));
  EXPECT_THAT(refused({tensor("a", {int64_t{1} << 62, 4})}, {}), HasSubstr("possible shape"));
  EXPECT_THAT(refused({tensor("\xff", {1})}, {}), HasSubstr("not UTF-8"));
  EXPECT_THAT(refused({}, {{"k", "\xff"}}), HasSubstr("not UTF-8"));
}

TEST(Safetensors, ReadingNamesTheTensorThatDoesNotFit) {
  MemoryFileSystem files;
  auto writer =
      SafetensorsWriter::create(files, "f", {tensor_info("a", TensorType::kF32, {2})}, {});
  const std::vector<float> values{1, 2};
  ASSERT_TRUE(writer->write("a", values).ok());
  ASSERT_TRUE(writer->finish().ok());
  const auto reader = SafetensorsReader::open(files, "f");
  std::vector<float> two(2), three(3);
  EXPECT_TRUE(reader->read("a", two).ok());
  EXPECT_EQ(two, values);
  EXPECT_EQ(reader->read("a", three).message(),
            "[safetensors] f: got a F32 [2], want F32 with 3 elements");
  EXPECT_EQ(reader->read("b", two).message(), "[safetensors] f: got no tensor b");
  EXPECT_EQ(SafetensorsReader::open(files, "g").status().code(), absl::StatusCode::kNotFound);
}

TEST(SafetensorsDeathTest, DataOutOfOrderIsAMistakeOfTheProgram) {
  MemoryFileSystem files;
  auto writer = SafetensorsWriter::create(
      files, "f", {tensor_info("a", TensorType::kU8, {2}), tensor_info("b", TensorType::kU8, {2})},
      {});
  EXPECT_DEATH(writer->write("b", "12").IgnoreError(), "got data of b, want a");
  EXPECT_DEATH(writer->write("a", "123").IgnoreError(), "more data than its shape");
  EXPECT_DEATH(writer->finish().IgnoreError(), "data is missing for a");
}

}  // namespace
}  // namespace rubato
