#include "tests/rpc/given_pki.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

namespace rubato {
namespace {

std::string pem_of(const Key& key, bool is_old) {
  BIO* bio = BIO_new(BIO_s_mem());
  const int written =
      is_old ? PEM_write_bio_PrivateKey_traditional(bio, key.get(), nullptr, nullptr, 0, nullptr,
                                                    nullptr)
             : PEM_write_bio_PKCS8PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  RUBATO_CHECK(written == 1, "no key");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string pem(data, static_cast<size_t>(size));
  BIO_free(bio);
  return pem;
}

std::string key_of(GivenKey kind) {
  const bool is_old = kind == GivenKey::kOldEc || kind == GivenKey::kOldRsa;
  const bool is_rsa = kind == GivenKey::kRsa || kind == GivenKey::kOldRsa;
  return pem_of(is_rsa ? rsa_key(2048) : ec_key("P-256"), is_old);
}

}  // namespace

GivenPki::GivenPki(int64_t now_unix_s)
    : key_(make_key()),
      authority_(Certificate::self_signed({.role = CertificateRole::kAuthority,
                                           .common_name = "their authority",
                                           .organization = "they",
                                           .not_before_unix_s = now_unix_s - kDayS,
                                           .not_after_unix_s = now_unix_s + 900 * kDayS},
                                          key_)
                     .value()) {}

std::string GivenPki::certify(const PrivateKey& key, CertificateRole role, const std::string& name,
                              int64_t now_unix_s) const {
  CertificateTerms terms{.role = role,
                         .common_name = name,
                         .organization = "they",
                         .not_before_unix_s = now_unix_s - kDayS,
                         .not_after_unix_s = now_unix_s + 365 * kDayS};
  if (role == CertificateRole::kServer) terms.hosts = {"localhost", "127.0.0.1"};
  return Certificate::issue(terms, key.public_key(), authority_, key_).value().pem();
}

GivenPki::Issued GivenPki::issue(CertificateRole role, const std::string& name, int64_t now_unix_s,
                                 GivenKey kind) const {
  const std::string pem = key_of(kind);
  const PrivateKey key = PrivateKey::parse_foreign("test", pem).value();
  return {certify(key, role, name, now_unix_s), pem};
}

std::string GivenPki::renew(const Issued& issued, int64_t now_unix_s) const {
  const PrivateKey key = PrivateKey::parse_foreign("test", issued.key_pem).value();
  return certify(key, CertificateRole::kClient, "the next", now_unix_s);
}

}  // namespace rubato
