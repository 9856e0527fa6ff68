#include "rubato/rpc/given_identity.h"

namespace rubato {
namespace {

constexpr std::string_view kCertificateFlag = "--tls-cert", kKeyFlag = "--tls-key",
                           kAuthorityFlag = "--tls-ca";

std::string named(std::string_view flag, const std::string& path) { return cat(flag, " ", path); }

Status refused(const std::string& who, std::string_view got, std::string_view want) {
  return absl::FailedPreconditionError(cat("[tls] ", who, ": got ", got, ", want ", want));
}

StatusOr<std::string> read(FileSystem& files, std::string_view flag, const std::string& path) {
  StatusOr<std::string> text = files.read_file(path);
  if (text.ok()) return text;
  return Status(text.status().code(), cat("[tls] ", flag, " ", text.status().message()));
}

Status check_time(const std::string& who, const Certificate& certificate, int64_t now_unix_s) {
  const int64_t begin = certificate.not_before_unix_s(), end = certificate.not_after_unix_s();
  if (now_unix_s >= begin && now_unix_s <= end) return absl::OkStatus();
  return refused(who,
                 cat("a certificate that is ", now_unix_s > end ? "expired" : "not valid yet",
                     ", from ", begin, " to ", end, " (unix seconds)"),
                 cat("one valid at ", now_unix_s, "; is the clock of this machine right?"));
}

StatusOr<std::vector<Certificate>> read_certificates(FileSystem& files, std::string_view flag,
                                                     const std::string& path) {
  RUBATO_ASSIGN_OR_RETURN(const std::string pem, read(files, flag, path));
  return parse_certificates(named(flag, path), pem);
}

std::string chain_of(const std::vector<Certificate>& certificates) {
  std::string pem;
  for (const Certificate& certificate : certificates) pem += certificate.pem();
  return pem;
}

StatusOr<PrivateKey> read_key(FileSystem& files, const std::string& path) {
  RUBATO_ASSIGN_OR_RETURN(const std::string pem, read(files, kKeyFlag, path));
  RUBATO_ASSIGN_OR_RETURN(const FileAccess access, files.file_access(path));
  if (access == FileAccess::kEveryone)
    return refused(named(kKeyFlag, path), "a private key that everybody on this machine may read",
                   cat("it private; chmod 600 ", path));
  return PrivateKey::parse_foreign(named(kKeyFlag, path), pem);
}

}  // namespace

Status check_given_files(const GivenFiles& named) {
  const int count = (named.certificate.empty() ? 0 : 1) + (named.key.empty() ? 0 : 1) +
                    (named.authority.empty() ? 0 : 1);
  if (count == 0 || count == 3) return absl::OkStatus();
  return absl::InvalidArgumentError(cat("[tls] got ", count, " of ", kCertificateFlag, ", ",
                                        kKeyFlag, " and ", kAuthorityFlag,
                                        ", want all three or none"));
}

StatusOr<GivenIdentity> load_given_identity(FileSystem& files, const GivenFiles& from,
                                            CertificateRole role, int64_t now_unix_s) {
  RUBATO_ASSIGN_OR_RETURN(const std::vector<Certificate> chain,
                          read_certificates(files, kCertificateFlag, from.certificate));
  RUBATO_ASSIGN_OR_RETURN(const PrivateKey key, read_key(files, from.key));
  RUBATO_ASSIGN_OR_RETURN(const std::vector<Certificate> authorities,
                          read_certificates(files, kAuthorityFlag, from.authority));
  const Certificate& own = chain.front();
  const std::string who = named(kCertificateFlag, from.certificate);
  RUBATO_RETURN_IF_ERROR(check_time(who, own, now_unix_s));
  if (!own.is_for(role))
    return refused(who, "a certificate that is not for this use",
                   role == CertificateRole::kServer ? "a TLS server's" : "a TLS client's");
  if (!own.is_of(key.public_key()))
    return refused(named(kKeyFlag, from.key), "a key that does not fit the certificate",
                   cat("that of ", from.certificate));
  // Of a bundle some may have ended; one has to be good.
  Status usable = absl::OkStatus();
  for (const Certificate& authority : authorities) {
    const std::string name = named(kAuthorityFlag, from.authority);
    usable = check_time(name, authority, now_unix_s);
    if (usable.ok() && !authority.is_for(CertificateRole::kAuthority))
      usable = refused(name, "a certificate that may not sign others", "an authority's");
    if (usable.ok()) break;
  }
  RUBATO_RETURN_IF_ERROR(usable);
  GivenIdentity identity{.certificate_pem = chain_of(chain),
                         .key_pem = {},
                         .authority_pem = chain_of(authorities),
                         .key_digest = key.public_key().digest(),
                         .begins_unix_s = own.not_before_unix_s(),
                         .expires_unix_s = own.not_after_unix_s()};
  RUBATO_ASSIGN_OR_RETURN(identity.key_pem, key.pem());
  return identity;
}

}  // namespace rubato
