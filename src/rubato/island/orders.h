// What the ranks of an island say to each other, beside gradients: orders of rank 0 to all, and an
// answer of each where something can go wrong. One build speaks to itself, so bytes lie as they lie
// in memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "rubato/base/status.h"
#include "rubato/island/island_link.h"

namespace rubato {

struct Order {
  enum class Kind : int64_t {
    kEnd,        // leave
    kFile,       // `count` bytes follow, an archived SharedFile; then as shared_file.h says
    kIntroduce,  // `count` bytes of text follow; answered
    kTrainer,    // make a trainer for batches of `count` sequences; answered
    kStep,       // `count` SequenceRefs and the parameters follow; a sum of parts is the answer
  };
  Kind kind = Kind::kEnd;
  int64_t count = 0;
};

/// Sends or receives `values` as they lie in memory, by rank.
template <class T>
void broadcast_values(IslandLink& link, std::span<T> values) {
  link.broadcast(std::as_writable_bytes(values));
}

inline void broadcast_order(IslandLink& link, Order& order) {
  broadcast_values(link, std::span(&order, 1));
}

/// To rank 0: how an order went here.
void send_answer(IslandLink& link, const Status& status);

/// The others' answers and `own`: the first error by rank, which names its rank unless it is rank
/// 0's own. Waits for all of them.
Status gather_answers(IslandLink& link, const Status& own);

}  // namespace rubato
