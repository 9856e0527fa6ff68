// libFuzzer over what peers and files hand this room as PEM: the first byte says whether the rest
// is a signing request, a certificate or a private key, and whether it is the text or the DER in
// it. What reads is written again and reads as the same; nothing passes for a worker here but what
// the authority signed. Errors are one line that names what was read.
#include <string>

#include "tests/fuzz/fuzzing.h"

#include "rubato/rpc/authority.h"
#include "rubato/rpc/pem.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

constexpr int64_t kNow = 1'900'000'000;

const Authority& authority() {
  static const Authority kAuthority = [] {
    MemoryFileSystem files;
    return Authority::create_or_load(files, "/run", kNow).value();
  }();
  return kAuthority;
}

void check_request(const std::string& pem) {
  const auto key = parse_request("input", pem);
  const auto made = authority().sign_worker(pem, WorkerId(3), kNow);
  RUBATO_CHECK(key.ok() == made.ok(), "two readers disagree");
  if (!key.ok()) return check_error(key.status(), "[x509] input: ");
  const auto who = authority().worker_of_certificate(made->pem, kNow);
  RUBATO_CHECK(who.ok() && who->worker == WorkerId(3), "a worker that was signed is none");
  RUBATO_CHECK(Certificate::parse("made", made->pem)->is_of(*key), "another key");
}

void check_certificate(const std::string& pem) {
  const auto who = authority().worker_of_certificate(pem, kNow);
  RUBATO_CHECK(!who.ok(), "a certificate that nobody signed");
  check_error(who.status(), "worker's certificate");
  const auto certificate = Certificate::parse("input", pem);
  if (!certificate.ok()) return check_error(certificate.status(), "[x509] input: ");
  const auto again = Certificate::parse("again", certificate->pem());
  RUBATO_CHECK(again.ok(), "a certificate that was written does not read");
  RUBATO_CHECK(again->fingerprint() == certificate->fingerprint(), "the certificate changed");
  RUBATO_CHECK(again->serial() == certificate->serial(), "its serial changed");
  RUBATO_CHECK(again->common_name() == certificate->common_name(), "its name changed");
  const Status itself = certificate->check("input", *certificate, CertificateRole::kAuthority, "",
                                           certificate->not_before_unix_s());
  if (!itself.ok()) check_error(itself, "[x509] input: ");
}

void check_key(const std::string& pem) {
  const auto key = PrivateKey::parse("input", pem);
  if (!key.ok()) return check_error(key.status(), "[x509] input: ");
  const auto written = key->pem();
  if (!written.ok()) return check_error(written.status(), "[x509]");
  const auto again = PrivateKey::parse("again", written->reveal());
  RUBATO_CHECK(again.ok(), "a key that was written does not read");
  RUBATO_CHECK(again->public_key().digest() == key->public_key().digest(), "the key changed");
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  if (size < 2) return 0;
  const std::string rest(as_text(data + 1, size - 1));
  const bool is_der = data[0] % 6 >= 3;
  const auto pem = [&](std::string_view label) { return is_der ? der_to_pem(label, rest) : rest; };
  switch (data[0] % 3) {
    case 0:
      check_request(pem("CERTIFICATE REQUEST"));
      break;
    case 1:
      check_certificate(pem("CERTIFICATE"));
      break;
    default:
      check_key(pem("PRIVATE KEY"));
  }
  return 0;
}
