// Certificates of x509.h: how they are made, read and checked.
#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "rubato/base/address.h"
#include "rubato/base/one_line.h"
#include "rubato/rpc/crypto.h"
#include "rubato/rpc/pem.h"
#include "rubato/rpc/x509.h"

namespace rubato {
namespace {

template <class T, void (*free)(T*)>
struct Freer {
  void operator()(T* object) const { free(object); }
};
template <class T, void (*free)(T*)>
using Owned = std::unique_ptr<T, Freer<T, free>>;

constexpr char kLabel[] = "CERTIFICATE";
constexpr int kSerialBytes = 16;

std::shared_ptr<X509> owned(X509* x509) { return {x509, X509_free}; }
std::shared_ptr<EVP_PKEY> owned(EVP_PKEY* key) { return {key, EVP_PKEY_free}; }

std::string_view as_text(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<size_t>(ASN1_STRING_length(string))};
}

std::string der_of(const X509* x509) {
  unsigned char* bytes = nullptr;
  const int size = i2d_X509(x509, &bytes);
  RUBATO_CHECK(size > 0, "DER in memory: ", take_openssl_error());
  std::string der(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  OPENSSL_free(bytes);
  return der;
}

int64_t to_unix_s(const ASN1_TIME* time) {
  tm parts{};
  // What does not read is long over.
  return ASN1_TIME_to_tm(time, &parts) == 1 ? int64_t{timegm(&parts)} : 0;
}

/// The subject's one entry of a kind.
std::string subject_entry(const X509* x509, int kind) {
  const X509_NAME* subject = X509_get_subject_name(x509);
  const int index = X509_NAME_get_index_by_NID(subject, kind, -1);
  if (index < 0 || X509_NAME_get_index_by_NID(subject, kind, index) >= 0) return "";
  unsigned char* utf8 = nullptr;
  const int size =
      ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
  if (size < 0) return "";
  std::string text(reinterpret_cast<const char*>(utf8), static_cast<size_t>(size));
  OPENSSL_free(utf8);
  return text;
}

// The pieces of a certificate being made; each says whether OpenSSL took it.

bool set_serial(X509* x509, std::string_view bytes) {
  const Owned<BIGNUM, BN_free> number(
      BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()),
                static_cast<int>(bytes.size()), nullptr));
  return number != nullptr &&
         BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(x509)) != nullptr;
}

bool set_times(X509* x509, const CertificateTerms& terms) {
  return ASN1_TIME_set(X509_getm_notBefore(x509), terms.not_before_unix_s) != nullptr &&
         ASN1_TIME_set(X509_getm_notAfter(x509), terms.not_after_unix_s) != nullptr;
}

bool add_name_entry(X509* x509, const char* field, const std::string& text) {
  return X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), field, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(text.c_str()),
                                    static_cast<int>(text.size()), -1, 0) == 1;
}

bool add_extension(X509* x509, X509* authority, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, authority, x509, nullptr, nullptr, 0);
  const Owned<X509_EXTENSION, X509_EXTENSION_free> extension(
      X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  return extension != nullptr && X509_add_ext(x509, extension.get(), -1) == 1;
}

