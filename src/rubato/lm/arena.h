// One mapping that holds everything a step needs: allocated once, touched once, with huge pages
// asked for. A Carver walks over it and hands out aligned pieces; walking over nothing measures, so
// the size predicted and the size taken come from the same code.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rubato/base/status.h"

namespace rubato {

class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;

  /// Zeroed memory. ResourceExhausted with the numbers when there is not that much, checked before
  /// asking for it.
  static StatusOr<Arena> allocate(int64_t bytes);

  std::byte* data() const { return data_; }

 private:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

class Carver {
 public:
  /// Walks over `base`; nullptr only measures.
  explicit Carver(std::byte* base) : base_(base) {}

  /// The next `count` objects, at a multiple of 64 bytes; nullptr when measuring.
  template <class T>
  T* take(int64_t count) {
    std::byte* piece = base_ == nullptr ? nullptr : base_ + used_;
    used_ += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return reinterpret_cast<T*>(piece);
  }
  /// [bytes]
  int64_t used() const { return used_; }

 private:
  std::byte* base_;
  int64_t used_ = 0;
};

/// Bytes that this process may still take: the least of the machine's available memory and what
/// its control group leaves. A negative answer means unknown.
int64_t available_memory_bytes();

/// OK when `bytes` can be had, else ResourceExhausted with what is needed and what is available.
Status check_memory(int64_t bytes);

}  // namespace rubato
