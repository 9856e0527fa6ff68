#include "rubato/rpc/admission.h"

#include <algorithm>

#include "rubato/rpc/authority.h"
#include "rubato/rpc/crypto.h"
#include "rubato/rpc/patient_lock.h"

namespace rubato {
namespace {

constexpr int64_t kLongestInvitationS = 365 * kDayS;
constexpr int64_t kInvitationsForgottenS = 7 * kDayS;  // after they ended
constexpr size_t kCertificatesKept = 16;
constexpr int kSaltBytes = 16;

std::string hash_of(std::string_view salt, std::string_view secret) {
  return to_hex(sha256(cat(salt, ":", secret)));
}

/// Null when none is of that secret. Looks at all of them, whatever it finds.
const Invitation* find_invitation(const AdmissionTable& table, std::string_view secret) {
  const Invitation* found = nullptr;
  for (const Invitation& invitation : table.invitations) {
    if (equal_in_constant_time(hash_of(invitation.salt, secret), invitation.secret_hash))
      found = &invitation;
  }
  return found;
}

Status denied(std::string_view got) {
  return absl::PermissionDeniedError(
      cat("[admission] got ", got, "; the coordinator's owner makes another with `rubato invite`"));
}

/// Whether the secret opens the door for this key now.
Status check_secret(const AdmissionTable& table, std::string_view secret,
                    std::string_view key_digest, int64_t now_unix_s) {
  const Status closed = denied("a secret that opens nothing here, want that of an open invitation");
  const Invitation* invitation = find_invitation(table, secret);
  if (invitation == nullptr) return closed;
  const AdmittedWorker* known = table.find_key(key_digest);
  if (invitation->used_by.has_value()) {
    const bool repeats = known != nullptr && known->id == *invitation->used_by;
    if (!repeats || now_unix_s >= invitation->expires_unix_s) return closed;
  }
  if (now_unix_s >= invitation->expires_unix_s)
    return denied("the secret of an invitation that has expired, want one in time");
  if (known != nullptr && known->revoked)
    return absl::PermissionDeniedError(
        "[admission] got a key that was revoked, want a new one; remove the worker's directory");
  return absl::OkStatus();
}

/// The worker of a key, who is new where nobody has it.
AdmittedWorker& find_or_add(AdmissionTable& table, std::string_view key_digest,
                            std::string_view label, int64_t now_unix_s) {
  if (const AdmittedWorker* known = table.find_key(key_digest)) return *table.find(known->id);
  return table.workers.emplace_back(AdmittedWorker{.id = WorkerId(table.next_worker++),
                                                   .label = std::string(label),
                                                   .created_unix_s = now_unix_s,
                                                   .key_digest = std::string(key_digest),
                                                   .certificates = {}});
}

/// After check_secret.
WorkerId let_in(AdmissionTable& table, std::string_view secret, std::string_view key_digest,
                int64_t now_unix_s) {
  const size_t index =
      static_cast<size_t>(find_invitation(table, secret) - table.invitations.data());
  Invitation& invitation = table.invitations[index];
  const AdmittedWorker& worker = find_or_add(table, key_digest, invitation.label, now_unix_s);
  invitation.used_by = worker.id;
  return worker.id;
}

Status no_worker(WorkerId worker, const AdmissionTable& table) {
  return absl::NotFoundError(cat("[admission] got worker ", worker, ", want one of the ",
                                 table.workers.size(), " that `rubato workers` lists"));
}

}  // namespace

Admission::Admission(FileSystem& files, const std::string& run_dir)
    : files_(files),
      lock_path_(pki_directory(run_dir)),
      path_(join_path(run_dir, "admission.json")),
      table_(std::make_shared<const AdmissionTable>()) {}

StatusOr<std::unique_ptr<Admission>> Admission::open(FileSystem& files,
                                                     const std::string& run_dir) {
  std::unique_ptr<Admission> admission(new Admission(files, run_dir));
  RUBATO_RETURN_IF_ERROR(files.make_directories(admission->lock_path_));
  if (!files.exists(admission->path_)) {
    RUBATO_ASSIGN_OR_RETURN(const DirectoryLock lock, lock_patiently(files, admission->lock_path_));
    if (!files.exists(admission->path_))
      RUBATO_RETURN_IF_ERROR(files.replace_file(admission->path_, encode_admission({})));
  }
  RUBATO_RETURN_IF_ERROR(admission->refresh().status());
  return admission;
}

StatusOr<Admission::Invited> Admission::invite(int64_t now_unix_s, int64_t lifetime_s,
                                               std::string_view label) {
  if (lifetime_s < 1 || lifetime_s > kLongestInvitationS)
    return absl::InvalidArgumentError(cat("[admission] got an invitation for ", lifetime_s,
                                          " s, want 1 .. ", kLongestInvitationS));
  if (!is_label(label))
    return absl::InvalidArgumentError(
        "[admission] got a label that is none, want at most 80 bytes of UTF-8 on one line");
  Invited invited;
  RUBATO_ASSIGN_OR_RETURN(invited.secret, draw_join_secret());
  RUBATO_ASSIGN_OR_RETURN(const std::string salt_bytes, random_bytes(kSaltBytes));
  const std::string salt = to_hex(salt_bytes);
  invited.expires_unix_s = now_unix_s + lifetime_s;
  RUBATO_RETURN_IF_ERROR(change([&](AdmissionTable& table) {
    std::erase_if(table.invitations, [&](const Invitation& old) {
      return old.expires_unix_s < now_unix_s - kInvitationsForgottenS;
    });
    invited.id = table.next_invitation++;
    table.invitations.push_back({.id = invited.id,
                                 .label = std::string(label),
                                 .created_unix_s = now_unix_s,
                                 .expires_unix_s = invited.expires_unix_s,
                                 .salt = salt,
                                 .secret_hash = hash_of(salt, invited.secret.reveal())});
    return absl::OkStatus();
  }));
  return invited;
}

Status Admission::withdraw(int64_t invitation) {
  return change([&](AdmissionTable& table) -> Status {
    const auto of_number = [&](const Invitation& other) { return other.id == invitation; };
    if (std::erase_if(table.invitations, of_number) == 1) return absl::OkStatus();
    return absl::NotFoundError(cat("[admission] got invitation ", invitation, ", want one of the ",
                                   table.invitations.size(), " that are open or recent"));
  });
}

StatusOr<WorkerId> Admission::enrol(std::string_view secret, std::string_view key_digest,
                                    int64_t now_unix_s) {
  if (!is_hex(key_digest, 64))
    return absl::InvalidArgumentError("[admission] got a digest that is none, want 64 hex digits");
  // Asked without the lock first, so that guesses hold nobody up.
  RUBATO_RETURN_IF_ERROR(refresh().status());
  RUBATO_RETURN_IF_ERROR(check_secret(*list(), secret, key_digest, now_unix_s));
  WorkerId worker;
  const Status entered = change([&](AdmissionTable& table) -> Status {
    RUBATO_RETURN_IF_ERROR(check_secret(table, secret, key_digest, now_unix_s));
    worker = let_in(table, secret, key_digest, now_unix_s);
    return absl::OkStatus();
  });
  if (!entered.ok()) return entered;
  return worker;
}

StatusOr<WorkerId> Admission::worker_of_key(std::string_view key_digest) {
  RUBATO_RETURN_IF_ERROR(refresh().status());
  const auto table = list();
  const AdmittedWorker* worker = table->find_key(key_digest);
  if (worker == nullptr || worker->revoked)
    return denied("a key that is not of a worker here, or not any more, want one that enrolled");
  return worker->id;
}

StatusOr<WorkerId> Admission::admit(std::string_view key_digest, std::string_view label,
                                    int64_t now_unix_s) {
  const auto judge = [](const AdmittedWorker& worker) -> StatusOr<WorkerId> {
    if (!worker.revoked) return worker.id;
    return absl::PermissionDeniedError(cat("[admission] got the key of worker ", worker.id,
                                           ", which was revoked, want another key"));
  };
  const auto table = list();
  if (const AdmittedWorker* known = table->find_key(key_digest)) return judge(*known);
  StatusOr<WorkerId> worker = absl::InternalError("");
  RUBATO_RETURN_IF_ERROR(change([&](AdmissionTable& changed) {
    worker = judge(find_or_add(changed, key_digest, label, now_unix_s));
    return absl::OkStatus();
  }));
  return worker;
}

Status Admission::record_certificate(WorkerId worker, std::string_view serial,
                                     int64_t expires_unix_s, int64_t now_unix_s) {
  return change([&](AdmissionTable& table) -> Status {
    AdmittedWorker* entry = table.find(worker);
    if (entry == nullptr) return no_worker(worker, table);
    if (entry->revoked) return denied(cat("revoked worker ", worker, ", want a present one"));
    std::erase_if(entry->certificates,
                  [&](const IssuedSerial& old) { return old.expires_unix_s <= now_unix_s; });
    entry->certificates.push_back({std::string(serial), expires_unix_s});
    while (entry->certificates.size() > kCertificatesKept)
      entry->certificates.erase(entry->certificates.begin());
    return absl::OkStatus();
  });
}

StatusOr<Secret> Admission::draw_token(WorkerId worker) {
  RUBATO_ASSIGN_OR_RETURN(Secret token, draw_join_secret());
  RUBATO_RETURN_IF_ERROR(change([&](AdmissionTable& table) -> Status {
    AdmittedWorker* entry = table.find(worker);
    if (entry == nullptr) return no_worker(worker, table);
    if (entry->revoked) return denied(cat("revoked worker ", worker, ", want a present one"));
    entry->token_hash = to_hex(sha256(token.reveal()));
    return absl::OkStatus();
  }));
  return token;
}

Status Admission::revoke(WorkerId worker) {
  return change([&](AdmissionTable& table) -> Status {
    AdmittedWorker* entry = table.find(worker);
    if (entry == nullptr) return no_worker(worker, table);
    entry->revoked = true;
    entry->certificates.clear();
    entry->token_hash.clear();
    return absl::OkStatus();
  });
}

bool Admission::is_allowed(WorkerId worker, std::string_view serial) const {
  const auto table = list();
  const AdmittedWorker* entry = table->find(worker);
  return entry != nullptr && !entry->revoked &&
         std::ranges::find(entry->certificates, serial, &IssuedSerial::serial) !=
             entry->certificates.end();
}

bool Admission::is_token_of(WorkerId worker, std::string_view token) const {
  const auto table = list();
  const AdmittedWorker* entry = table->find(worker);
  return entry != nullptr && !entry->revoked &&
         equal_in_constant_time(to_hex(sha256(token)), entry->token_hash);
}

std::shared_ptr<const AdmissionTable> Admission::list() const {
  const std::lock_guard lock(table_mutex_);
  return table_;
}

StatusOr<bool> Admission::refresh() {
  const std::lock_guard changing(change_mutex_);
  return reload();
}

Status Admission::change(const Change& apply) {
  const std::lock_guard changing(change_mutex_);
  RUBATO_ASSIGN_OR_RETURN(const DirectoryLock lock, lock_patiently(files_, lock_path_));
  RUBATO_RETURN_IF_ERROR(reload().status());
  AdmissionTable table = *list();
  RUBATO_RETURN_IF_ERROR(apply(table));
  if (table == *list()) return absl::OkStatus();
  std::string text = encode_admission(table);
  RUBATO_RETURN_IF_ERROR(files_.replace_file(path_, text));
  publish(std::move(table), std::move(text));
  return absl::OkStatus();
}

StatusOr<bool> Admission::reload() {
  RUBATO_ASSIGN_OR_RETURN(std::string text, files_.read_file(path_));
  if (text == text_) return false;
  RUBATO_ASSIGN_OR_RETURN(AdmissionTable table, parse_admission(path_, text));
  publish(std::move(table), std::move(text));
  return true;
}

void Admission::publish(AdmissionTable table, std::string text) {
  text_ = std::move(text);
  auto shared = std::make_shared<const AdmissionTable>(std::move(table));
  const std::lock_guard lock(table_mutex_);
  table_ = std::move(shared);
}

}  // namespace rubato
