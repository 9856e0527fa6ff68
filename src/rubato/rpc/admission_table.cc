#include "rubato/rpc/admission_table.h"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "rubato/base/one_line.h"
#include "rubato/rpc/crypto.h"

namespace rubato {
namespace {

using nlohmann::json;

constexpr char kFormatName[] = "rubato-admission";
constexpr size_t kSaltDigits = 32;
constexpr size_t kHashDigits = 64;
constexpr size_t kLongestSerial = 40;  // 20 bytes, RFC 5280

/// What is wrong with the file, for the one place that makes a Status of it.
struct Misfit {
  std::string what;
};

int64_t natural(const json& object, const char* key) {
  const json& value = object.at(key);
  if (!value.is_number_unsigned() || value.get<uint64_t>() > INT64_MAX)
    throw Misfit{cat(key, " that is no natural number")};
  return value.get<int64_t>();
}

std::string label_in(const json& object) {
  const std::string label = object.at("label").get<std::string>();
  if (!is_label(label)) throw Misfit{"a label that is too long or has control characters"};
  return label;
}

std::string hex_in(const json& object, const char* key, size_t digits) {
  const std::string text = object.at(key).get<std::string>();
  if (!is_hex(text, digits)) throw Misfit{cat(key, " that is not ", digits, " hexadecimal digits")};
  return text;
}

const json& array_in(const json& object, const char* key) {
  const json& array = object.at(key);
  if (!array.is_array()) throw Misfit{cat(key, " that are no list")};
  return array;
}

json to_json(const Invitation& invitation) {
  json object = {{"id", invitation.id},
                 {"label", invitation.label},
                 {"created_unix_s", invitation.created_unix_s},
                 {"expires_unix_s", invitation.expires_unix_s},
                 {"salt", invitation.salt},
                 {"secret_hash", invitation.secret_hash}};
  if (invitation.used_by.has_value()) object["used_by"] = invitation.used_by->value();
  return object;
}

Invitation invitation_from(const json& object) {
  Invitation invitation = {.id = natural(object, "id"),
                           .label = label_in(object),
                           .created_unix_s = natural(object, "created_unix_s"),
                           .expires_unix_s = natural(object, "expires_unix_s"),
                           .salt = hex_in(object, "salt", kSaltDigits),
                           .secret_hash = hex_in(object, "secret_hash", kHashDigits)};
  if (object.contains("used_by")) invitation.used_by = WorkerId(natural(object, "used_by"));
  return invitation;
}

json to_json(const AdmittedWorker& worker) {
  json certificates = json::array();
  for (const IssuedSerial& issued : worker.certificates)
    certificates.push_back({{"serial", issued.serial}, {"expires_unix_s", issued.expires_unix_s}});
  json object = {{"id", worker.id.value()},
                 {"label", worker.label},
                 {"created_unix_s", worker.created_unix_s},
                 {"key_digest", worker.key_digest},
                 {"revoked", worker.revoked},
                 {"certificates", std::move(certificates)}};
  if (!worker.token_hash.empty()) object["token_hash"] = worker.token_hash;
  return object;
}

AdmittedWorker worker_from(const json& object) {
  AdmittedWorker worker = {.id = WorkerId(natural(object, "id")),
                           .label = label_in(object),
                           .created_unix_s = natural(object, "created_unix_s"),
                           .key_digest = hex_in(object, "key_digest", kHashDigits),
                           .revoked = object.at("revoked").get<bool>(),
                           .certificates = {}};
  if (object.contains("token_hash")) worker.token_hash = hex_in(object, "token_hash", kHashDigits);
  for (const json& issued : array_in(object, "certificates")) {
    const size_t digits = issued.at("serial").get_ref<const std::string&>().size();
    if (digits < 2 || digits > kLongestSerial || digits % 2 != 0)
      throw Misfit{"a serial that is not 1 to 20 bytes"};
    worker.certificates.push_back(
        {hex_in(issued, "serial", digits), natural(issued, "expires_unix_s")});
  }
  return worker;
}

/// What each entry alone cannot say.
void check_whole(const AdmissionTable& table) {
  std::set<std::string_view> keys;
  int64_t last = -1;
  for (const AdmittedWorker& worker : table.workers) {
    if (worker.id.value() <= last || worker.id.value() >= table.next_worker)
      throw Misfit{"workers that are not in the order of their ids"};
    if (!keys.insert(worker.key_digest).second) throw Misfit{"two workers of one key"};
    last = worker.id.value();
  }
  last = -1;
  for (const Invitation& invitation : table.invitations) {
    if (invitation.id <= last || invitation.id >= table.next_invitation)
      throw Misfit{"invitations that are not in the order of their ids"};
    if (invitation.used_by.has_value() && table.find(*invitation.used_by) == nullptr)
      throw Misfit{"an invitation used by nobody there"};
    last = invitation.id;
  }
}

/// Root, its lists, their entries, the list in one, its entries, their values; what is deeper is
/// refused, since the library copies and frees recursively.
constexpr int kMaxDepth = 5;

json parse_shallow(std::string_view text) {
  bool too_deep = false;
  json root = json::parse(text, [&](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  });
  return too_deep ? json(json::value_t::discarded) : root;
}

AdmissionTable table_from(const json& root) {
  AdmissionTable table;
  table.next_invitation = natural(root, "next_invitation");
  table.next_worker = natural(root, "next_worker");
  for (const json& object : array_in(root, "invitations"))
    table.invitations.push_back(invitation_from(object));
  for (const json& object : array_in(root, "workers")) table.workers.push_back(worker_from(object));
  check_whole(table);
  return table;
}

}  // namespace

const AdmittedWorker* AdmissionTable::find(WorkerId worker) const {
  const auto it = std::ranges::lower_bound(workers, worker, {}, &AdmittedWorker::id);
  return it != workers.end() && it->id == worker ? &*it : nullptr;
}

AdmittedWorker* AdmissionTable::find(WorkerId worker) {
  return const_cast<AdmittedWorker*>(std::as_const(*this).find(worker));
}

const AdmittedWorker* AdmissionTable::find_key(std::string_view key_digest) const {
  const auto it = std::ranges::find(workers, key_digest, &AdmittedWorker::key_digest);
  return it != workers.end() ? &*it : nullptr;
}

bool is_label(std::string_view text) {
  constexpr size_t kLongest = 80;
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (text.size() > kLongest || std::ranges::any_of(text, control)) return false;
  try {
    return !json(std::string(text)).dump().empty();
  } catch (const json::exception&) {  // not UTF-8
    return false;
  }
}

std::string encode_admission(const AdmissionTable& table) {
  json invitations = json::array();
  for (const Invitation& invitation : table.invitations) invitations.push_back(to_json(invitation));
  json workers = json::array();
  for (const AdmittedWorker& worker : table.workers) workers.push_back(to_json(worker));
  const json root = {{"format", kFormatName},
                     {"format_version", kAdmissionFormat},
                     {"next_invitation", table.next_invitation},
                     {"next_worker", table.next_worker},
                     {"invitations", std::move(invitations)},
                     {"workers", std::move(workers)}};
  return root.dump(1) + "\n";
}

StatusOr<AdmissionTable> parse_admission(std::string_view who, std::string_view text) {
  const auto damaged = [&](std::string_view what) {
    return absl::DataLossError(
        cat("[admission] ", who, ": got ", one_line(what),
            ", want a table of invitations and workers; it is damaged or none"));
  };
  try {
    const json root = parse_shallow(text);
    if (!root.is_object() || root.value("format", json()) != kFormatName)
      return damaged(cat("JSON that does not say format ", kFormatName));
    const json& version = root.at("format_version");
    if (version != kAdmissionFormat)
      return absl::FailedPreconditionError(cat("[admission] ", who, ": got format ",
                                               shortened(version.dump()), ", want ",
                                               kAdmissionFormat));
    return table_from(root);
  } catch (const json::exception& error) {
    return damaged(cat("text that does not read (", error.what(), ")"));
  } catch (const Misfit& misfit) {
    return damaged(misfit.what);
  }
}

}  // namespace rubato
