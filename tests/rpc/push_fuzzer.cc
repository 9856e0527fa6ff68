// libFuzzer over uploads: headers and chunks of two workers' tasks, in any order and number. Theta
// moves once for every delta that is answered as applied for the first time, never otherwise, and
// the run replays to the same bits.
//   frame kind: bit 0 the worker; bits 1-2: 0 header, 1 chunk, 2 the end, 3 what the session says
//   next; bit 7: offset, checksum, digest and names of a message are put right
#include <array>

#include "tests/rpc/fuzz_frames.h"
#include "tests/rpc/peer_rig.h"

#include "rubato/base/digest.h"
#include "rubato/rpc/replay.h"

namespace rubato {
namespace {

constexpr int64_t kParams = 8;

class Uploads {
 public:
  Uploads() : rig_({.dim = kParams, .local_steps = 2, .budget_steps = 12}) {
    for (int64_t worker = 0; worker < 2; ++worker)
      peers_[static_cast<size_t>(worker)].attendee = rig_.attend(worker);
  }

  void take(const Frames& frames) {
    Peer& peer = peers_[frames.kind() & 1];
    const bool right = (frames.kind() & 0x80) != 0;
    switch (frames.kind() >> 1 & 3) {
      case 0:
        return begin(frames, peer, right);
      case 1:
        return add(frames, peer, right);
      case 2:
        return end(peer);
      default:
        return next_task(peer);
    }
  }

  void check_run() {
    for (Peer& peer : peers_) peer.push.reset();
    RUBATO_CHECK(rig_.stop().ok(), "the driver failed");
    RUBATO_CHECK(rig_.cluster().counts().version == std::ssize(applied_), "versions");
    RUBATO_CHECK(!applied_.empty() || rig_.theta_is_initial(), "theta moved");
    const auto report = replay(rig_.files(), rig_.cluster().config(), rig_.workload().layout(),
                               ReplayFrom::kOldest, nullptr);
    RUBATO_CHECK(report.ok(), report.status().message());
    RUBATO_CHECK(report->state_digest == rig_.cluster().state_digest(), "another state");
    RUBATO_CHECK(report->ledger.balanced(), "the ledger");
  }

 private:
  struct Peer {
    PeerRig::Attendee attendee;
    std::unique_ptr<Push> push;
    int64_t task = -1;
    int64_t offset = 0;
  };

  // Eight floats of the frame's bytes, again and again.
  std::string encoding(std::string_view seed) const {
    std::string bytes(kParams * 4, '\0');
    for (size_t i = 0; i < bytes.size() && !seed.empty(); ++i) bytes[i] = seed[i % seed.size()];
    return bytes;
  }

  void begin(const Frames& frames, Peer& peer, bool right) {
    v1::DeltaHeader header;
    if (right) {
      // The bytes are the delta's; it is complete with its next chunk.
      bytes_ = encoding(frames.bytes());
      header = rig_.delta(peer.attendee.task).header;
      header.set_digest(digest_of(std::string_view(bytes_)));
    } else if (!frames.parse(header)) {
      return;
    }
    auto push = rig_.reception().push(worker_of(peer), header);
    if (!push.ok()) return check_refusal(push.status());
    peer.push = std::move(*push);
    peer.task = header.task();
    peer.offset = 0;
  }

  void add(const Frames& frames, Peer& peer, bool right) {
    if (!peer.push || peer.push->answer()) return;
    v1::Chunk message;
    Chunk chunk;
    const std::string whole = bytes_.empty() ? encoding("") : bytes_;
    if (right) {
      const int64_t size = 4 * (1 + std::ssize(frames.bytes()) % kParams);
      chunk = PeerRig::chunk_of(whole, std::min(peer.offset, kParams * 4), size);
    } else if (frames.parse(message)) {
      chunk = chunk_from(message);
    } else {
      return;
    }
    const Status status = peer.push->add(chunk);
    if (!status.ok()) {
      check_refusal(status);
      peer.push.reset();
      return;
    }
    peer.offset += chunk.bytes();
  }

  void end(Peer& peer) {
    if (!peer.push) return;
    const auto reply = std::exchange(peer.push, nullptr)->finish();
    if (!reply.ok()) return check_refusal(reply.status());
    RUBATO_CHECK(verdict_from_proto(*reply).ok(), "no verdict");
    if (reply->verdict() == v1::PushReply::VERDICT_APPLIED) applied_.insert(peer.task);
  }

  // What came meanwhile; there may be nothing.
  void next_task(Peer& peer) {
    for (const Task& task : rig_.cluster().tasks_in_flight()) {
      if (task.worker == worker_of(peer)) peer.attendee.task = to_proto(task, kParams);
    }
  }

  WorkerId worker_of(const Peer& peer) const { return WorkerId(&peer - peers_.data()); }

  PeerRig rig_;
  std::array<Peer, 2> peers_;
  std::string bytes_;
  std::set<int64_t> applied_;
};

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  Uploads uploads;
  for (Frames frames(as_text(data, size)); frames.next();) uploads.take(frames);
  uploads.check_run();
  return 0;
}
