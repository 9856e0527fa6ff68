#include "rubato/lm/team.h"

#include <algorithm>
#include <system_error>

#include "rubato/base/float_env.h"
#include "rubato/lm/gemm.h"

namespace rubato {
namespace {

// About 50 us: longer than members of one step usually wait for each other, shorter than a
// scheduler's slice, so that teams that share processors do not burn each other's time.
constexpr int kSpins = 2000;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Returns once `value` is no longer (or, with `until`, has become) what was asked.
template <class T>
void await_change(const std::atomic<T>& value, T old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    relax();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

StatusOr<std::unique_ptr<Team>> Team::make(int size) {
  RUBATO_CHECK(size >= 1);
  std::unique_ptr<Team> team(new Team());
  team->helpers_.reserve(static_cast<size_t>(size - 1));
  try {
    for (int member = 1; member < size; ++member) {
      team->helpers_.emplace_back([raw = team.get(), member] { raw->help(member); });
    }
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(
        cat("[team] got ", team->size(), " threads, want ", size, "; ", error.what()));
  }
  return team;
}

Team::~Team() {
  stopping_ = true;
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void Team::run(int count, absl::FunctionRef<void(int)> body) {
  const SingleThreadedGemm single;
  flush_denormals();
  count = std::min(count, size());
  if (count <= 1) {
    body(0);
    return;
  }
  count_ = count;
  body_ = &body;
  unfinished_.store(static_cast<int32_t>(helpers_.size()), std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  body(0);
  for (int32_t left = unfinished_.load(std::memory_order_acquire); left != 0;
       left = unfinished_.load(std::memory_order_acquire)) {
    await_change(unfinished_, left);
  }
}

void Team::help(int member) {
  flush_denormals();
  const SingleThreadedGemm single;
  uint32_t seen = 0;
  for (;;) {
    await_change(round_, seen);
    seen = round_.load(std::memory_order_acquire);
    if (stopping_) return;
    if (member < count_) (*body_)(member);
    if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
  }
}

}  // namespace rubato
