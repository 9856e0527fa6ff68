#include "rubato/metrics/tensorboard.h"

#include <algorithm>
#include <array>
#include <bit>
#include <initializer_list>
#include <limits>
#include <utility>

namespace rubato {
namespace {

constexpr size_t kBufferBytes = 64 << 10;

constexpr std::array<uint32_t, 256> make_crc_table() {
  constexpr uint32_t kCastagnoli = 0x82f63b78;  // reversed, as the lowest bit goes first
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? kCastagnoli : 0);
    table[byte] = crc;
  }
  return table;
}

template <class Integer>
void put_little_endian(std::string& out, Integer value) {
  for (size_t i = 0; i < sizeof value; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

// A checksum of bytes that hold their own checksums is weak, so it is turned and shifted.
uint32_t masked(uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8; }

// ---- protobuf's wire format: protobuf.dev/programming-guides/encoding

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

enum WireType : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void put_key(std::string& out, uint64_t field, WireType type) {
  put_varint(out, field << 3 | type);
}

void put_bytes(std::string& out, uint64_t field, std::string_view bytes) {
  put_key(out, field, kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

struct Scalar {
  std::string_view tag;
  double value;
};

// event.proto: wall_time = 1, step = 2, file_version = 3, summary = 5;
// summary.proto: Summary.value = 1; Value.tag = 1, Value.simple_value = 2.
std::string event(Nanos time, int64_t step) {
  std::string out;
  put_key(out, 1, kFixed64);
  put_little_endian(out, std::bit_cast<uint64_t>(to_seconds(time)));
  put_key(out, 2, kVarint);
  put_varint(out, static_cast<uint64_t>(step));
  return out;
}

std::string scalars_event(Nanos time, int64_t step, std::initializer_list<Scalar> scalars) {
  std::string summary;
  for (const Scalar& scalar : scalars) {
    std::string value;
    put_bytes(value, 1, scalar.tag);
    put_key(value, 2, kFixed32);
    put_little_endian(value, std::bit_cast<uint32_t>(static_cast<float>(scalar.value)));
    put_bytes(summary, 1, value);
  }
  std::string out = event(time, step);
  put_bytes(out, 5, summary);
  return out;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = make_crc_table();
  uint32_t crc = ~uint32_t{0};
  for (const char c : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  return ~crc;
}

std::string tfrecord(std::string_view bytes) {
  std::string out;
  put_little_endian(out, static_cast<uint64_t>(bytes.size()));
  put_little_endian(out, masked(crc32c(out)));
  out += bytes;
  put_little_endian(out, masked(crc32c(bytes)));
  return out;
}

StatusOr<TensorBoardSink> TensorBoardSink::open(FileSystem& files, const std::string& directory) {
  RUBATO_RETURN_IF_ERROR(files.make_directories(directory));
  RUBATO_ASSIGN_OR_RETURN(auto file, files.create(join_path(directory, kEventFile)));
  TensorBoardSink sink(std::move(file));
  std::string first = event(0, 0);
  put_bytes(first, 3, "brain.Event:2");
  sink.buffer_ = tfrecord(first);
  return sink;
}

void TensorBoardSink::on_update(const UpdateRecord& record) {
  if (record.has_verdict("rejected")) return;
  int64_t steps = 0;
  if (__builtin_mul_overflow(record.steps, std::max<int64_t>(record.workers, 1), &steps) ||
      __builtin_add_overflow(steps_, steps, &steps_))
    steps_ = std::numeric_limits<int64_t>::max();
  buffer_ += tfrecord(scalars_event(record.virtual_time_ns, steps_,
                                    {{"train/loss_nats", record.train_loss_nats},
                                     {"train/lr", record.lr},
                                     {"update/staleness", static_cast<double>(record.staleness)},
                                     {"update/delta_norm", record.delta_norm},
                                     {"update/bytes_up", static_cast<double>(record.bytes_up)}}));
  if (buffer_.size() >= kBufferBytes) first_error_ = flush();
}

void TensorBoardSink::on_eval(const EvalRecord& record) {
  const bool pretrains = record.phase == RunPhase::kPretrain;
  buffer_ += tfrecord(scalars_event(
      record.virtual_time_ns, record.local_steps,
      {{pretrains ? "pretraining/loss_nats" : "validation/loss_nats", record.loss_nats},
       {pretrains ? "pretraining/perplexity" : "validation/perplexity", record.perplexity()},
       {pretrains ? "pretraining/bits_per_byte" : "validation/bits_per_byte", record.bits_per_byte},
       {pretrains ? "pretraining/accuracy" : "validation/accuracy", record.accuracy}}));
  first_error_ = flush();
}

Status TensorBoardSink::flush() {
  // After an error the end of the file is unknown: anything more would stand behind a torn record.
  if (first_error_.ok() && !buffer_.empty()) first_error_ = file_->append(buffer_);
  buffer_.clear();
  return first_error_;
}

}  // namespace rubato
