// An island whose ranks are threads of one process: the link's twin for tests.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "rubato/island/island_link.h"

namespace rubato {

class ThreadIsland {
 public:
  explicit ThreadIsland(int size) : size_(size) {}
  std::unique_ptr<IslandLink> link(int rank);
  /// `rank_0` here and `member` in a thread for every other rank, each with its link; returns when
  /// all have.
  static void run(int size, const std::function<void(IslandLink&)>& rank_0,
                  const std::function<void(IslandLink&)>& member);

 private:
  friend class ThreadLink;
  using Message = std::vector<std::byte>;

  const int size_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<std::pair<int, int>, std::deque<Message>> messages_;  // (from, to)
};

}  // namespace rubato
