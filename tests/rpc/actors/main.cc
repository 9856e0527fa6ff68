// cluster_actor ROLE KEY=VALUE..: one process of a cluster under test.
#include <cstdio>

#include "tests/rpc/actors/actors.h"

#include "rubato/base/float_env.h"

namespace rubato {
namespace {

int play(const std::string& role, const Facts& words) {
  flush_denormals();
  Status status = absl::InvalidArgumentError(cat("got role ", role));
  if (role == "coordinator") status = play_coordinator(words);
  if (role == "worker") status = play_worker(words);
  if (role == "replay") status = play_replay(words);
  if (role == "exchange_coordinator") status = play_exchange_coordinator(words);
  if (role == "exchange_worker") status = play_exchange_worker(words);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return kActorFailed;
}

}  // namespace
}  // namespace rubato

int main(int argc, char** argv) {
  rubato::Facts words;
  for (int i = 2; i < argc; ++i) rubato::add_fact(words, argv[i]);
  return rubato::play(argc > 1 ? argv[1] : "", words);
}