/// As objects, not as OpenSSL's text, in which a host could say more than its name.
bool add_hosts(X509* x509, const std::vector<std::string>& hosts) {
  if (hosts.empty()) return true;
  const Owned<GENERAL_NAMES, GENERAL_NAMES_free> names(GENERAL_NAMES_new());
  for (const std::string& host : hosts) {
    Owned<GENERAL_NAME, GENERAL_NAME_free> name(GENERAL_NAME_new());
    ASN1_STRING* value = a2i_IPADDRESS(host.c_str());
    const int kind = value != nullptr ? GEN_IPADD : GEN_DNS;
    if (value == nullptr) {
      take_openssl_error();
      value = ASN1_IA5STRING_new();
      ASN1_STRING_set(value, host.data(), static_cast<int>(host.size()));
    }
    GENERAL_NAME_set0_value(name.get(), kind, value);
    if (sk_GENERAL_NAME_push(names.get(), name.get()) <= 0) return false;
    name.release();
  }
  return X509_add1_ext_i2d(x509, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1;
}

bool add_extensions(X509* x509, X509* authority, const CertificateTerms& terms) {
  const auto add = [&](int kind, const char* value) {
    return add_extension(x509, authority, kind, value);
  };
  const bool is_authority = terms.role == CertificateRole::kAuthority;
  const bool is_server = terms.role == CertificateRole::kServer;
  return add(NID_basic_constraints,
             is_authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
         add(NID_key_usage, is_authority ? "critical,keyCertSign" : "critical,digitalSignature") &&
         (is_authority || add(NID_ext_key_usage, is_server ? "serverAuth" : "clientAuth")) &&
         add(NID_subject_key_identifier, "hash") &&
         add(NID_authority_key_identifier, "keyid:always") && add_hosts(x509, terms.hosts);
}

}  // namespace

StatusOr<Certificate> Certificate::parse(std::string_view who, std::string_view pem) {
  RUBATO_ASSIGN_OR_RETURN(const std::string der, pem_to_der(who, kLabel, pem));
  return parse_der(who, der);
}

StatusOr<std::vector<Certificate>> parse_certificates(std::string_view who, std::string_view pem) {
  RUBATO_ASSIGN_OR_RETURN(const std::vector<PemBlock> blocks, pem_blocks(who, pem));
  std::vector<Certificate> certificates;
  for (const PemBlock& block : blocks) {
    if (block.label != kLabel || block.is_encrypted)
      return absl::InvalidArgumentError(
          cat("[x509] ", who, ": got a block of another kind, want PEM blocks ", kLabel));
    RUBATO_ASSIGN_OR_RETURN(Certificate certificate, Certificate::parse_der(who, block.der));
    certificates.push_back(std::move(certificate));
  }
  return certificates;
}

StatusOr<Certificate> Certificate::parse_der(std::string_view who, std::string_view der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const auto* const end = at + der.size();
  const auto x509 = owned(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (x509 == nullptr || at != end) {
    const std::string error = x509 == nullptr ? take_openssl_error() : "more bytes behind it";
    return absl::InvalidArgumentError(
        cat("[x509] ", who, ": got bytes that do not read (", error, "), want a certificate"));
  }
  return Certificate(x509);
}

StatusOr<Certificate> Certificate::sign(const CertificateTerms& terms, EVP_PKEY* subject_key,
                                        X509* authority, EVP_PKEY* authority_key) {
  for (const std::string& host : terms.hosts) {
    if (!is_host(host))
      return absl::InvalidArgumentError(
          cat("[x509] got host ", shortened(one_line(host)), ", want a name or an address"));
  }
  RUBATO_ASSIGN_OR_RETURN(const std::string serial, random_bytes(kSerialBytes));
  const auto x509 = owned(X509_new());
  X509* const made = x509.get();
  X509* const issuer = authority != nullptr ? authority : made;
  const bool done =
      made != nullptr && X509_set_version(made, X509_VERSION_3) == 1 && set_serial(made, serial) &&
      set_times(made, terms) && add_name_entry(made, "O", terms.organization) &&
      add_name_entry(made, "CN", terms.common_name) &&
      X509_set_issuer_name(made, X509_get_subject_name(issuer)) == 1 &&
      X509_set_pubkey(made, subject_key) == 1 && add_extensions(made, issuer, terms) &&
      X509_sign(made, authority_key, EVP_sha256()) > 0;
  if (!done)
    return absl::InternalError(
        cat("[x509] got ", take_openssl_error(), ", want a certificate of ", terms.common_name));
  // Read back, as everybody else will see it.
  return parse_der(terms.common_name, der_of(made));
}

StatusOr<Certificate> Certificate::self_signed(const CertificateTerms& terms,
                                               const PrivateKey& key) {
  return sign(terms, key.key_.get(), nullptr, key.key_.get());
}

StatusOr<Certificate> Certificate::issue(const CertificateTerms& terms,
                                         const PublicKey& subject_key, const Certificate& authority,
                                         const PrivateKey& authority_key) {
  return sign(terms, subject_key.key_.get(), authority.x509_.get(), authority_key.key_.get());
}

std::string Certificate::pem() const { return der_to_pem(kLabel, der_of(x509_.get())); }

std::string Certificate::fingerprint() const { return to_hex(sha256(der_of(x509_.get()))); }

std::string Certificate::serial() const {
  return to_hex(as_text(X509_get0_serialNumber(x509_.get())));
}

std::string Certificate::common_name() const { return subject_entry(x509_.get(), NID_commonName); }

std::string Certificate::organization() const {
  return subject_entry(x509_.get(), NID_organizationName);
}

int64_t Certificate::not_before_unix_s() const {
  return to_unix_s(X509_get0_notBefore(x509_.get()));
}

int64_t Certificate::not_after_unix_s() const { return to_unix_s(X509_get0_notAfter(x509_.get())); }

bool Certificate::is_of(const PublicKey& key) const {
  const EVP_PKEY* own = X509_get0_pubkey(x509_.get());
  return own != nullptr && EVP_PKEY_eq(own, key.key_.get()) == 1;
}

bool Certificate::is_for(CertificateRole role) const {
  if (role == CertificateRole::kAuthority) return X509_check_ca(x509_.get()) != 0;
  const int purpose =
      role == CertificateRole::kServer ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT;
  return X509_check_purpose(x509_.get(), purpose, 0) == 1;
}

StatusOr<PublicKey> Certificate::public_key() const {
  const auto key = owned(X509_get_pubkey(x509_.get()));
  if (key != nullptr) return PublicKey(key);
  return absl::PermissionDeniedError(cat("[x509] got a certificate of a key that does not read (",
                                         take_openssl_error(), "), want one that does"));
}

Status Certificate::check(std::string_view who, const Certificate& authority, CertificateRole role,
                          std::string_view host, int64_t now_unix_s) const {
  const auto refused = [&](std::string_view got, std::string_view want) {
    return absl::PermissionDeniedError(cat("[x509] ", who, ": got ", got, ", want ", want));
  };
  const bool want_authority = role == CertificateRole::kAuthority;
  if ((X509_check_ca(x509_.get()) != 0) != want_authority)
    return refused(
        want_authority ? "a certificate that may not sign" : "an authority's certificate",
        want_authority ? "an authority's" : "one of a server or worker");
  const Owned<X509_STORE, X509_STORE_free> store(X509_STORE_new());
  const Owned<X509_STORE_CTX, X509_STORE_CTX_free> context(X509_STORE_CTX_new());
  if (X509_STORE_add_cert(store.get(), authority.x509_.get()) != 1 ||
      X509_STORE_CTX_init(context.get(), store.get(), x509_.get(), nullptr) != 1)
    return absl::InternalError(cat("[x509] got ", take_openssl_error(), ", want to check ", who));
  X509_VERIFY_PARAM* terms = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(terms, now_unix_s);
  X509_VERIFY_PARAM_set_purpose(terms, want_authority ? X509_PURPOSE_ANY
                                       : role == CertificateRole::kServer
                                           ? X509_PURPOSE_SSL_SERVER
                                           : X509_PURPOSE_SSL_CLIENT);
  // Otherwise one that is trusted already is taken without a look at its own signature.
  if (want_authority) X509_VERIFY_PARAM_set_flags(terms, X509_V_FLAG_CHECK_SS_SIGNATURE);
  if (!host.empty()) X509_VERIFY_PARAM_set1_host(terms, host.data(), host.size());
  if (X509_verify_cert(context.get()) == 1) return absl::OkStatus();
  take_openssl_error();
  const int error = X509_STORE_CTX_get_error(context.get());
  if (error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID) {
    const X509* const untimely = X509_STORE_CTX_get_current_cert(context.get());
    return refused(cat("a certificate valid from ", to_unix_s(X509_get0_notBefore(untimely)),
                       " to ", to_unix_s(X509_get0_notAfter(untimely)), " (unix seconds)"),
                   cat("one valid at ", now_unix_s, "; is the clock of this machine right?"));
  }
  return refused(
      cat("a certificate that does not hold (", X509_verify_cert_error_string(error), ")"),
      "one that the pinned authority signed");
}

}  // namespace rubato
