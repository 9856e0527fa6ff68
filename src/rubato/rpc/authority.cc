#include "rubato/rpc/authority.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "rubato/rpc/crypto.h"
#include "rubato/rpc/key_file.h"
#include "rubato/rpc/patient_lock.h"

namespace rubato {
namespace {

constexpr std::string_view kWorkerPrefix = "worker-";
constexpr int64_t kLongestWorkerCertificateS = 90 * kDayS;

/// For clocks that are late; a tenth of short lives, so that shares of a life mean something.
int64_t begin_of(int64_t now_unix_s, int64_t validity_s) {
  return now_unix_s - std::min<int64_t>(3600, validity_s / 10);
}

StatusOr<Certificate> load_certificate(FileSystem& files, const std::string& path,
                                       const PrivateKey& key, int64_t now_unix_s) {
  RUBATO_ASSIGN_OR_RETURN(const std::string pem, files.read_file(path));
  auto certificate = Certificate::parse(path, pem);
  if (!certificate.ok()) return absl::DataLossError(certificate.status().message());
  Status status =
      certificate->check(path, *certificate, CertificateRole::kAuthority, "", now_unix_s);
  if (status.ok() && !certificate->is_of(key.public_key()))
    status = absl::FailedPreconditionError(
        cat("[authority] ", path, ": got a certificate of another key, want the one beside it"));
  if (!status.ok()) return absl::FailedPreconditionError(status.message());
  return certificate;
}

StatusOr<Certificate> make_certificate(FileSystem& files, const std::string& path,
                                       const PrivateKey& key, int64_t now_unix_s) {
  constexpr int kRunIdBytes = 8;
  RUBATO_ASSIGN_OR_RETURN(const std::string run_id, random_bytes(kRunIdBytes));
  const CertificateTerms terms = {
      .role = CertificateRole::kAuthority,
      .common_name = "rubato authority",
      .organization = to_hex(run_id),
      .not_before_unix_s = begin_of(now_unix_s, kAuthorityCertificateS),
      .not_after_unix_s = now_unix_s + kAuthorityCertificateS,
  };
  RUBATO_ASSIGN_OR_RETURN(Certificate certificate, Certificate::self_signed(terms, key));
  RUBATO_RETURN_IF_ERROR(files.replace_file(path, certificate.pem()));
  return certificate;
}

/// N of `worker-N` in its one spelling.
std::optional<WorkerId> parse_worker_name(std::string_view name) {
  if (!name.starts_with(kWorkerPrefix)) return std::nullopt;
  name.remove_prefix(kWorkerPrefix.size());
  int64_t id = 0;
  const auto [end, error] = std::from_chars(name.begin(), name.end(), id);
  if (error != std::errc() || end != name.end() || id < 0 || cat(id) != name) return std::nullopt;
  return WorkerId(id);
}

}  // namespace

std::string pki_directory(const std::string& run_dir) { return join_path(run_dir, "pki"); }

StatusOr<Authority> Authority::create_or_load(FileSystem& files, const std::string& run_dir,
                                              int64_t now_unix_s) {
  const std::string directory = pki_directory(run_dir);
  const std::string key_path = join_path(directory, "authority.key");
  const std::string certificate_path = join_path(directory, "authority.crt");
  RUBATO_RETURN_IF_ERROR(files.make_directories(directory));
  RUBATO_ASSIGN_OR_RETURN(const DirectoryLock lock, lock_patiently(files, directory));

  const bool has_certificate = files.exists(certificate_path);
  if (has_certificate && !files.exists(key_path))
    return absl::FailedPreconditionError(
        cat("[authority] ", key_path, ": got no key, want the one of ", certificate_path,
            "; restore it, or remove ", directory, " and invite all workers again"));
  // The key comes first: what a crash leaves is a key that has signed nothing.
  RUBATO_ASSIGN_OR_RETURN(PrivateKey key, load_or_make_key(files, key_path));
  RUBATO_ASSIGN_OR_RETURN(Certificate certificate,
                          has_certificate
                              ? load_certificate(files, certificate_path, key, now_unix_s)
                              : make_certificate(files, certificate_path, key, now_unix_s));
  return Authority(std::move(key), std::move(certificate));
}

StatusOr<ServerIdentity> Authority::issue_server(const std::vector<std::string>& hosts,
                                                 int64_t now_unix_s) const {
  std::vector<std::string> names = {std::string(kCoordinatorName), "localhost", "127.0.0.1", "::1"};
  for (const std::string& host : hosts) {
    if (std::ranges::find(names, host) == names.end()) names.push_back(host);
  }
  const CertificateTerms terms = {
      .role = CertificateRole::kServer,
      .common_name = std::string(kCoordinatorName),
      .organization = run_id(),
      .hosts = names,
      .not_before_unix_s = begin_of(now_unix_s, kServerCertificateS),
      .not_after_unix_s =
          std::min(now_unix_s + kServerCertificateS, certificate_.not_after_unix_s()),
  };
  RUBATO_ASSIGN_OR_RETURN(const PrivateKey key, PrivateKey::make());
  RUBATO_ASSIGN_OR_RETURN(const Certificate certificate,
                          Certificate::issue(terms, key.public_key(), certificate_, key_));
  RUBATO_ASSIGN_OR_RETURN(Secret key_pem, key.pem());
  return ServerIdentity{std::move(key_pem), cat(certificate.pem(), certificate_.pem()),
                        certificate.not_after_unix_s()};
}

StatusOr<WorkerCertificate> Authority::sign_worker(std::string_view request_pem, WorkerId worker,
                                                   int64_t now_unix_s, int64_t validity_s) const {
  if (validity_s < 1 || validity_s > kLongestWorkerCertificateS)
    return absl::InvalidArgumentError(cat("[authority] got certificates of ", validity_s,
                                          " s, want 1 .. ", kLongestWorkerCertificateS));
  RUBATO_ASSIGN_OR_RETURN(const PublicKey key, parse_request("request", request_pem));
  const CertificateTerms terms = {
      .role = CertificateRole::kClient,
      .common_name = cat(kWorkerPrefix, worker),
      .organization = run_id(),
      .not_before_unix_s = begin_of(now_unix_s, validity_s),
      .not_after_unix_s = std::min(now_unix_s + validity_s, certificate_.not_after_unix_s()),
  };
  RUBATO_ASSIGN_OR_RETURN(const Certificate certificate,
                          Certificate::issue(terms, key, certificate_, key_));
  return WorkerCertificate{certificate.pem(), certificate.serial(), certificate.not_after_unix_s()};
}

StatusOr<CertifiedWorker> Authority::worker_of_certificate(std::string_view pem,
                                                           int64_t now_unix_s) const {
  constexpr std::string_view kWho = "worker's certificate";
  RUBATO_ASSIGN_OR_RETURN(const Certificate certificate, Certificate::parse(kWho, pem));
  RUBATO_RETURN_IF_ERROR(
      certificate.check(kWho, certificate_, CertificateRole::kClient, "", now_unix_s));
  const std::optional<WorkerId> worker = parse_worker_name(certificate.common_name());
  if (!worker.has_value() || certificate.organization() != run_id())
    return absl::PermissionDeniedError(
        cat("[authority] ", kWho, ": got one of nobody here, want a worker of run ", run_id()));
  return CertifiedWorker{*worker, certificate.serial(), certificate.not_after_unix_s()};
}

}  // namespace rubato
