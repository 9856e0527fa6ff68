// libFuzzer over admission.json: what reads is written again with the same values and reads as the
// same, and a coordinator works with it; errors name the file.
#include <string>

#include "tests/fuzz/fuzzing.h"
#include "tests/fuzz/json_values.h"
#include <nlohmann/json.hpp>

#include "rubato/rpc/admission.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

using nlohmann::json;

constexpr char kFile[] = "/run/admission.json";
constexpr int64_t kNow = 1'900'000'000;

void check_round_trip(std::string_view text, const AdmissionTable& table) {
  const std::string encoded = encode_admission(table);
  check_values_kept(json::parse(text), json::parse(encoded));
  const auto again = parse_admission("again", encoded);
  RUBATO_CHECK(again.ok(), "a table that was written does not read: ", again.status().message());
  RUBATO_CHECK(*again == table, "the table changed");
}

/// Changes of every kind, on whatever the file holds.
void work_with(Admission& admission) {
  const auto before = admission.list();
  const std::string key(64, 'e');
  RUBATO_CHECK(!admission.enrol(std::string(32, 'a'), key, kNow).ok(), "an unknown secret");
  for (const AdmittedWorker& worker : before->workers) {
    for (const IssuedSerial& issued : worker.certificates) {
      RUBATO_CHECK(admission.is_allowed(worker.id, issued.serial) == !worker.revoked, worker.id);
    }
    RUBATO_CHECK(admission.revoke(worker.id).ok(), worker.id);
    RUBATO_CHECK(!admission.worker_of_key(worker.key_digest).ok(), worker.id);
  }
  if (before->next_invitation == INT64_MAX || before->next_worker == INT64_MAX) return;
  const auto invited = admission.invite(kNow, 60, "fuzz");
  RUBATO_CHECK(invited.ok(), invited.status().message());
  const auto worker = admission.enrol(invited->secret.reveal(), key, kNow);
  const bool known = before->find_key(key) != nullptr;
  RUBATO_CHECK(worker.ok() != known, "a new worker");
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  const std::string_view text = as_text(data, size);
  MemoryFileSystem files;
  RUBATO_CHECK(files.make_directories("/run").ok() && files.replace_file(kFile, text).ok(),
               "files");
  const auto table = parse_admission(kFile, text);
  const auto admission = Admission::open(files, "/run");
  RUBATO_CHECK(table.ok() == admission.ok(), "two readers disagree");
  if (!table.ok()) {
    check_error(table.status(), kFile);
    return 0;
  }
  check_round_trip(text, *table);
  work_with(**admission);
  return 0;
}
