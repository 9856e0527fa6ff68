#include "rubato/island/shared_batch.h"

#include <algorithm>
#include <vector>

#include "rubato/base/flat_ops.h"
#include "rubato/base/float_env.h"
#include "rubato/base/status.h"

namespace rubato {
namespace {

// What travels at a time, 1 MiB: large enough for a network, small enough that ranks further up
// the tree add one chunk while the next is on its way.
constexpr size_t kChunkFloats = size_t{1} << 18;

struct Tally {
  double loss;
  int64_t tokens;
};

// Calls receive(from) for each rank below in the tree, in order, then send(to) unless it is the
// root.
template <class Receive, class Send>
void climb(const IslandLink& link, Receive receive, Send send) {
  for (int step = 1; step < link.size(); step *= 2) {
    if (link.rank() % (2 * step) != 0) return send(link.rank() - step);
    if (link.rank() + step < link.size()) receive(link.rank() + step);
  }
}

}  // namespace

BatchPart batch_part(int64_t sequences, int rank, int ranks) {
  RUBATO_CHECK(sequences >= ranks && rank >= 0 && rank < ranks, "[island] got ", sequences,
               " sequences for ", ranks, " ranks");
  const auto begin = [&](int64_t part) { return (sequences * part + ranks - 1) / ranks; };
  return {begin(rank), begin(rank + 1)};
}

void sum_parts(IslandLink& link, std::span<float> gradient, StepResult& result) {
  flush_denormals();
  Tally sum{result.loss, result.tokens}, other{};
  climb(
      link,
      [&](int from) {
        link.receive(from, std::as_writable_bytes(std::span(&other, 1)));
        sum.loss += other.loss;
        sum.tokens += other.tokens;
      },
      [&](int to) { link.send(to, std::as_bytes(std::span(&sum, 1))); });
  result.loss = sum.loss;
  result.tokens = sum.tokens;

  std::vector<float> received(std::min(kChunkFloats, gradient.size()));
  for (size_t at = 0; at < gradient.size(); at += kChunkFloats) {
    const std::span<float> chunk =
        gradient.subspan(at, std::min(kChunkFloats, gradient.size() - at));
    const std::span<float> theirs = std::span(received).first(chunk.size());
    climb(
        link,
        [&](int from) {
          link.receive(from, std::as_writable_bytes(theirs));
          add_scaled(1.0f, theirs, chunk);
        },
        [&](int to) { link.send(to, std::as_bytes(chunk)); });
  }
}

}  // namespace rubato
