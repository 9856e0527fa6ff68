#include "rubato/text/manifest.h"

#include <nlohmann/json.hpp>

#include "rubato/base/digest.h"

namespace rubato {

namespace {

using Json = nlohmann::ordered_json;
constexpr std::string_view kFormat = "rubato-token-shards";

Json entry_to_json(const ShardEntry& entry) {
  return {{"name", entry.name},
          {"file", entry.file},
          {"tokens", entry.tokens},
          {"documents", entry.documents},
          {"text_bytes", entry.text_bytes},
          {"digest", entry.digest}};
}

/// Reads fields and keeps the first complaint, so that reading code has no branches.
class FieldReader {
 public:
  explicit FieldReader(std::string_view path) : path_(path) {}

  std::string text(const Json& object, const char* name) {
    const Json* field = find(object, name);
    if (field != nullptr && field->is_string()) return field->get<std::string>();
    complain(name, "text");
    return "";
  }
  /// >= 0.
  int64_t count(const Json& object, const char* name) {
    const Json* field = find(object, name);
    if (field != nullptr && field->is_number_integer() &&
        (!field->is_number_unsigned() || field->get<uint64_t>() <= INT64_MAX) &&
        field->get<int64_t>() >= 0) {
      return field->get<int64_t>();
    }
    complain(name, "an integer >= 0");
    return 0;
  }
  uint64_t seed(const Json& object, const char* name) {
    const Json* field = find(object, name);
    if (field != nullptr && field->is_number_unsigned()) return field->get<uint64_t>();
    complain(name, "an integer >= 0");
    return 0;
  }
  double real(const Json& object, const char* name) {
    const Json* field = find(object, name);
    if (field != nullptr && field->is_number()) return field->get<double>();
    complain(name, "a number");
    return 0;
  }
  const Json& part(const Json& object, const char* name, bool array) {
    static const Json kNothing;
    const Json* field = find(object, name);
    if (field != nullptr && (array ? field->is_array() : field->is_object())) return *field;
    complain(name, array ? "a list" : "an object");
    return kNothing;
  }
  void complain(std::string_view name, std::string_view want) {
    if (status_.ok()) {
      status_ = absl::DataLossError(cat("[dataset] ", path_, ": got no good \"", name, "\", want ",
                                        want, "; prepare the text again"));
    }
  }
  const Status& status() const { return status_; }

 private:
  static const Json* find(const Json& object, const char* name) {
    if (!object.is_object()) return nullptr;
    const auto at = object.find(name);
    return at == object.end() ? nullptr : &*at;
  }
  std::string path_;
  Status status_;
};

ShardEntry read_entry(FieldReader& read, const Json& json) {
  ShardEntry entry;
  entry.name = read.text(json, "name");
  entry.file = read.text(json, "file");
  entry.digest = read.text(json, "digest");
  entry.tokens = read.count(json, "tokens");
  entry.documents = read.count(json, "documents");
  entry.text_bytes = read.count(json, "text_bytes");
  // A manifest names files beside it and nothing else on this machine.
  if (entry.file.empty() || entry.file[0] == '.' || entry.file.find('/') != std::string::npos) {
    read.complain("file", "the name of a file beside the manifest");
  }
  // Keeps sizes in bytes within int64.
  if (entry.tokens > INT64_MAX / 8) read.complain("tokens", "a size that a disk can hold");
  return entry;
}

}  // namespace

std::string TextManifest::data_digest() const {
  std::string parts =
      cat(kFormat, " ", kTokenShardsVersion, " ", vocab_size, " ", tokenizer_digest);
  for (const ShardEntry& shard : shards) parts += cat(" ", shard.tokens, " ", shard.digest);
  return digest_of(cat(parts, " validation ", validation.tokens, " ", validation.digest));
}

std::string to_json(const TextManifest& manifest) {
  Json shards = Json::array();
  for (const ShardEntry& shard : manifest.shards) shards.push_back(entry_to_json(shard));
  const Json json = {
      {"format", kFormat},
      {"format_version", kTokenShardsVersion},
      {"vocab_size", manifest.vocab_size},
      {"token_bytes", manifest.token_bytes()},
      {"tokenizer", {{"file", kTokenizerFile}, {"digest", manifest.tokenizer_digest}}},
      {"shards", std::move(shards)},
      {"validation", entry_to_json(manifest.validation)},
      {"options",
       {{"split", manifest.split},
        {"vocab", manifest.vocab ? Json(*manifest.vocab) : Json(nullptr)},
        {"validation_fraction", manifest.validation_fraction},
        {"seed", manifest.seed},
        {"sources", manifest.sources}}},
      {"text_digest", manifest.text_digest},
  };
  // A source named in bytes that are not UTF-8 must not throw.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

StatusOr<TextManifest> parse_text_manifest(std::string_view path, std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  FieldReader read(path);
  if (json.is_discarded() || read.text(json, "format") != kFormat) {
    return absl::DataLossError(cat("[dataset] ", path, ": got another kind of file, want a ",
                                   kFormat, " manifest; prepare the text again"));
  }
  const int64_t version = read.count(json, "format_version");
  if (read.status().ok() && version != kTokenShardsVersion) {
    return absl::FailedPreconditionError(cat("[dataset] ", path, ": got ", kFormat, " version ",
                                             version, ", want ", kTokenShardsVersion,
                                             "; prepare the text again with this program"));
  }
  TextManifest manifest;
  manifest.vocab_size = read.count(json, "vocab_size");
  if (manifest.vocab_size < 3 || manifest.vocab_size > INT32_MAX) {
    read.complain("vocab_size", "3 to 2^31 - 1");
  }
  if (read.count(json, "token_bytes") != manifest.token_bytes()) {
    read.complain("token_bytes", cat(manifest.token_bytes()));
  }
  const Json& tokenizer = read.part(json, "tokenizer", false);
  if (read.text(tokenizer, "file") != kTokenizerFile) read.complain("file", kTokenizerFile);
  manifest.tokenizer_digest = read.text(tokenizer, "digest");
  for (const Json& shard : read.part(json, "shards", true)) {
    manifest.shards.push_back(read_entry(read, shard));
  }
  if (manifest.shards.empty()) read.complain("shards", "one or more");
  manifest.validation = read_entry(read, read.part(json, "validation", false));
  const Json& options = read.part(json, "options", false);
  manifest.split = read.text(options, "split");
  if (!options.is_object() || !options.contains("vocab") || !options.at("vocab").is_null()) {
    manifest.vocab = read.count(options, "vocab");
  }
  manifest.validation_fraction = read.real(options, "validation_fraction");
  manifest.seed = read.seed(options, "seed");
  for (const Json& source : read.part(options, "sources", true)) {
    if (!source.is_string()) {
      read.complain("sources", "names");
      break;
    }
    manifest.sources.push_back(source.get<std::string>());
  }
  manifest.text_digest = read.text(json, "text_digest");
  if (!read.status().ok()) return read.status();
  return manifest;
}

}  // namespace rubato
