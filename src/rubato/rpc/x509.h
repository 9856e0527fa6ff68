// Keys, requests and certificates behind plain types: everything that this room asks of OpenSSL's
// X.509. Values are cheap to copy, never change, and may be used by several threads at once.
//
// Text is PEM: one block, at most 64 KiB, nothing but spaces around it; encrypted blocks are
// refused (nobody is asked for a password). Times are unix seconds and arguments: nothing here
// reads a clock. Errors: `[x509] WHO: got X, want Y`, one line, `who` being what the caller reads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/base/status.h"
#include "rubato/rpc/secret.h"

struct evp_pkey_st;  // OpenSSL's
struct x509_st;

namespace rubato {

/// The public half of a pair, for certificates to be made out to.
class PublicKey {
 public:
  /// SHA-256 of its SubjectPublicKeyInfo, in lower-case hexadecimal.
  std::string digest() const;

 private:
  friend class PrivateKey;
  friend class Certificate;
  friend StatusOr<PublicKey> parse_request(std::string_view who, std::string_view pem);
  explicit PublicKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

class PrivateKey {
 public:
  /// A new key of P-256.
  static StatusOr<PrivateKey> make();
  static StatusOr<PrivateKey> parse(std::string_view who, std::string_view pem);

  /// One that we did not make: EC on P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits; PKCS #8
  /// or the older forms of EC and RSA.
  static StatusOr<PrivateKey> parse_foreign(std::string_view who, std::string_view pem);

  /// PKCS #8, not encrypted.
  StatusOr<Secret> pem() const;
  PublicKey public_key() const { return PublicKey(key_); }
  /// A certificate signing request (PKCS #10) with an empty subject, signed by this key.
  StatusOr<std::string> request_pem() const;

 private:
  friend class Certificate;
  explicit PrivateKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

/// The key that a signing request is made out for; its subject and extensions are not looked at.
/// PermissionDenied unless the request is signed by that key and the key is EC on P-256 or P-384,
/// Ed25519, or RSA of 2048 to 8192 bits.
StatusOr<PublicKey> parse_request(std::string_view who, std::string_view pem);

enum class CertificateRole {
  kAuthority,  // signs certificates and nothing else
  kServer,     // serverAuth
  kClient,     // clientAuth
};

struct CertificateTerms {
  CertificateRole role = CertificateRole::kClient;
  std::string common_name;              // of the subject
  std::string organization;             // of the subject
  std::vector<std::string> hosts = {};  // subject alternative names of a server: is_host() of each
  int64_t not_before_unix_s = 0;
  int64_t not_after_unix_s = 0;
};

class Certificate {
 public:
  static StatusOr<Certificate> parse(std::string_view who, std::string_view pem);
  static StatusOr<Certificate> parse_der(std::string_view who, std::string_view der);
  /// Signed by its own key: the beginning of a chain.
  static StatusOr<Certificate> self_signed(const CertificateTerms& terms, const PrivateKey& key);
  /// For the owner of `subject_key`, signed by the authority's key; a random serial of 128 bits.
  static StatusOr<Certificate> issue(const CertificateTerms& terms, const PublicKey& subject_key,
                                     const Certificate& authority, const PrivateKey& authority_key);

  std::string pem() const;
  /// SHA-256 of the DER, in lower-case hexadecimal.
  std::string fingerprint() const;
  /// Lower-case hexadecimal, two digits a byte.
  std::string serial() const;
  /// The subject's; empty where it has none, or several.
  std::string common_name() const;
  std::string organization() const;
  int64_t not_before_unix_s() const;
  int64_t not_after_unix_s() const;
  bool is_of(const PublicKey& key) const;
  /// May be used for that, by its own extensions; says nothing about who signed it.
  bool is_for(CertificateRole role) const;
  /// PermissionDenied when it is of a kind that nobody here knows.
  StatusOr<PublicKey> public_key() const;

  /// PermissionDenied unless `authority`, and nobody between, signed this certificate for `role`,
  /// and it is valid at `now_unix_s`. `host`, unless empty, has to be among its names.
  Status check(std::string_view who, const Certificate& authority, CertificateRole role,
               std::string_view host, int64_t now_unix_s) const;

 private:
  explicit Certificate(std::shared_ptr<x509_st> x509) : x509_(std::move(x509)) {}
  static StatusOr<Certificate> sign(const CertificateTerms& terms, evp_pkey_st* subject_key,
                                    x509_st* authority, evp_pkey_st* authority_key);
  std::shared_ptr<x509_st> x509_;
};

/// All certificates of a file, at least one, in their order; no other blocks beside them.
StatusOr<std::vector<Certificate>> parse_certificates(std::string_view who, std::string_view pem);

}  // namespace rubato
