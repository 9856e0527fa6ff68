#include "rubato/rpc/worker_key.h"

#include <charconv>

#include "rubato/rpc/crypto.h"
#include "rubato/rpc/key_file.h"

namespace rubato {
namespace {

constexpr std::string_view kKeyFile = "worker.key";
constexpr std::string_view kCertificateFile = "worker.crt";
constexpr std::string_view kAuthorityFile = "authority.crt";
constexpr std::string_view kTokenFile = "worker.token";

WorkerCredentials credentials_of(const Certificate& certificate, const Certificate& authority) {
  return {.certificate = certificate.pem(),
          .authority = authority.pem(),
          .begins_unix_s = certificate.not_before_unix_s(),
          .expires_unix_s = certificate.not_after_unix_s()};
}

StatusOr<Certificate> read_certificate(FileSystem& files, const std::string& path) {
  RUBATO_ASSIGN_OR_RETURN(const std::string pem, files.read_file(path));
  auto certificate = Certificate::parse(path, pem);
  return certificate.ok() ? certificate : absl::DataLossError(certificate.status().message());
}

}  // namespace

int64_t WorkerCredentials::renewal_unix_s() const {
  return begins_unix_s + (expires_unix_s - begins_unix_s) / 3 * 2;
}

StatusOr<WorkerKey> WorkerKey::create_or_load(FileSystem& files, const std::string& directory) {
  RUBATO_RETURN_IF_ERROR(files.make_directories(directory));
  RUBATO_ASSIGN_OR_RETURN(PrivateKey key, load_or_make_key(files, join_path(directory, kKeyFile)));
  return WorkerKey(directory, std::move(key));
}

StatusOr<WorkerCredentials> WorkerKey::keep(FileSystem& files, std::string_view certificate_pem,
                                            std::string_view authority_pem,
                                            int64_t now_unix_s) const {
  RUBATO_ASSIGN_OR_RETURN(const Certificate certificate,
                          Certificate::parse("certificate from the coordinator", certificate_pem));
  RUBATO_ASSIGN_OR_RETURN(const Certificate authority,
                          Certificate::parse("authority of the coordinator", authority_pem));
  RUBATO_RETURN_IF_ERROR(certificate.check("certificate from the coordinator", authority,
                                           CertificateRole::kClient, "", now_unix_s));
  if (!certificate.is_of(key_.public_key()))
    return absl::PermissionDeniedError(cat(
        "[worker_key] got a certificate of another key, want one of ", directory_, "/", kKeyFile));
  RUBATO_RETURN_IF_ERROR(
      files.replace_file(join_path(directory_, kAuthorityFile), authority.pem()));
  RUBATO_RETURN_IF_ERROR(
      files.replace_file(join_path(directory_, kCertificateFile), certificate.pem()));
  return credentials_of(certificate, authority);
}

Status WorkerKey::keep_token(FileSystem& files, const WorkerToken& token) const {
  return files.replace_private_file(join_path(directory_, kTokenFile),
                                    cat(token.worker, " ", token.token.reveal(), "\n"));
}

StatusOr<std::optional<WorkerToken>> WorkerKey::token(FileSystem& files) const {
  const std::string path = join_path(directory_, kTokenFile);
  if (!files.exists(path)) return std::nullopt;
  RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(path));
  int64_t worker = -1;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, worker);
  const std::string_view rest(stop, static_cast<size_t>(end - stop));
  if (error != std::errc() || worker < 0 || !rest.starts_with(' ') || !rest.ends_with('\n') ||
      !is_join_secret(rest.substr(1, rest.size() - 2))) {
    return absl::DataLossError(cat("[worker_key] ", path,
                                   ": got no number and token, want what was kept there; remove it "
                                   "and join with a new string"));
  }
  return WorkerToken{worker, Secret(std::string(rest.substr(1, rest.size() - 2)))};
}

StatusOr<std::optional<WorkerCredentials>> WorkerKey::credentials(FileSystem& files) const {
  const std::string certificate_path = join_path(directory_, kCertificateFile);
  const std::string authority_path = join_path(directory_, kAuthorityFile);
  if (!files.exists(certificate_path) || !files.exists(authority_path)) return std::nullopt;
  RUBATO_ASSIGN_OR_RETURN(const Certificate certificate, read_certificate(files, certificate_path));
  RUBATO_ASSIGN_OR_RETURN(const Certificate authority, read_certificate(files, authority_path));
  // A crash can leave a new authority beside an old certificate.
  const Status signed_by = certificate.check(certificate_path, authority, CertificateRole::kClient,
                                             "", certificate.not_before_unix_s());
  if (!signed_by.ok() || !certificate.is_of(key_.public_key())) return std::nullopt;
  return credentials_of(certificate, authority);
}

}  // namespace rubato
