#include "rubato/store/checkpoint_manifest.h"

#include <nlohmann/json.hpp>

#include "rubato/base/digest.h"

namespace rubato {
namespace {

using nlohmann::json;

constexpr char kFormatName[] = "rubato-checkpoint";
constexpr char kSelfDigest[] = "manifest_digest";

/// The digest of a manifest: of its compact text, keys sorted, without the digest itself.
std::string self_digest(json root) {
  root.erase(kSelfDigest);
  return digest_of(root.dump());
}

json to_json(const CheckpointManifest& manifest) {
  json files = json::object();
  for (const auto& [name, facts] : manifest.files)
    files[name] = {{"bytes", facts.bytes}, {"digest", facts.digest}};
  const CheckpointMeta& meta = manifest.meta;
  return {{"format", kFormatName},
          {"format_version", kCheckpointFormat},
          {"step", meta.step},
          {"build_id", meta.build_id},
          {"recipe_digest", meta.recipe_digest},
          {"data_digest", meta.data_digest},
          {"layout_digest", manifest.layout_digest},
          {"notes", meta.notes},
          {"files", files}};
}

/// Of the root, of files in it, of each file's facts, and their values; what is deeper is refused,
/// since the library copies and writes recursively.
constexpr int kMaxDepth = 3;

/// Throws the library's exceptions when it is no JSON; a discarded value when it is too deep.
json parse_shallow(std::string_view text) {
  bool too_deep = false;
  json root = json::parse(text, [&](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  });
  return too_deep ? json(json::value_t::discarded) : root;
}

bool is_natural(const json& value) {
  return value.is_number_unsigned() && value.get<uint64_t>() <= INT64_MAX;
}

/// What the library would convert without a word: 1.5 and true to 1, a list to an object.
std::string_view misfit(const json& root) {
  if (!is_natural(root.at("step"))) return "a step that is no natural number";
  if (!root.at("files").is_object()) return "files that are no object";
  for (const json& facts : root.at("files")) {
    if (!is_natural(facts.at("bytes"))) return "a size that is no natural number";
  }
  return "";
}

/// Throws the library's exceptions when a part is missing or of another type.
CheckpointManifest from_json(const json& root) {
  CheckpointManifest manifest;
  CheckpointMeta& meta = manifest.meta;
  root.at("step").get_to(meta.step);
  root.at("build_id").get_to(meta.build_id);
  root.at("recipe_digest").get_to(meta.recipe_digest);
  root.at("data_digest").get_to(meta.data_digest);
  root.at("layout_digest").get_to(manifest.layout_digest);
  root.at("notes").get_to(meta.notes);
  for (const auto& [name, facts] : root.at("files").items())
    manifest.files[name] = {facts.at("bytes").get<int64_t>(),
                            facts.at("digest").get<std::string>()};
  return manifest;
}

}  // namespace

StatusOr<std::string> encode_manifest(const CheckpointManifest& manifest) {
  try {
    json root = to_json(manifest);
    root[kSelfDigest] = self_digest(root);
    return root.dump(2) + "\n";
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(
        cat("[checkpoint] got a build id, digest or note that is not UTF-8: ", error.what()));
  }
}

StatusOr<CheckpointManifest> parse_manifest(std::string_view who, std::string_view text) {
  const auto damaged = [&](std::string_view what) {
    return absl::DataLossError(
        cat("[checkpoint] ", who, ": got ", what, ", want a manifest; it is damaged or none"));
  };
  try {
    const json root = parse_shallow(text);
    if (!root.is_object() || root.value("format", json()) != kFormatName)
      return damaged(cat("JSON that does not say format ", kFormatName));
    // The version comes before the digest: how another version digests itself is its own matter.
    const json& version = root.at("format_version");
    if (version != kCheckpointFormat)
      return absl::FailedPreconditionError(
          cat("[checkpoint] ", who, ": got format ", version.dump(), ", want ", kCheckpointFormat));
    if (root.value(kSelfDigest, json()) != self_digest(root))
      return damaged("text that does not match its digest");
    if (!misfit(root).empty()) return damaged(misfit(root));
    return from_json(root);
  } catch (const json::exception& error) {
    return damaged(cat("text that does not read (", error.what(), ")"));
  }
}

}  // namespace rubato
