// Chunks by hand against protobuf's own serialiser and parser.
#include "rubato/rpc/chunk_wire.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "rubato/base/digest.h"
#include "rubato/v1/exchange.pb.h"

namespace rubato {
namespace {

std::string text_of(const grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(message.Dump(&slices).ok());
  std::string text;
  for (const grpc::Slice& slice : slices)
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return text;
}

// In slices of `piece` bytes, as a network would bring it.
grpc::ByteBuffer message_of(const std::string& bytes, size_t piece) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size(); at += piece)
    slices.emplace_back(bytes.data() + at, std::min(piece, bytes.size() - at));
  return {slices.data(), slices.size()};
}

std::string serialise(const Chunk& chunk, ChunkForm form) {
  v1::PushPart part;
  v1::Chunk& message = *part.mutable_chunk();
  message.set_offset(chunk.offset);
  message.set_total(chunk.total);
  message.set_checksum(chunk.checksum);
  message.set_data(std::string(chunk.data));
  return form == ChunkForm::kChunk ? message.SerializeAsString() : part.SerializeAsString();
}

std::shared_ptr<const std::string> keep(std::string text) {
  return std::make_shared<const std::string>(std::move(text));
}

rc::Gen<int64_t> any_number() {
  return rc::gen::oneOf(rc::gen::inRange<int64_t>(0, 300), rc::gen::arbitrary<int64_t>());
}

void expect_same(const Chunk& got, const Chunk& want) {
  RC_ASSERT(got.offset == want.offset);
  RC_ASSERT(got.total == want.total);
  RC_ASSERT(got.checksum == want.checksum);
  RC_ASSERT(got.data == want.data);
}

RC_GTEST_PROP(ChunkWire, WritesWhatProtobufWrites, ()) {
  const auto data = keep(*rc::gen::container<std::string>(rc::gen::arbitrary<char>()));
  const Chunk chunk{*any_number(), *any_number(), *rc::gen::arbitrary<uint64_t>(), *data,
                    *rc::gen::arbitrary<bool>() ? data : nullptr};
  for (const ChunkForm form : {ChunkForm::kChunk, ChunkForm::kPushPart})
    RC_ASSERT(text_of(to_message(chunk, form)) == serialise(chunk, form));
}

RC_GTEST_PROP(ChunkWire, ReadsWhatProtobufWrites, (uint64_t checksum, std::string data)) {
  const Chunk chunk{*any_number(), *any_number(), checksum, data, nullptr};
  for (const ChunkForm form : {ChunkForm::kChunk, ChunkForm::kPushPart}) {
    grpc::ByteBuffer message =
        message_of(serialise(chunk, form), *rc::gen::inRange<size_t>(1, 100));
    ChunkReader reader(form);
    Chunk got;
    RC_ASSERT(reader.read(message, got).ok());
    expect_same(got, chunk);
  }
}

// Fields in any order, several times, unknown ones between them, cut anywhere.
RC_GTEST_PROP(ChunkWire, ReadsWhateverProtobufReads, (std::string data)) {
  const auto field = rc::gen::oneOf(
      rc::gen::just(std::string("\x08\x07", 2)), rc::gen::just(std::string("\x10\x81\x02", 3)),
      rc::gen::just(std::string("\x19"
                                "12345678",
                                9)),
      rc::gen::just(std::string("\x22\x03"
                                "abc",
                                5)),
      rc::gen::just(std::string("\x5a\x02?!", 4)), rc::gen::just(std::string("\x5b\x5c", 2)),
      rc::gen::just(std::string("\x1a\x01z", 3)), rc::gen::just(std::string("\x00", 1)),
      rc::gen::just(std::string("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11)),
      rc::gen::just(std::string("\x22\x83\x80\x80\x80\x00"
                                "abc",
                                9)),
      rc::gen::just(data));
  std::string bytes;
  for (const std::string& piece : *rc::gen::container<std::vector<std::string>>(field))
    bytes += piece;
  if (*rc::gen::arbitrary<bool>()) bytes.resize(*rc::gen::inRange<size_t>(0, bytes.size() + 1));
  grpc::ByteBuffer message = message_of(bytes, *rc::gen::inRange<size_t>(1, 20));
  ChunkReader reader(ChunkForm::kChunk);
  Chunk got;
  v1::Chunk want;
  const bool parses = want.ParseFromString(bytes);
  RC_ASSERT(reader.read(message, got).ok() == parses);
  if (parses)
    expect_same(got, {want.offset(), want.total(), want.checksum(), want.data(), nullptr});
}

TEST(ChunkWire, RefusesAPartThatIsNoChunk) {
  v1::PushPart part;
  part.mutable_header()->set_task(3);
  ChunkReader reader(ChunkForm::kPushPart);
  Chunk chunk;
  grpc::ByteBuffer header = message_of(part.SerializeAsString(), 1), nothing, garbage;
  EXPECT_EQ(reader.read(header, chunk).message(), "[exchange] got a second header, want a chunk");
  EXPECT_TRUE(absl::IsInvalidArgument(reader.read(nothing, chunk)));
  garbage = message_of("\x12\x05\x22\x7f?", 2);
  EXPECT_TRUE(absl::IsInvalidArgument(reader.read(garbage, chunk)));
}

TEST(ChunkWire, HoldsTheDataUntilItWasSent) {
  const auto data = keep(std::string(1 << 16, 'x'));
  {
    const grpc::ByteBuffer message =
        to_message(make_chunk(0, std::ssize(*data), *data, data), ChunkForm::kPushPart);
    EXPECT_GT(data.use_count(), 1);
    std::vector<grpc::Slice> slices;
    ASSERT_TRUE(message.Dump(&slices).ok());
    EXPECT_EQ(slices.back().begin(), reinterpret_cast<const uint8_t*>(data->data()));  // no copy
  }
  EXPECT_EQ(data.use_count(), 1);
}

}  // namespace
}  // namespace rubato
