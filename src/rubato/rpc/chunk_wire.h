// Chunks as gRPC carries them, byte for byte what protobuf makes of v1.Chunk and v1.PushPart, but
// written and read without copying the data into a message: a header by hand, then the data as a
// slice.
//   chunk = 08 varint(offset)  10 varint(total)  19 fixed64(checksum)  22 varint(size) data
//   part  = 12 varint(size) chunk                               zeros are left out
// That is the form every protobuf library writes. Any other form of the same message (fields in
// another order, unknown ones) is left to protobuf's own parser, so both accept the same bytes.
#pragma once

#include <string>
#include <vector>

#include <grpcpp/support/byte_buffer.h>

#include "rubato/rpc/chunk.h"

namespace rubato {

inline constexpr char kFetchMethod[] = "/rubato.v1.Exchange/Fetch";
inline constexpr char kPushOffsetMethod[] = "/rubato.v1.Exchange/PushOffset";
inline constexpr char kPushMethod[] = "/rubato.v1.Exchange/Push";
inline constexpr char kFoundMethod[] = "/rubato.v1.Exchange/Found";

/// The message around a chunk.
enum class ChunkForm {
  kChunk,     // v1.Chunk: down
  kPushPart,  // v1.PushPart or v1.FoundPart, which have the same fields: up
};

/// The message holds the chunk's owner until it was sent; a chunk without one is copied.
grpc::ByteBuffer to_message(const Chunk& chunk, ChunkForm form);

class ChunkReader {
 public:
  explicit ChunkReader(ChunkForm form) : form_(form) {}

  /// Takes the message. The chunk's data lies in this reader until the next call. InvalidArgument
  /// `[exchange] ..` for what protobuf refuses, and for a part that is no chunk.
  Status read(grpc::ByteBuffer& message, Chunk& chunk);

 private:
  bool read_usual_form(size_t bytes, Chunk& chunk);
  Status read_any_form(grpc::ByteBuffer& message, Chunk& chunk);

  ChunkForm form_;
  std::vector<grpc::Slice> slices_;
  std::vector<char> gathered_;  // data that came in several slices
  std::string parsed_;          // data of a message that protobuf parsed
};

}  // namespace rubato
