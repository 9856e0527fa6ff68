#include "rubato/text/prepare_options.h"

#include <algorithm>
#include <filesystem>

#include "rubato/store/file_system.h"

namespace rubato {

namespace {

/// 256 bytes, 3 specials and one piece to learn, up to more than any model here could use.
constexpr int64_t kVocabMin = 260, kVocabMax = 1'000'000;

/// With `.`, `..` and double slashes resolved as text, and one slash at the end.
std::string lexical_path(const std::string& path) {
  std::string normal = (std::filesystem::path(path) / "").lexically_normal().string();
  return normal == "./" ? "" : normal;
}

}  // namespace

std::vector<std::string> source_names(const std::vector<std::string>& inputs) {
  std::vector<std::string> names;
  for (std::string path : inputs) {
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    std::string name = base_name(path);
    for (const std::string_view ending : {".gz", ".zst", ".txt", ".jsonl"}) {
      if (name.size() > ending.size() && name.ends_with(ending)) {
        name.resize(name.size() - ending.size());
      }
    }
    std::string unique = name;
    for (int copy = 2; std::find(names.begin(), names.end(), unique) != names.end(); ++copy) {
      unique = cat(name, "-", copy);
    }
    names.push_back(unique);
  }
  return names;
}

Status check_prepare_options(const PrepareOptions& options) {
  if (options.vocab && (*options.vocab < kVocabMin || *options.vocab > kVocabMax)) {
    return absl::InvalidArgumentError(cat("[prepare] got a vocabulary of ", *options.vocab,
                                          " pieces, want ", kVocabMin, " to ", kVocabMax,
                                          "; 256 bytes and 3 specials are always among them"));
  }
  if (options.vocab && !options.tokenizer.empty()) {
    return absl::InvalidArgumentError(cat("[prepare] got a vocabulary to learn and tokenizer ",
                                          options.tokenizer, ", want one of them"));
  }
  if (options.split != "iid" && options.split != "by-source") {
    return absl::InvalidArgumentError(
        cat("[prepare] got split ", options.split, ", want iid or by-source"));
  }
  if (options.shards && *options.shards < 1) {
    return absl::InvalidArgumentError(
        cat("[prepare] got ", *options.shards, " shards, want 1 or more"));
  }
  const auto inputs = static_cast<int64_t>(options.inputs.size());
  if (options.split == "by-source" && options.shards.value_or(inputs) != inputs) {
    return absl::InvalidArgumentError(cat("[prepare] got ", *options.shards, " shards by source, ",
                                          "want ", inputs, " as there are sources; leave it out"));
  }
  if (!(options.validation_fraction >= 0 && options.validation_fraction <= 0.5)) {
    return absl::InvalidArgumentError(
        cat("[prepare] got validation fraction ", options.validation_fraction, ", want 0 to 0.5"));
  }
  if (options.out_dir.empty()) {
    return absl::InvalidArgumentError("[prepare] got no output directory, want one");
  }
  const std::string out = lexical_path(options.out_dir);
  for (const std::string& input : options.inputs) {
    // The next run would read what this one wrote.
    if (out.starts_with(lexical_path(input))) {
      return absl::InvalidArgumentError(cat("[prepare] got output directory ", options.out_dir,
                                            " within input ", input, ", want it elsewhere"));
    }
  }
  return absl::OkStatus();
}

}  // namespace rubato
