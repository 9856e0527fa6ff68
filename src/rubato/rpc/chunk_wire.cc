#include "rubato/rpc/chunk_wire.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include <grpcpp/impl/codegen/proto_utils.h>

#include "rubato/v1/exchange.pb.h"

namespace rubato {
namespace {

// Numbers and wire types of fields, as protobuf writes them in front of each.
constexpr uint8_t kOffsetTag = 0x08, kTotalTag = 0x10, kChecksumTag = 0x19, kDataTag = 0x22;
constexpr uint8_t kPartTag = 0x12;
// 6 for the part, 11 for each of two varints, 9 for the checksum, 6 for the data's size.
constexpr size_t kLongestHead = 48;

static_assert(std::endian::native == std::endian::little, "fixed64 is little-endian");

class HeadWriter {
 public:
  void tagged(uint8_t tag, uint64_t value) {
    if (value == 0) return;
    bytes_[size_++] = static_cast<char>(tag);
    varint(value);
  }
  void tagged_fixed(uint8_t tag, uint64_t value) {
    if (value == 0) return;
    bytes_[size_++] = static_cast<char>(tag);
    std::memcpy(bytes_.data() + size_, &value, sizeof value);
    size_ += sizeof value;
  }
  void append(std::string_view other) {
    std::ranges::copy(other, bytes_.begin() + static_cast<ptrdiff_t>(size_));
    size_ += other.size();
  }
  std::string_view bytes() const { return {bytes_.data(), size_}; }

 private:
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_[size_++] = static_cast<char>(value | 0x80);
    bytes_[size_++] = static_cast<char>(value);
  }

  std::array<char, kLongestHead> bytes_;
  size_t size_ = 0;
};

class HeadReader {
 public:
  explicit HeadReader(std::string_view bytes) : bytes_(bytes) {}

