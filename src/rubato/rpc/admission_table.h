// Who was invited and who came in, as it lies in DIR/admission.json. The grammar is in
// docs/formats.md, "Admission". Of a secret only a hash is here; a secret has 160 random bits, so
// nothing can be guessed from it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/base/ids.h"
#include "rubato/base/status.h"

namespace rubato {

inline constexpr int64_t kAdmissionFormat = 1;

struct Invitation {
  int64_t id = 0;     // counted from 0, for people to name it by
  std::string label;  // is_label() of it
  int64_t created_unix_s = 0;
  int64_t expires_unix_s = 0;  // from this second on it opens nothing
  std::string salt;            // 32 hexadecimal digits
  std::string secret_hash;     // 64 hexadecimal digits
  std::optional<WorkerId> used_by = {};
  friend bool operator==(const Invitation&, const Invitation&) = default;
};

struct IssuedSerial {
  std::string serial;  // hexadecimal, two digits a byte
  int64_t expires_unix_s = 0;
  friend bool operator==(const IssuedSerial&, const IssuedSerial&) = default;
};

struct AdmittedWorker {
  WorkerId id;
  std::string label;  // of its invitation
  int64_t created_unix_s = 0;
  std::string key_digest;  // of its public key: 64 hexadecimal digits, no two workers' the same
  bool revoked = false;
  std::vector<IssuedSerial> certificates;  // oldest first
  // Of what it shows where no TLS is spoken: SHA-256 in 64 hexadecimal digits; "": it has none.
  std::string token_hash = {};
  friend bool operator==(const AdmittedWorker&, const AdmittedWorker&) = default;
};

struct AdmissionTable {
  int64_t next_invitation = 0;
  int64_t next_worker = 0;              // ids are never given twice
  std::vector<Invitation> invitations;  // by id, ascending
  std::vector<AdmittedWorker> workers;  // by id, ascending
  friend bool operator==(const AdmissionTable&, const AdmissionTable&) = default;

  /// Null when there is none.
  AdmittedWorker* find(WorkerId worker);
  const AdmittedWorker* find(WorkerId worker) const;
  const AdmittedWorker* find_key(std::string_view key_digest) const;
};

/// At most 80 bytes of UTF-8 without control characters; may be empty.
bool is_label(std::string_view text);

std::string encode_admission(const AdmissionTable& table);
/// `who` is the file's name. DataLoss when it is no such table, FailedPrecondition when its version
/// is unknown.
StatusOr<AdmissionTable> parse_admission(std::string_view who, std::string_view text);

}  // namespace rubato
