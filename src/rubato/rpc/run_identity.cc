#include "rubato/rpc/run_identity.h"

#include <nlohmann/json.hpp>

#include "rubato/base/one_line.h"
#include "rubato/rpc/crypto.h"
#include "rubato/rpc/wire.h"
#include "rubato/store/journal_segment.h"

namespace rubato {
namespace {

constexpr int kFormatVersion = 1;

std::string path_of(const std::string& directory) { return join_path(directory, "cluster.json"); }

std::string to_text(const RunIdentity& identity) {
  nlohmann::ordered_json json = {
      {"format_version", kFormatVersion},     {"run", identity.run},
      {"incarnation", identity.incarnation},  {"recipe_digest", identity.digests.recipe},
      {"data_digest", identity.digests.data}, {"layout_digest", identity.digests.layout}};
  if (const auto& rollback = identity.rollback) {
    nlohmann::ordered_json& pending = json["rollback"];
    pending = {{"step", rollback->step},
               {"records", rollback->records},
               {"now_ns", rollback->now},
               {"version", rollback->version.value()},
               {"deltas", nlohmann::ordered_json::array()}};
    for (const TaskId task : rollback->deltas) pending["deltas"].push_back(task.value());
  }
  return json.dump(2) + "\n";
}

// A number from 0 on, or nothing.
std::optional<int64_t> count_of(const nlohmann::json& json) {
  if (!json.is_number_integer()) return std::nullopt;
  const auto count = json.get<int64_t>();
  return count < 0 ? std::nullopt : std::optional(count);
}

std::optional<PendingRollback> rollback_of(const nlohmann::json& json) {
  if (!json.is_object()) return std::nullopt;
  const auto count = [&](const char* key) {
    const auto it = json.find(key);
    return it == json.end() ? std::nullopt : count_of(*it);
  };
  const auto step = count("step"), records = count("records"), now = count("now_ns"),
             version = count("version");
  const auto deltas = json.find("deltas");
  if (!step || !records || !now || !version || deltas == json.end() || !deltas->is_array())
    return std::nullopt;
  PendingRollback rollback{*step, *records, *now, Version(*version), {}};
  for (const auto& delta : *deltas) {
    const auto task = count_of(delta);
    if (!task) return std::nullopt;
    rollback.deltas.insert(TaskId(*task));
  }
  return rollback;
}

StatusOr<RunIdentity> from_text(const std::string& path, const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto damaged = [&](std::string_view what) {
    return absl::DataLossError(cat("[cluster] ", path, ": got ", what, ", want what was written"));
  };
  if (!json.is_object()) return damaged("no JSON object");
  if (json.value("format_version", nlohmann::json()) != kFormatVersion)
    return damaged(cat("another format version than ", kFormatVersion));
  RunIdentity identity;
  const std::pair<const char*, std::string*> texts[] = {
      {"run", &identity.run},
      {"recipe_digest", &identity.digests.recipe},
      {"data_digest", &identity.digests.data},
      {"layout_digest", &identity.digests.layout}};
  for (const auto& [key, value] : texts) {
    const auto it = json.find(key);
    if (it == json.end() || !it->is_string()) return damaged(cat("no text ", key));
    *value = it->get<std::string>();
  }
  if (!check_digest("cluster", "run", identity.run).ok())
    return damaged("a run that is not 32 hexadecimal digits");
  const auto incarnation = json.find("incarnation");
  if (incarnation == json.end() || !incarnation->is_number_integer())
    return damaged("no number incarnation");
  if (!count_of(*incarnation)) return damaged("an incarnation below 0 or beyond 2^63");
  identity.incarnation = *count_of(*incarnation);
  if (const auto rollback = json.find("rollback"); rollback != json.end()) {
    identity.rollback = rollback_of(*rollback);
    if (!identity.rollback) return damaged("a rollback that is none");
  }
  return identity;
}

// What a run wrote is of no use under another name.
Status check_new(FileSystem& files, const std::string& directory) {
  RUBATO_ASSIGN_OR_RETURN(const auto segments, journal_segments(files, directory));
  if (segments.empty()) return absl::OkStatus();
  return absl::DataLossError(cat("[cluster] ", directory,
                                 ": got a journal and no cluster.json, want the one that was "
                                 "written with it; restore it, or name another directory"));
}

Status differs(const std::string& directory, std::string_view what, const std::string& got,
               const std::string& want) {
  return absl::FailedPreconditionError(cat("[cluster] ", directory, ": got a ", what, " of digest ",
                                           got, ", want the run's own, ", one_line(want),
                                           "; another --out makes another run"));
}

}  // namespace

JournalIdentity RunIdentity::journal_identity() const {
  return {.run = cat(run, ".", incarnation),
          .recipe_digest = digests.recipe,
          .layout_digest = digests.layout};
}

StatusOr<RunIdentity> read_run_identity(FileSystem& files, const std::string& directory) {
  const std::string path = path_of(directory);
  RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(path));
  return from_text(path, text);
}

Status write_run_identity(FileSystem& files, const std::string& directory,
                          const RunIdentity& identity) {
  return files.replace_file(path_of(directory), to_text(identity));
}

StatusOr<RunIdentity> open_run_identity(FileSystem& files, const std::string& directory,
                                        const RunDigests& digests) {
  if (!files.exists(path_of(directory))) {
    RUBATO_RETURN_IF_ERROR(check_new(files, directory));
    RunIdentity identity;
    RUBATO_ASSIGN_OR_RETURN(const std::string drawn, random_bytes(16));
    identity.run = to_hex(drawn);
    identity.digests = digests;
    RUBATO_RETURN_IF_ERROR(files.make_directories(directory));
    RUBATO_RETURN_IF_ERROR(write_run_identity(files, directory, identity));
    return identity;
  }
  RUBATO_ASSIGN_OR_RETURN(RunIdentity identity, read_run_identity(files, directory));
  const RunDigests& before = identity.digests;
  if (digests.recipe != before.recipe)
    return differs(directory, "recipe", digests.recipe, before.recipe);
  if (digests.data != before.data) return differs(directory, "data set", digests.data, before.data);
  if (digests.layout != before.layout)
    return differs(directory, "model", digests.layout, before.layout);
  return identity;
}

}  // namespace rubato
