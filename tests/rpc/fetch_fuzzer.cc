// libFuzzer over FetchRequest: what comes is the rest of a version or a file from the offset on, in
// chunks that pass a worker's check; anything else is refused in one line.
#include "tests/rpc/fuzz_frames.h"
#include "tests/rpc/peer_rig.h"

namespace rubato {
namespace {

PeerRig* make_rig() {
  PeerRigOptions options;
  options.reception.data_directory = "/data";
  options.reception.files.emplace_back().set_name("a.tokens");
  auto* rig = new PeerRig(options);
  RUBATO_CHECK(rig->files().make_directories("/data").ok() &&
                   rig->files().replace_file("/data/a.tokens", "0123456789").ok(),
               "files");
  rig->attend(0);  // version 0 is published
  return rig;
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  static PeerRig* const rig = make_rig();
  v1::FetchRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;
  auto fetch = rig->reception().fetch(WorkerId(0), request);
  if (!fetch.ok()) {
    check_refusal(fetch.status());
    return 0;
  }
  const int64_t total = request.has_file() ? 10 : std::ssize(rig->initial()) * 4;
  RUBATO_CHECK(request.file().empty() || request.file() == "a.tokens", request.file());
  int64_t offset = request.offset();
  for (Chunk chunk; fetch->next(chunk); offset += chunk.bytes())
    RUBATO_CHECK(check_chunk(chunk, offset, total).ok(), "a chunk that no worker takes");
  RUBATO_CHECK(offset == total, "got ", offset, " of ", total);
  return 0;
}
