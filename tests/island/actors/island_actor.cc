// What mpi_link_test starts under mpirun: island_actor SCENE. Prints one line per finding; exit
// code 0 when all is as it should be.
#include <cmath>
#include <cstdio>
#include <new>
#include <string>
#include <vector>

#include "tests/trainer/inner_testing.h"

#include "rubato/island/island.h"
#include "rubato/island/mpi_loader.h"
#include "rubato/island/shared_batch.h"
#include "rubato/store/memory_file_system.h"
#include "rubato/trainer/quadratic.h"

namespace rubato {
namespace {

int found = 0;

void expect(bool holds, const char* what, int rank) {
  if (holds) return;
  std::printf("rank %d: %s\n", rank, what);
  found = 1;
}

// Longer than what one call of MPI takes, so that the pieces are seen to fit.
void pass_bytes(IslandLink& link) {
  constexpr size_t kBytes = (size_t{64} << 20) + 12345;
  const auto value = [](size_t i) { return static_cast<std::byte>(i * 31 + (i >> 16)); };
  std::vector<std::byte> bytes(kBytes);
  for (size_t i = 0; link.rank() == 0 && i < kBytes; ++i) bytes[i] = value(i);
  link.broadcast(bytes);
  for (size_t i = 0; i < kBytes; i += 1009) expect(bytes[i] == value(i), "broadcast", link.rank());
  // Round in a ring, by one hand after the other.
  std::vector<std::byte> ring(kBytes);
  const int next = (link.rank() + 1) % link.size();
  const int before = (link.rank() + link.size() - 1) % link.size();
  if (link.rank() == 0) link.send(next, bytes);
  link.receive(before, ring);
  if (link.rank() != 0) link.send(next, ring);
  expect(ring == bytes, "ring", link.rank());
  link.broadcast({});
}

void sum(IslandLink& link) {
  std::vector<float> gradient(300'000, static_cast<float>(1 << link.rank()));
  StepResult result{.loss = 1.0, .tokens = 3};
  sum_parts(link, gradient, result);
  if (link.rank() != 0) return;
  const auto all = static_cast<float>((1 << link.size()) - 1);
  for (const float value : gradient) expect(value == all, "sum", 0);
  expect(result.tokens == 3 * link.size(), "tokens", 0);
}

std::unique_ptr<Workload> make_workload() {
  return QuadraticWorkload::make({.dim = 500, .noise = 0.2}, make_inner("adamw", {})).value();
}

std::vector<float> train(const Workload& workload) {
  const auto trainer = workload.make_trainer(7, 1).value();
  std::vector<float> params(static_cast<size_t>(workload.layout().size()));
  workload.initialise(3, params);
  InnerState state = workload.optimizer().make_state(workload.layout().size());
  for (int64_t step = 0; step < 50; ++step) {
    std::vector<SequenceRef> batch;
    for (int64_t i = 0; i < 7; ++i) batch.push_back({ShardId(i % 4), step * 7 + i});
    trainer->step(params, state, batch, 0.01, 1);
  }
  return params;
}

void train_together(IslandLink& link) {
  const std::unique_ptr<Workload> own = make_workload();
  MemoryFileSystem files;
  if (link.rank() != 0)
    return serve_island(
        link, files, [&](const std::string&) { return own.get(); }, 1);
  IslandLeader leader(link);
  expect(leader.introduce("the run").ok(), "introduction", 0);
  const std::vector<float> together = train(*leader.share(make_workload()));
  const std::vector<float> alone = train(*own);
  for (size_t i = 0; i < alone.size(); ++i)
    expect(std::abs(together[i] - alone[i]) <= 1e-5f * std::abs(alone[i]) + 1e-7f, "params", 0);
}

int play(const std::string& scene) {
  StatusOr<std::unique_ptr<IslandLink>> link =
      make_mpi_link([](std::string_view line) { std::printf("%s\n", std::string(line).c_str()); });
  if (!link.ok()) {
    std::printf("%s\n", std::string(link.status().message()).c_str());
    return 1;
  }
  if (scene == "bytes") pass_bytes(**link);
  if (scene == "sum") sum(**link);
  if (scene == "train") train_together(**link);
  if (scene == "throw" && (*link)->rank() == 1) throw std::bad_alloc();
  // The others wait for what will not come.
  if (scene == "throw") (*link)->receive(1, std::as_writable_bytes(std::span(&found, 1)));
  return found;
}

}  // namespace
}  // namespace rubato

int main(int argc, char** argv) {
  try {
    return rubato::play(argc > 1 ? argv[1] : "");
  } catch (const std::bad_alloc&) {
    return 3;
  }
}
