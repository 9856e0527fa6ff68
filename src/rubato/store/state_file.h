// The state of a run as one safetensors file: every part that a walk names is a tensor of that
// name.
//   counter -> I64 []    scalar -> F64 []    plane -> F32 [n]    record -> U8 [n]
// Eight-byte values stand first, then planes, then records, each in the walk's order, so that
// everything is aligned in a mapped file.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rubato/base/state_walk.h"
#include "rubato/store/safetensors.h"

namespace rubato {

/// The first walk: copies the small parts, notes names and sizes of the planes.
class StateOutline final : public StateWalk {
 public:
  void plane(std::string_view name, std::span<float> values) override;
  void counter(std::string_view name, int64_t& value) override;
  void scalar(std::string_view name, double& value) override;
  void record(std::string_view name, std::string& bytes) override;

  /// What the file will hold, in order.
  std::vector<TensorInfo> tensors() const;
  /// The eight-byte values, to be written before the planes.
  Status write_values(SafetensorsWriter& writer) const;
  /// The records, to be written behind the planes.
  Status write_records(SafetensorsWriter& writer) const;

 private:
  std::vector<TensorInfo> value_infos_, plane_infos_, record_infos_;
  std::vector<std::string> values_, records_;
};

/// The second walk: writes planes, which must be those of the first in the same order.
class PlaneWriter final : public StateWalk {
 public:
  explicit PlaneWriter(SafetensorsWriter& writer) : writer_(writer) {}
  void plane(std::string_view name, std::span<float> values) override;
  void counter(std::string_view, int64_t&) override {}
  void scalar(std::string_view, double&) override {}
  void record(std::string_view, std::string&) override {}
  const Status& status() const { return status_; }

 private:
  SafetensorsWriter& writer_;
  Status status_;
};

/// Overwrites what a walk names with what the file holds.
class StateFileRestorer final : public StateWalk {
 public:
  explicit StateFileRestorer(const SafetensorsReader& reader) : reader_(reader) {}
  void plane(std::string_view name, std::span<float> values) override;
  void counter(std::string_view name, int64_t& value) override;
  void scalar(std::string_view name, double& value) override;
  void record(std::string_view name, std::string& bytes) override;
  /// FailedPrecondition names the first part that is missing, of another kind or size, or that
  /// nothing asked for.
  Status finish() const;

 private:
  /// The data, or nothing after an error; `want_bytes` -1 takes any size.
  const char* get(std::string_view name, TensorType type, int64_t want_bytes);

  const SafetensorsReader& reader_;
  Status status_;
  std::map<std::string, const TensorInfo*, std::less<>> read_;
};

}  // namespace rubato
