// Keys and signing requests of x509.h: what is accepted as a key, and how keys are written.
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "rubato/rpc/crypto.h"
#include "rubato/rpc/pem.h"
#include "rubato/rpc/x509.h"

namespace rubato {
namespace {

using Request = std::unique_ptr<X509_REQ, decltype(&X509_REQ_free)>;

constexpr char kKeyLabel[] = "PRIVATE KEY";
constexpr char kRequestLabel[] = "CERTIFICATE REQUEST";

std::shared_ptr<EVP_PKEY> owned(EVP_PKEY* key) { return {key, EVP_PKEY_free}; }

Status openssl_failed(std::string_view want) {
  return absl::InternalError(cat("[x509] got ", take_openssl_error(), ", want ", want));
}

/// The DER that `encode`, one of OpenSSL's i2d functions, makes of an object.
template <class Object>
std::string to_der(Object* object, int (*encode)(Object*, unsigned char**)) {
  unsigned char* bytes = nullptr;
  const int size = encode(object, &bytes);
  RUBATO_CHECK(size > 0, "DER in memory: ", take_openssl_error());
  std::string der(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  OPENSSL_free(bytes);
  return der;
}

/// P-256 or P-384 by name; explicit parameters could be a curve of anybody's making.
bool is_known_curve(const EVP_PKEY* key) {
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC) return false;
  char group[64];
  int is_explicit = 0;
  if (EVP_PKEY_get_group_name(key, group, sizeof group, nullptr) != 1) return false;
  if (EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &is_explicit) !=
      1)
    return false;
  const std::string_view name = group;
  return is_explicit == 0 && (name == SN_X9_62_prime256v1 || name == SN_secp384r1);
}

/// The upper limit bounds what checking somebody's signature may cost.
bool is_accepted(const EVP_PKEY* key) {
  const int bits = EVP_PKEY_get_bits(key);
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_EC:
      return is_known_curve(key);
    case EVP_PKEY_ED25519:
      return true;
    case EVP_PKEY_RSA:
      return bits >= 2048 && bits <= 8192;
    default:
      return false;
  }
}

}  // namespace

std::string PublicKey::digest() const {
  return to_hex(sha256(to_der<const EVP_PKEY>(key_.get(), i2d_PUBKEY)));
}

StatusOr<PrivateKey> PrivateKey::make() {
  EVP_PKEY* key = EVP_EC_gen(SN_X9_62_prime256v1);
  if (key == nullptr) return openssl_failed("a new key");
  return PrivateKey(owned(key));
}

StatusOr<PrivateKey> PrivateKey::parse(std::string_view who, std::string_view pem) {
  RUBATO_ASSIGN_OR_RETURN(const std::string der, pem_to_der(who, kKeyLabel, pem));
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const auto* const end = at + der.size();
  const auto key = owned(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(der.size())));
  if (key == nullptr || at != end || !is_known_curve(key.get())) {
    const std::string error = key == nullptr ? take_openssl_error() : "not of P-256 or P-384";
    return absl::InvalidArgumentError(
        cat("[x509] ", who, ": got a key that cannot be used (", error, "), want an EC key"));
  }
  return PrivateKey(key);
}

StatusOr<PrivateKey> PrivateKey::parse_foreign(std::string_view who, std::string_view pem) {
  const auto refused = [&](std::string_view got) {
    return absl::InvalidArgumentError(
        cat("[x509] ", who, ": got ", got,
            ", want one private key: EC on P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits"));
  };
  RUBATO_ASSIGN_OR_RETURN(std::vector<PemBlock> blocks, pem_blocks(who, pem));
  // What `openssl ecparam` writes in front of a key says nothing that the key does not.
  std::erase_if(blocks, [](const PemBlock& block) { return block.label == "EC PARAMETERS"; });
  if (blocks.size() != 1 || !blocks[0].label.ends_with(kKeyLabel)) return refused("other blocks");
  if (blocks[0].is_encrypted || blocks[0].label.starts_with("ENCRYPTED"))
    return refused("an encrypted key");
  const std::string& der = blocks[0].der;
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const auto* const end = at + der.size();
  const auto key = owned(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(der.size())));
  if (key == nullptr || at != end) {
    return refused(cat("a key that does not read (",
                       key == nullptr ? take_openssl_error() : "more bytes behind it", ")"));
  }
  if (!is_accepted(key.get())) return refused("a key of another kind");
  return PrivateKey(key);
}

StatusOr<Secret> PrivateKey::pem() const {
  const std::unique_ptr<PKCS8_PRIV_KEY_INFO, decltype(&PKCS8_PRIV_KEY_INFO_free)> info(
      EVP_PKEY2PKCS8(key_.get()), PKCS8_PRIV_KEY_INFO_free);
  if (info == nullptr) return openssl_failed("a key to write");
  return Secret(der_to_pem(kKeyLabel,
                           to_der<const PKCS8_PRIV_KEY_INFO>(info.get(), i2d_PKCS8_PRIV_KEY_INFO)));
}

StatusOr<std::string> PrivateKey::request_pem() const {
  const Request request(X509_REQ_new(), X509_REQ_free);
  if (request == nullptr || X509_REQ_set_pubkey(request.get(), key_.get()) != 1 ||
      X509_REQ_sign(request.get(), key_.get(), EVP_sha256()) <= 0)
    return openssl_failed("a signing request");
  return der_to_pem(kRequestLabel, to_der<const X509_REQ>(request.get(), i2d_X509_REQ));
}

StatusOr<PublicKey> parse_request(std::string_view who, std::string_view pem) {
  RUBATO_ASSIGN_OR_RETURN(const std::string der, pem_to_der(who, kRequestLabel, pem));
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const auto* const end = at + der.size();
  const Request request(d2i_X509_REQ(nullptr, &at, static_cast<long>(der.size())), X509_REQ_free);
  if (request == nullptr || at != end) {
    const std::string error = request == nullptr ? take_openssl_error() : "more bytes behind it";
    return absl::InvalidArgumentError(
        cat("[x509] ", who, ": got text that does not read (", error, "), want a signing request"));
  }
  const auto key = owned(X509_REQ_get_pubkey(request.get()));
  if (key == nullptr || !is_accepted(key.get())) {
    take_openssl_error();
    return absl::PermissionDeniedError(
        cat("[x509] ", who,
            ": got a signing request of a key that is not accepted, want EC on P-256 or P-384, "
            "Ed25519, or RSA of 2048 to 8192 bits"));
  }
  if (X509_REQ_verify(request.get(), key.get()) != 1) {
    take_openssl_error();
    return absl::PermissionDeniedError(
        cat("[x509] ", who, ": got a signing request with a wrong signature, want its own key's"));
  }
  return PublicKey(key);
}

}  // namespace rubato
