// Who may enter a run: invitations that open the door once, and the workers that came through it.
//
// The truth is DIR/admission.json: every change reads it again, under the lock of DIR/pki, and is
// on disk when the call returns, so a second process (`rubato invite`, `rubato workers`) may change
// it while a coordinator runs. The coordinator calls refresh() now and then to see such changes.
//
// A worker is known by its key: whoever repeats an enrolment with the same secret and key, because
// the answer was lost, is the same worker. No clocks: times are unix seconds and arguments. Any
// thread may call anything; questions never wait for the disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "rubato/rpc/admission_table.h"
#include "rubato/rpc/secret.h"
#include "rubato/store/file_system.h"

namespace rubato {

class Admission {
 public:
  /// The one of the run directory; made where there is none. `files` outlives it. DataLoss or
  /// FailedPrecondition as parse_admission says.
  static StatusOr<std::unique_ptr<Admission>> open(FileSystem& files, const std::string& run_dir);

  struct Invited {
    int64_t id = 0;
    Secret secret;  // nowhere else: only its salted hash is kept
    int64_t expires_unix_s = 0;
  };
  /// A secret that lets one worker in within `lifetime_s` [s], 1 to a year's. InvalidArgument
  /// otherwise, or when the label is none. Forgets invitations that ended a week ago.
  StatusOr<Invited> invite(int64_t now_unix_s, int64_t lifetime_s, std::string_view label);
  /// The invitation opens nothing any more; a worker that came by it stays. NotFound when there is
  /// none of that number.
  Status withdraw(int64_t invitation);

  /// The worker that the secret lets in: a new one, or the known one of this key (digest of
  /// x509.h). PermissionDenied in the same words for a secret that never was and one that another
  /// key has used; in others when it has expired unused or the key is revoked.
  StatusOr<WorkerId> enrol(std::string_view secret, std::string_view key_digest,
                           int64_t now_unix_s);
  /// The worker of a key, for a certificate to follow one that ends or has ended: no secret wanted,
  /// since it is of use to the key's owner only. PermissionDenied when it is unknown or revoked.
  StatusOr<WorkerId> worker_of_key(std::string_view key_digest);
  /// The worker of a key that somebody else vouches for: a new one of that label, or the known one.
  /// PermissionDenied when it is revoked. Only a key that was never here waits for the disk.
  StatusOr<WorkerId> admit(std::string_view key_digest, std::string_view label, int64_t now_unix_s);
  /// Certificates count only once they are here. The worker's expired ones are forgotten, and of
  /// the others all but the last 16. NotFound when there is no such worker, PermissionDenied when
  /// it is revoked.
  Status record_certificate(WorkerId worker, std::string_view serial, int64_t expires_unix_s,
                            int64_t now_unix_s);
  /// What the worker shows from now on where no TLS is spoken; nowhere else, only its hash is kept.
  /// The one before opens nothing any more. Errors as record_certificate.
  StatusOr<Secret> draw_token(WorkerId worker);
  /// For good: neither its certificates, its token nor its key open anything any more. NotFound
  /// when there is no such worker.
  Status revoke(WorkerId worker);

  /// Not revoked, and the serial is one of its last. As of the latest change here or refresh().
  bool is_allowed(WorkerId worker, std::string_view serial) const;
  /// Not revoked, and the token is its last; how long that takes tells nothing about a token.
  bool is_token_of(WorkerId worker, std::string_view token) const;
  /// All of it, as of the same moment.
  std::shared_ptr<const AdmissionTable> list() const;

  /// Reads what others changed; true when there was something. After an error all stays as it was.
  StatusOr<bool> refresh();

 private:
  Admission(FileSystem& files, const std::string& run_dir);
  using Change = std::function<Status(AdmissionTable&)>;
  /// Reads, changes and writes the file under its lock.
  Status change(const Change& apply);
  /// With `change_mutex_` held.
  StatusOr<bool> reload();
  void publish(AdmissionTable table, std::string text);

  FileSystem& files_;
  const std::string lock_path_, path_;
  std::mutex change_mutex_;          // one change or reading of the file at a time
  std::optional<std::string> text_;  // of the file when it was last seen
  mutable std::mutex table_mutex_;
  std::shared_ptr<const AdmissionTable> table_;
};

}  // namespace rubato
