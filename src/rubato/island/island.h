// An island: one worker that is several processes. They are data-parallel within each local step,
// in step with each other, while workers stay asynchronous.
//
//   rank 0:  batch and parameters to all; own part of the gradient; sum; clip, inner optimizer
//   others:  own part of the gradient; sum
//
// Only rank 0 keeps parameters and inner state: the others get the parameters with every step. In
// all that is as much traffic as a sum that everybody receives (more of it over rank 0's link), it
// needs no memory for moments, and nothing can drift apart, even on processors that round
// differently. Memory of the other ranks: parameters [P], the trainer's arena; of each rank 1 MiB
// for a chunk of a sum.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "rubato/island/island_link.h"
#include "rubato/island/shared_file.h"
#include "rubato/store/file_system.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

/// Rank 0's side of an island.
class IslandLeader {
 public:
  /// `link` outlives it.
  explicit IslandLeader(IslandLink& link) : link_(link) {}
  /// Lets the other ranks go.
  ~IslandLeader();
  IslandLeader(const IslandLeader&) = delete;
  IslandLeader& operator=(const IslandLeader&) = delete;

  /// Sees to it that every rank has `file`, which is here, under its path.
  Status share_file(FileSystem& files, SharedFile file);
  /// Hands `text` to every other rank's PrepareMember and waits for them; the error of the lowest
  /// rank that has one.
  Status introduce(std::string text);
  /// `workload`, each step of whose trainers is shared by all ranks; after introduce(). The link
  /// outlives it. Its make_trainer() wants as many sequences as there are ranks, or says
  /// InvalidArgument, and Unimplemented for a workload whose batches cannot be shared.
  std::unique_ptr<Workload> share(std::unique_ptr<Workload> workload);

 private:
  IslandLink& link_;
};

/// What a rank makes of rank 0's text: the same workload as rank 0 has; kept alive by the caller.
using PrepareMember = std::function<StatusOr<const Workload*>(const std::string& text)>;

/// A rank other than 0: does what rank 0 orders until it is let go, with `threads`. Errors go to
/// rank 0, which decides.
void serve_island(IslandLink& link, FileSystem& files, const PrepareMember& prepare, int threads);

}  // namespace rubato
