#include "rubato/lm/arena.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include <sys/mman.h>

namespace rubato {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;

// The number in a file that holds nothing else; -1 without the file or for `max`.
int64_t number_in(const char* path) {
  std::ifstream file(path);
  int64_t value = -1;
  return file >> value ? value : -1;
}

// The number behind `key` in a file of lines `key number ..`; -1 when there is none.
int64_t number_behind(const char* path, std::string_view key) {
  std::ifstream file(path);
  std::string word, rest;
  int64_t value = 0;
  while (file >> word >> value) {
    if (word == key) return value;
    std::getline(file, rest);
  }
  return -1;
}

struct ControlGroup {
  const char* limit;
  const char* usage;
  const char* statistics;
  const char* reclaimable;  // its key in the statistics
};

// As they look from inside a container, or for a process in the root group.
constexpr ControlGroup kVersion2 = {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current",
                                    "/sys/fs/cgroup/memory.stat", "inactive_file"};
constexpr ControlGroup kVersion1 = {"/sys/fs/cgroup/memory/memory.limit_in_bytes",
                                    "/sys/fs/cgroup/memory/memory.usage_in_bytes",
                                    "/sys/fs/cgroup/memory/memory.stat", "total_inactive_file"};

// What a control group leaves, pages of files that nobody uses counted as free; -1 without a limit.
int64_t available_in(const ControlGroup& group) {
  const int64_t limit = number_in(group.limit), usage = number_in(group.usage);
  // Version 1 writes "no limit" as a number near the largest one.
  if (limit < 0 || usage < 0 || limit > (int64_t{1} << 60)) return -1;
  const int64_t reclaimable =
      std::max<int64_t>(number_behind(group.statistics, group.reclaimable), 0);
  return std::max<int64_t>(limit - usage + reclaimable, 0);
}

}  // namespace

int64_t available_memory_bytes() {
  int64_t least = std::numeric_limits<int64_t>::max();
  const int64_t machine_kib = number_behind("/proc/meminfo", "MemAvailable:");
  for (int64_t available : {machine_kib < 0 ? -1 : machine_kib * 1024, available_in(kVersion2),
                            available_in(kVersion1)}) {
    if (available >= 0) least = std::min(least, available);
  }
  return least == std::numeric_limits<int64_t>::max() ? -1 : least;
}

Status check_memory(int64_t bytes) {
  const int64_t available = available_memory_bytes();
  if (available < 0 || bytes <= available) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      cat("[memory] got ", available >> 20, " MiB available, want ", (bytes >> 20) + 1,
          " MiB; take a smaller model, batch or sequence, or fewer trainers at a time"));
}

Arena::~Arena() {
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(bytes_));
}

Arena::Arena(Arena&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

StatusOr<Arena> Arena::allocate(int64_t bytes) {
  const int64_t rounded = std::max((bytes + kHugePage - 1) / kHugePage, int64_t{1}) * kHugePage;
  RUBATO_RETURN_IF_ERROR(check_memory(rounded));
  void* memory = mmap(nullptr, static_cast<size_t>(rounded), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        cat("[memory] the system refused ", rounded >> 20, " MiB: ", std::strerror(errno)));
  }
  // A refusal of huge pages costs a few percent of speed and nothing else.
  madvise(memory, static_cast<size_t>(rounded), MADV_HUGEPAGE);
  std::memset(memory, 0, static_cast<size_t>(rounded));
  Arena arena;
  arena.data_ = static_cast<std::byte*>(memory);
  arena.bytes_ = rounded;
  return arena;
}

}  // namespace rubato
