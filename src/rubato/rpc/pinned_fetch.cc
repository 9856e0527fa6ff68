#include "rubato/rpc/pinned_fetch.h"

#include <algorithm>
#include <vector>

#include "rubato/rpc/authority.h"
#include "rubato/rpc/tls_probe.h"
#include "rubato/rpc/x509.h"

namespace rubato {

StatusOr<std::string> fetch_pinned_authority(const Address& address, std::string_view fingerprint,
                                             int64_t timeout_ms, int64_t now_unix_s) {
  const std::string where = to_text(address);
  RUBATO_ASSIGN_OR_RETURN(const std::vector<std::string> chain, probe_tls(address, timeout_ms));
  std::vector<Certificate> certificates;
  for (const std::string& der : chain) {
    RUBATO_ASSIGN_OR_RETURN(Certificate certificate, Certificate::parse_der(where, der));
    certificates.push_back(std::move(certificate));
  }
  const auto authority = std::ranges::find(certificates, fingerprint, &Certificate::fingerprint);
  if (authority == certificates.end())
    return absl::PermissionDeniedError(cat(
        "[join] ", where, ": got an authority of fingerprint ", certificates.back().fingerprint(),
        ", want ", fingerprint, "; this is another coordinator, or somebody between"));
  const Status holds = certificates.front().check(where, *authority, CertificateRole::kServer,
                                                  kCoordinatorName, now_unix_s);
  if (!holds.ok()) return Status(holds.code(), cat("[join] ", holds.message()));
  return authority->pem();
}

}  // namespace rubato
