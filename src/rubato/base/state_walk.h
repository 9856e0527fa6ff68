// One walk over an object's state serves saving, restoring, comparing and digesting: the object
// names each part once and the walker reads it or overwrites it.
//
//   void walk_state(StateWalk& walk) { walk.plane("momentum", momentum_); walk.counter("arrivals",
//   arrivals_); }
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "rubato/base/status.h"

namespace rubato {

class StateWalk {
 public:
  virtual ~StateWalk() = default;
  /// A fixed-size array of floats, usually [P]; a restored plane of another size is an error.
  virtual void plane(std::string_view name, std::span<float> values) = 0;
  virtual void counter(std::string_view name, int64_t& value) = 0;
  virtual void scalar(std::string_view name, double& value) = 0;
  /// Bytes of any length.
  virtual void record(std::string_view name, std::string& bytes) = 0;
  /// What was read cannot be this object's state; a walk that restores keeps the first such error.
  virtual void refuse(const Status&) {}
};

/// Puts a prefix in front of every name of a part's own walk.
class PrefixedWalk final : public StateWalk {
 public:
  PrefixedWalk(StateWalk& inner, std::string prefix) : inner_(inner), prefix_(std::move(prefix)) {}
  void plane(std::string_view name, std::span<float> values) override;
  void counter(std::string_view name, int64_t& value) override;
  void scalar(std::string_view name, double& value) override;
  void record(std::string_view name, std::string& bytes) override;
  void refuse(const Status& status) override { inner_.refuse(status); }

 private:
  StateWalk& inner_;
  std::string prefix_;
};

/// Counts the floats of an object's planes; copies nothing.
class PlaneFloatCounter final : public StateWalk {
 public:
  void plane(std::string_view, std::span<float> values) override {
    floats += static_cast<int64_t>(values.size());
  }
  void counter(std::string_view, int64_t&) override {}
  void scalar(std::string_view, double&) override {}
  void record(std::string_view, std::string&) override {}
  int64_t floats = 0;
};

/// Everything a walk meets, by name, as bytes; names must be unique within one walk.
using StateImage = std::map<std::string, std::string, std::less<>>;

/// Copies state out of the object. `prefix` goes in front of every name.
class StateSaver final : public StateWalk {
 public:
  explicit StateSaver(StateImage& image, std::string prefix = "")
      : image_(image), prefix_(std::move(prefix)) {}
  void plane(std::string_view name, std::span<float> values) override;
  void counter(std::string_view name, int64_t& value) override;
  void scalar(std::string_view name, double& value) override;
  void record(std::string_view name, std::string& bytes) override;

 private:
  void put(std::string_view name, std::string bytes);
  StateImage& image_;
  std::string prefix_;
};

/// Writes state back into the object; status() tells the first part that was missing or of another
/// size.
class StateRestorer final : public StateWalk {
 public:
  explicit StateRestorer(const StateImage& image, std::string prefix = "")
      : image_(image), prefix_(std::move(prefix)) {}
  void plane(std::string_view name, std::span<float> values) override;
  void counter(std::string_view name, int64_t& value) override;
  void scalar(std::string_view name, double& value) override;
  void record(std::string_view name, std::string& bytes) override;
  void refuse(const Status& status) override { status_.Update(status); }
  const Status& status() const { return status_; }

 private:
  const std::string* get(std::string_view name, size_t want_bytes);
  const StateImage& image_;
  std::string prefix_;
  Status status_;
};

}  // namespace rubato
