// libFuzzer over messages that should be chunks: the first byte says which form, the second how
// large the slices are in which the rest comes. What protobuf reads is read, as the same chunk, and
// nothing else is; what was read is written as protobuf writes it.
#include <string>
#include <vector>

#include "tests/fuzz/fuzzing.h"

#include "rubato/rpc/chunk_wire.h"
#include "rubato/v1/exchange.pb.h"

namespace rubato {
namespace {

grpc::ByteBuffer message_of(std::string_view bytes, size_t piece) {
  std::vector<grpc::Slice> slices;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size())))
    slices.emplace_back(bytes.data(), std::min(piece, bytes.size()));
  return {slices.data(), slices.size()};
}

std::string text_of(const grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  RUBATO_CHECK(message.Dump(&slices).ok(), "a message that cannot be read");
  std::string text;
  for (const grpc::Slice& slice : slices)
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return text;
}

void check(std::string_view bytes, size_t piece, ChunkForm form) {
  v1::PushPart part;
  const std::string text(bytes);
  const bool parses = form == ChunkForm::kChunk ? part.mutable_chunk()->ParseFromString(text)
                                                : part.ParseFromString(text) && part.has_chunk();
  grpc::ByteBuffer message = message_of(bytes, piece);
  ChunkReader reader(form);
  Chunk chunk;
  const Status status = reader.read(message, chunk);
  RUBATO_CHECK(status.ok() == parses, "two readers disagree");
  if (!parses) return check_error(status, "[exchange] ");
  const v1::Chunk& want = part.chunk();
  RUBATO_CHECK(chunk.offset == want.offset() && chunk.total == want.total() &&
                   chunk.checksum == want.checksum() && chunk.data == want.data(),
               "two readers read different chunks");
  part.mutable_chunk()->DiscardUnknownFields();
  v1::PushPart only;
  *only.mutable_chunk() = part.chunk();
  RUBATO_CHECK(text_of(to_message(chunk, ChunkForm::kChunk)) == want.SerializeAsString() &&
                   text_of(to_message(chunk, ChunkForm::kPushPart)) == only.SerializeAsString(),
               "two writers write different chunks");
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  if (size < 2) return 0;
  check(as_text(data + 2, size - 2), data[1] % 64 + size_t{1},
        data[0] % 2 == 0 ? ChunkForm::kChunk : ChunkForm::kPushPart);
  return 0;
}