  size_t position() const { return position_; }
  bool take(uint8_t tag) {
    if (position_ >= bytes_.size() || static_cast<uint8_t>(bytes_[position_]) != tag) return false;
    ++position_;
    return true;
  }
  // At most `longest` bytes; false leaves the message to protobuf.
  bool varint(size_t longest, uint64_t& value) {
    value = 0;
    for (size_t i = 0; i < longest && position_ < bytes_.size(); ++i) {
      const auto byte = static_cast<uint8_t>(bytes_[position_++]);
      if (i == 9 && byte > 1) return false;
      value |= uint64_t{byte & 0x7Fu} << (7 * i);
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool fixed(uint64_t& value) {
    if (bytes_.size() - position_ < sizeof value) return false;
    std::memcpy(&value, bytes_.data() + position_, sizeof value);
    position_ += sizeof value;
    return true;
  }

 private:
  std::string_view bytes_;
  size_t position_ = 0;
};

// The size of the head of a message of `whole` bytes in the usual form; nullopt for another form.
std::optional<size_t> parse_head(std::string_view head, size_t whole, ChunkForm form,
                                 Chunk& chunk) {
  constexpr size_t kLongestNumber = 10, kLongestSize = 5;
  HeadReader reader(head);
  uint64_t offset = 0, total = 0, checksum = 0, size = 0;
  if (form == ChunkForm::kPushPart) {
    if (!reader.take(kPartTag) || !reader.varint(kLongestSize, size)) return {};
    if (size != whole - reader.position()) return {};
  }
  if (reader.take(kOffsetTag) && !reader.varint(kLongestNumber, offset)) return {};
  if (reader.take(kTotalTag) && !reader.varint(kLongestNumber, total)) return {};
  if (reader.take(kChecksumTag) && !reader.fixed(checksum)) return {};
  if (!reader.take(kDataTag) || !reader.varint(kLongestSize, size)) return {};
  if (size != whole - reader.position()) return {};
  chunk.offset = static_cast<int64_t>(offset);
  chunk.total = static_cast<int64_t>(total);
  chunk.checksum = checksum;
  return reader.position();
}

void let_go(void* owner) { delete static_cast<std::shared_ptr<const void>*>(owner); }

grpc::Slice slice_of(const Chunk& chunk) {
  if (!chunk.owner) return {chunk.data.data(), chunk.data.size()};
  // gRPC only reads what is sent.
  return {const_cast<char*>(chunk.data.data()), chunk.data.size(), let_go,
          new std::shared_ptr<const void>(chunk.owner)};
}

std::string_view view_of(const grpc::Slice& slice) {
  return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
}

Status refused(std::string_view got) {
  return absl::InvalidArgumentError(cat("[exchange] got ", got, ", want a chunk"));
}

}  // namespace

grpc::ByteBuffer to_message(const Chunk& chunk, ChunkForm form) {
  HeadWriter head;
  head.tagged(kOffsetTag, static_cast<uint64_t>(chunk.offset));
  head.tagged(kTotalTag, static_cast<uint64_t>(chunk.total));
  head.tagged_fixed(kChecksumTag, chunk.checksum);
  head.tagged(kDataTag, chunk.data.size());
  HeadWriter outer;
  if (form == ChunkForm::kPushPart) {
    outer.tagged(kPartTag, head.bytes().size() + chunk.data.size());
    // A part that holds an empty chunk is not a part that holds nothing.
    if (outer.bytes().empty()) outer.append({"\x12\x00", 2});
  }
  outer.append(head.bytes());
  const grpc::Slice slices[] = {{outer.bytes().data(), outer.bytes().size()}, slice_of(chunk)};
  return {slices, chunk.data.empty() ? size_t{1} : size_t{2}};
}

Status ChunkReader::read(grpc::ByteBuffer& message, Chunk& chunk) {
  slices_.clear();
  chunk = {};
  if (!message.Dump(&slices_).ok()) return refused("a message that cannot be read");
  if (read_usual_form(message.Length(), chunk)) {
    message.Clear();
    return absl::OkStatus();
  }
  return read_any_form(message, chunk);
}

bool ChunkReader::read_usual_form(size_t bytes, Chunk& chunk) {
  std::array<char, kLongestHead> first;
  size_t held = 0;
  for (const grpc::Slice& slice : slices_) {
    const std::string_view piece = view_of(slice).substr(0, first.size() - held);
    std::ranges::copy(piece, first.begin() + static_cast<ptrdiff_t>(held));
    held += piece.size();
  }
  const std::optional<size_t> head = parse_head({first.data(), held}, bytes, form_, chunk);
  if (!head) return false;
  const size_t size = bytes - *head;
  size_t of_head_left = *head, at = 0;
  for (const grpc::Slice& slice : slices_) {
    std::string_view piece = view_of(slice);
    const size_t of_head = std::min(of_head_left, piece.size());
    piece.remove_prefix(of_head);
    of_head_left -= of_head;
    if (piece.empty()) continue;
    if (piece.size() == size) {
      chunk.data = piece;
      return true;
    }
    if (at == 0) gathered_.resize(size);
    std::ranges::copy(piece, gathered_.begin() + static_cast<ptrdiff_t>(at));
    at += piece.size();
  }
  chunk.data = {gathered_.data(), at};
  return true;
}

Status ChunkReader::read_any_form(grpc::ByteBuffer& message, Chunk& chunk) {
  v1::Chunk bare;
  v1::PushPart part;
  const bool parsed =
      form_ == ChunkForm::kChunk
          ? grpc::SerializationTraits<v1::Chunk>::Deserialize(&message, &bare).ok()
          : grpc::SerializationTraits<v1::PushPart>::Deserialize(&message, &part).ok();
  if (!parsed) return refused("bytes that are no message");
  if (form_ == ChunkForm::kPushPart) {
    if (!part.has_chunk()) return refused(part.has_header() ? "a second header" : "nothing known");
    bare.Swap(part.mutable_chunk());
  }
  parsed_ = std::move(*bare.mutable_data());
  chunk = {bare.offset(), bare.total(), bare.checksum(), parsed_, nullptr};
  return absl::OkStatus();
}

}  // namespace rubato
