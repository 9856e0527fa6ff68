// TensorBoard event files: the scalars of metrics.jsonl for people who already look there.
// `tensorboard --logdir DIR` shows them; docs/dashboard.md names the tags.
//
// A file is a sequence of records, each framed as
//   length (8 bytes, little endian), masked crc32c of these 8, bytes, masked crc32c of the bytes
// and each record is a protobuf message `Event`. Its few fields are written here by hand: the
// schema belongs to TensorFlow, and this room has no other use for protobuf.
// Source: tensorflow.org/tutorials/load_data/tfrecord; tensorflow/core/util/event.proto.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "rubato/metrics/sink.h"
#include "rubato/store/file_system.h"

namespace rubato {

/// CRC-32C (Castagnoli) of the bytes.
uint32_t crc32c(std::string_view bytes);
/// The bytes as one record of a TFRecord file.
std::string tfrecord(std::string_view bytes);

/// Evaluations and updates as scalars over local steps. An event's time is the run's clock, in
/// which TensorBoard's axis RELATIVE then shows what waiting costs.
class TensorBoardSink final : public MetricsSink {
 public:
  /// A new event file in `directory`, which is made; one that a run left there before is emptied.
  /// `files` outlives the sink.
  static StatusOr<TensorBoardSink> open(FileSystem& files, const std::string& directory);

  void on_update(const UpdateRecord& record) override;
  /// Writes what is buffered, as every evaluation does to metrics.jsonl.
  void on_eval(const EvalRecord& record) override;
  void on_span(const TaskSpan&) override {}
  void on_event(const EventRecord&) override {}
  Status error() const override { return first_error_; }
  Status flush() override;

 private:
  explicit TensorBoardSink(std::unique_ptr<WritableFile> file) : file_(std::move(file)) {}

  std::unique_ptr<WritableFile> file_;
  std::string buffer_;
  int64_t steps_ = 0;  // local steps of arrivals that were not rejected
  Status first_error_;
};

/// The name of the event file: what TensorBoard looks for.
inline constexpr const char* kEventFile = "events.out.tfevents.0.rubato";

}  // namespace rubato
