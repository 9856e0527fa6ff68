// libFuzzer over a worker's control stream: hello, heartbeats, wishes, goodbyes in any order, of
// three workers at once. Whatever they say, theta stays and the run replays.
//   frame kind: bits 0-1 the worker, bit 7: a hello gets this run's names and digests
#include <map>

#include "tests/rpc/fuzz_frames.h"
#include "tests/rpc/peer_rig.h"

#include "rubato/rpc/replay.h"

namespace rubato {
namespace {

void put_right(v1::Hello& hello, const v1::Hello& right) {
  hello.set_run(right.run());
  hello.set_incarnation(right.incarnation());
  hello.set_recipe_digest(right.recipe_digest());
  hello.set_layout_digest(right.layout_digest());
  *hello.mutable_protocol() = right.protocol();
  *hello.mutable_up_codecs() = right.up_codecs();
  *hello.mutable_down_codecs() = right.down_codecs();
}

void check_run(PeerRig& rig) {
  RUBATO_CHECK(rig.stop().ok(), "the driver failed");
  RUBATO_CHECK(rig.theta_is_initial(), "theta moved");
  const auto report = replay(rig.files(), rig.cluster().config(), rig.workload().layout(),
                             ReplayFrom::kOldest, nullptr);
  RUBATO_CHECK(report.ok(), report.status().message());
  RUBATO_CHECK(report->state_digest == rig.cluster().state_digest(), "another state");
  RUBATO_CHECK(report->ledger.balanced(), "the ledger");
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  PeerRigOptions options;
  options.overlap = size % 2 == 0 ? Overlap::kNone : Overlap::kFull;
  PeerRig rig(options);
  std::map<int64_t, std::unique_ptr<Session>> sessions;
  for (Frames frames(as_text(data, size)); frames.next();) {
    const int64_t worker = frames.kind() & 3;
    v1::FromWorker message;
    if (!frames.parse(message)) continue;
    std::unique_ptr<Session>& session = sessions[worker];
    if (session == nullptr && message.has_hello()) {
      if ((frames.kind() & 0x80) != 0) put_right(*message.mutable_hello(), rig.hello());
      auto begun = rig.reception().attend(WorkerId(worker), message.hello());
      if (begun.ok()) {
        session = std::move(*begun);
      } else {
        check_refusal(begun.status());
      }
    } else if (session != nullptr) {
      const Status status = session->receive(message);
      if (absl::IsInvalidArgument(status)) check_refusal(status);
      RUBATO_CHECK(status.ok() || absl::IsInvalidArgument(status) || absl::IsCancelled(status),
                   status.message());
      if (!status.ok()) session = nullptr;
    }
  }
  sessions.clear();
  check_run(rig);
  return 0;
}
