// libFuzzer over DescribeRequest: an answer is a description that a worker believes, anything else
// one line.
#include "tests/rpc/fuzz_frames.h"
#include "tests/rpc/peer_rig.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  // Nothing that is asked here changes anything.
  static PeerRig* const rig = new PeerRig([] {
    PeerRigOptions options;
    options.reception.worker_memory_bytes = 1 << 20;
    return options;
  }());
  v1::DescribeRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto run = rig->reception().describe(request);
  if (!run.ok()) {
    check_refusal(run.status());
    return 0;
  }
  RUBATO_CHECK(check_description(*run).ok(), "a description nobody believes");
  RUBATO_CHECK(
      run->protocol() >= request.protocol().first() && run->protocol() <= request.protocol().last(),
      "a protocol the peer does not speak");
  RUBATO_CHECK(request.memory_bytes() == 0 || request.memory_bytes() >= 1 << 20, "too little");
  return 0;
}
