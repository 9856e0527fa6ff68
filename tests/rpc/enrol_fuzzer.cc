// libFuzzer over EnrolRequest and RenewRequest: nobody gets in without a secret that was drawn, or
// a key that is known, and a request that some key signed.
//   frame kind: bit 0: a renewal; bit 7: the secret is put right
#include "tests/rpc/fuzz_frames.h"

#include "rubato/rpc/gatekeeper.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

constexpr int64_t kNow = 1'900'000'000;

void check_reply(const Gatekeeper& gate, const StatusOr<v1::EnrolReply>& reply) {
  if (!reply.ok()) return check_refusal(reply.status());
  const auto worker = gate.identify({.certificate_pem = reply->certificate_pem()});
  RUBATO_CHECK(worker.ok() && worker->value() == reply->worker(), "a certificate of no use");
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  static MemoryFileSystem pki;
  static const Authority authority = Authority::create_or_load(pki, "/run", kNow).value();
  MemoryFileSystem files;
  const auto admission = Admission::open(files, "/run").value();
  const std::string secret = admission->invite(kNow, 3600, "fuzz").value().secret.reveal();
  Gatekeeper gate(authority, *admission, true, [] { return kNow; });
  int64_t enrolled = 0;
  for (Frames frames(as_text(data, size)); frames.next();) {
    v1::EnrolRequest enrol;
    v1::RenewRequest renew;
    if ((frames.kind() & 1) == 0 && frames.parse(enrol)) {
      const bool right = (frames.kind() & 0x80) != 0;
      if (right) enrol.set_secret(secret);
      const auto reply = gate.enrol(enrol);
      check_reply(gate, reply);
      RUBATO_CHECK(!reply.ok() || right, "in without a secret");
      enrolled += reply.ok();
    } else if ((frames.kind() & 1) == 1 && frames.parse(renew)) {
      const auto reply = gate.renew(renew);
      check_reply(gate, reply);
      RUBATO_CHECK(!reply.ok() || enrolled > 0, "a certificate of nobody");
    }
  }
  RUBATO_CHECK(admission->list()->workers.size() <= 1, "one secret, two workers");
  return 0;
}
