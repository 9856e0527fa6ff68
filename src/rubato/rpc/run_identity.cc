#include "rubato/rpc/run_identity.h"

#include <nlohmann/json.hpp>

#include "rubato/base/one_line.h"
#include "rubato/rpc/crypto.h"
#include "rubato/rpc/wire.h"

namespace rubato {
namespace {

constexpr int kFormatVersion = 1;

std::string to_text(const RunIdentity& identity) {
  const nlohmann::ordered_json json = {
      {"format_version", kFormatVersion},     {"run", identity.run},
      {"incarnation", identity.incarnation},  {"recipe_digest", identity.digests.recipe},
      {"data_digest", identity.digests.data}, {"layout_digest", identity.digests.layout}};
  return json.dump(2) + "\n";
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
  const auto it = json.find("incarnation");
  if (it == json.end() || !it->is_number_integer()) return damaged("no number incarnation");
  identity.incarnation = it->get<int64_t>();
  if (identity.incarnation < 0) return damaged("an incarnation below 0 or beyond 2^63");
  return identity;
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

StatusOr<RunIdentity> open_run_identity(FileSystem& files, const std::string& directory,
                                        const RunDigests& digests) {
  const std::string path = join_path(directory, "cluster.json");
  if (!files.exists(path)) {
    RunIdentity identity;
    RUBATO_ASSIGN_OR_RETURN(const std::string drawn, random_bytes(16));
    identity.run = to_hex(drawn);
    identity.digests = digests;
    RUBATO_RETURN_IF_ERROR(files.make_directories(directory));
    RUBATO_RETURN_IF_ERROR(files.replace_file(path, to_text(identity)));
    return identity;
  }
  RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(path));
  RUBATO_ASSIGN_OR_RETURN(RunIdentity identity, from_text(path, text));
  const RunDigests& before = identity.digests;
  if (digests.recipe != before.recipe)
    return differs(directory, "recipe", digests.recipe, before.recipe);
  if (digests.data != before.data) return differs(directory, "data set", digests.data, before.data);
  if (digests.layout != before.layout)
    return differs(directory, "model", digests.layout, before.layout);
  return identity;
}

}  // namespace rubato
