#include "tests/rpc/pki_rig.h"

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "rubato/rpc/pem.h"

namespace rubato {
namespace {

Key owned(EVP_PKEY* key) {
  RUBATO_CHECK(key != nullptr, "no key");
  return {key, EVP_PKEY_free};
}

void ask_for_authority(X509_REQ* request) {
  STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
  for (const auto& [kind, value] : {std::pair{NID_basic_constraints, "critical,CA:TRUE"},
                                    std::pair{NID_ext_key_usage, "serverAuth"}})
    sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(nullptr, nullptr, kind, value));
  X509_REQ_add_extensions(request, extensions);
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}

}  // namespace

Authority make_authority() {
  MemoryFileSystem files;
  return Authority::create_or_load(files, "/run", kNow).value();
}

PrivateKey make_key() { return PrivateKey::make().value(); }

std::string make_request() { return make_key().request_pem().value(); }

Key ec_key(const std::string& curve) { return owned(EVP_EC_gen(curve.c_str())); }

Key ec_key_with_explicit_curve() {
  const Key key = ec_key("P-256");
  EVP_PKEY_set_utf8_string_param(key.get(), OSSL_PKEY_PARAM_EC_ENCODING,
                                 OSSL_PKEY_EC_ENCODING_EXPLICIT);
  return key;
}

Key rsa_key(int bits) { return owned(EVP_RSA_gen(static_cast<unsigned>(bits))); }

Key ed25519_key() { return owned(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")); }

std::string request_of(const Key& key, const RequestSubject& subject) {
  X509_REQ* request = X509_REQ_new();
  X509_REQ_set_pubkey(request, key.get());
  if (!subject.common_name.empty()) {
    X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(subject.common_name.c_str()),
                               -1, -1, 0);
  }
  if (subject.wants_to_sign) ask_for_authority(request);
  const bool hashes_itself = EVP_PKEY_get_base_id(key.get()) == EVP_PKEY_ED25519;
  X509_REQ_sign(request, key.get(), hashes_itself ? nullptr : EVP_sha256());
  unsigned char* bytes = nullptr;
  const int size = i2d_X509_REQ(request, &bytes);
  const std::string der(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  OPENSSL_free(bytes);
  X509_REQ_free(request);
  return der_to_pem("CERTIFICATE REQUEST", der);
}

std::string with_flipped_byte(const std::string& label, const std::string& pem, size_t from_end) {
  std::string der = pem_to_der("test", label, pem).value();
  char& byte = der.at(der.size() - 1 - from_end);
  byte = static_cast<char>(byte ^ 1);
  return der_to_pem(label, der);
}

void for_crashes(int64_t stride, const std::function<void(MemoryFileSystem&)>& prepare,
                 const std::function<bool(MemoryFileSystem&)>& work,
                 const std::function<void(MemoryFileSystem&, bool)>& check) {
  MemoryFileSystem whole;
  prepare(whole);
  const int64_t before = whole.work_done();
  ASSERT_TRUE(work(whole));
  const int64_t needed = whole.work_done() - before + 8;  // signatures differ by some bytes
  int64_t first = 0;
  for (const CrashKeeps keeps : {CrashKeeps::kNothing, CrashKeeps::kNames,
                                 CrashKeeps::kNamesAndHalf, CrashKeeps::kEverything}) {
    for (int64_t units = first; units <= needed; units += stride) {
      SCOPED_TRACE(cat("crash ", static_cast<int>(keeps), " after ", units));
      MemoryFileSystem files;
      prepare(files);
      files.cut_power_after(units);
      const bool done = work(files);
      files.restart(keeps);
      check(files, done);
    }
    first += stride / 4;
  }
}

}  // namespace rubato
