#include "tests/island/thread_link.h"

#include <algorithm>
#include <thread>

#include "rubato/base/status.h"

namespace rubato {

class ThreadLink final : public IslandLink {
 public:
  ThreadLink(ThreadIsland& island, int rank) : island_(island), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return island_.size_; }

  void broadcast(std::span<std::byte> bytes) override {
    if (rank_ != 0) return receive(0, bytes);
    for (int to = 1; to < size(); ++to) send(to, bytes);
  }

  void send(int to, std::span<const std::byte> bytes) override {
    const std::lock_guard lock(island_.mutex_);
    island_.messages_[{rank_, to}].emplace_back(bytes.begin(), bytes.end());
    island_.arrived_.notify_all();
  }

  void receive(int from, std::span<std::byte> bytes) override {
    std::unique_lock lock(island_.mutex_);
    auto& queue = island_.messages_[{from, rank_}];
    island_.arrived_.wait(lock, [&] { return !queue.empty(); });
    RUBATO_CHECK(queue.front().size() == bytes.size(), "a message of ", queue.front().size(),
                 " bytes for a buffer of ", bytes.size());
    std::ranges::copy(queue.front(), bytes.begin());
    queue.pop_front();
  }

 private:
  ThreadIsland& island_;
  int rank_;
};

std::unique_ptr<IslandLink> ThreadIsland::link(int rank) {
  return std::make_unique<ThreadLink>(*this, rank);
}

void ThreadIsland::run(int size, const std::function<void(IslandLink&)>& rank_0,
                       const std::function<void(IslandLink&)>& member) {
  ThreadIsland island(size);
  std::vector<std::thread> others;
  for (int rank = 1; rank < size; ++rank)
    others.emplace_back([&island, &member, rank] { member(*island.link(rank)); });
  rank_0(*island.link(0));
  for (std::thread& other : others) other.join();
}

}  // namespace rubato
