// How the processes of one island reach each other. Ranks count from 0; rank 0 is the worker, it
// alone speaks to the coordinator. Called by one thread of each process, and by all ranks in an
// order that fits: a message waits for its receiver.
//
// There is no error to return: what breaks a link of MPI takes the whole island with it, so the
// link ends the process after it has told why (island_loader.h).
#pragma once

#include <cstddef>
#include <span>

namespace rubato {

class IslandLink {
 public:
  virtual ~IslandLink() = default;
  virtual int rank() const = 0;
  /// Processes of the island, >= 2.
  virtual int size() const = 0;
  /// Rank 0's bytes to all others, which give a buffer of the same size.
  virtual void broadcast(std::span<std::byte> bytes) = 0;
  virtual void send(int to, std::span<const std::byte> bytes) = 0;
  virtual void receive(int from, std::span<std::byte> bytes) = 0;
};

}  // namespace rubato
