#include "rubato/text/token_dataset.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "rubato/base/digest.h"
#include "rubato/store/file_system.h"
#include "rubato/store/posix_file_system.h"
#include "rubato/text/manifest.h"
#include "rubato/text/tokenizer.h"

namespace rubato {

static_assert(std::endian::native == std::endian::little, "shards are mapped as they lie on disk");

namespace {

/// Tokens of one shard file, mapped.
struct MappedShard {
  ShardEntry entry;
  FileView view;
};

template <class T>
uint32_t largest_of(std::string_view bytes) {
  T largest = 0;
  for (size_t i = 0; i < bytes.size(); i += sizeof(T)) {
    T token;
    std::memcpy(&token, bytes.data() + i, sizeof(T));
    largest = std::max(largest, token);
  }
  return largest;
}

template <class T>
void widen(std::string_view bytes, int64_t begin, std::span<int32_t> out) {
  const char* from = bytes.data() + begin * static_cast<int64_t>(sizeof(T));
  for (size_t i = 0; i < out.size(); ++i, from += sizeof(T)) {
    T token;
    std::memcpy(&token, from, sizeof(T));
    out[i] = static_cast<int32_t>(token);
  }
}

StatusOr<MappedShard> map_shard(FileSystem& files, const std::string& directory,
                                const TextManifest& manifest, const ShardEntry& entry) {
  MappedShard shard{entry, {}};
  const std::string path = join_path(directory, entry.file);
  RUBATO_ASSIGN_OR_RETURN(shard.view, files.map(path));
  const std::string_view bytes = shard.view.bytes;
  const int64_t want = entry.tokens * manifest.token_bytes();
  if (static_cast<int64_t>(bytes.size()) != want) {
    return absl::DataLossError(
        cat("[dataset] ", path, ": got ", bytes.size(), " bytes, want ", want, "; the file is ",
            static_cast<int64_t>(bytes.size()) < want ? "truncated" : "too long",
            ", prepare the text again"));
  }
  if (const std::string digest = digest_of(bytes); digest != entry.digest) {
    return absl::DataLossError(cat("[dataset] ", path, ": got digest ", digest, ", want ",
                                   entry.digest, "; the file is corrupt, prepare the text again"));
  }
  // The digest vouches for the bytes, not for whoever wrote them: a token out of range would be an
  // access out of range in every model.
  const uint32_t largest =
      manifest.token_bytes() == 2 ? largest_of<uint16_t>(bytes) : largest_of<uint32_t>(bytes);
  if (!bytes.empty() && static_cast<int64_t>(largest) >= manifest.vocab_size) {
    return absl::DataLossError(cat("[dataset] ", path, ": got token ", largest,
                                   ", want tokens below ", manifest.vocab_size));
  }
  return shard;
}

}  // namespace

struct TokenDataset::State {
  std::string directory;
  std::string digest;
  TextManifest manifest;
  std::unique_ptr<Tokenizer> tokenizer;
  std::vector<MappedShard> shards;
  MappedShard validation;

  void read(const MappedShard& shard, int64_t begin, std::span<int32_t> out) const {
    const auto size = static_cast<int64_t>(out.size());
    RUBATO_CHECK(begin >= 0 && begin <= shard.entry.tokens && size <= shard.entry.tokens - begin,
                 shard.entry.file, ": ", size, " tokens at ", begin, " of ", shard.entry.tokens);
    if (manifest.token_bytes() == 2) {
      widen<uint16_t>(shard.view.bytes, begin, out);
    } else {
      widen<uint32_t>(shard.view.bytes, begin, out);
    }
  }
  const MappedShard& shard(ShardId id) const {
    RUBATO_CHECK(id.value() >= 0 && id.value() < static_cast<int64_t>(shards.size()), "shard ", id,
                 " of ", shards.size());
    return shards[static_cast<size_t>(id.value())];
  }
};

StatusOr<std::unique_ptr<TokenDataset>> TokenDataset::open(const std::string& directory) {
  PosixFileSystem files;
  return open(files, directory);
}

StatusOr<std::unique_ptr<TokenDataset>> TokenDataset::open(FileSystem& files,
                                                           const std::string& directory) {
  const std::string manifest_path = join_path(directory, kManifestFile);
  if (!files.exists(manifest_path)) {
    return absl::NotFoundError(
        cat("[dataset] ", directory, ": got ",
            files.exists(directory) ? "a directory without " : "no directory, want one with ",
            kManifestFile, files.exists(directory) ? ", want prepared text" : "",
            "; make it with `rubato prepare TEXT --out ", directory, "`"));
  }
  auto state = std::make_unique<State>();
  state->directory = directory;
  RUBATO_ASSIGN_OR_RETURN(const std::string json, files.read_file(manifest_path));
  RUBATO_ASSIGN_OR_RETURN(state->manifest, parse_text_manifest(manifest_path, json));
  const TextManifest& manifest = state->manifest;

  const std::string tokenizer_path = join_path(directory, kTokenizerFile);
  RUBATO_ASSIGN_OR_RETURN(std::string model, files.read_file(tokenizer_path));
  if (const std::string digest = digest_of(model); digest != manifest.tokenizer_digest) {
    return absl::DataLossError(cat("[dataset] ", tokenizer_path, ": got digest ", digest, ", want ",
                                   manifest.tokenizer_digest,
                                   "; the file is corrupt, prepare the text again"));
  }
  auto tokenizer = Tokenizer::from_model(std::move(model));
  if (!tokenizer.ok()) return annotate(tokenizer.status(), tokenizer_path);
  state->tokenizer = std::move(tokenizer).value();
  if (state->tokenizer->vocab_size() != manifest.vocab_size) {
    return absl::DataLossError(cat("[dataset] ", tokenizer_path, ": got ",
                                   state->tokenizer->vocab_size(), " pieces, want ",
                                   manifest.vocab_size, " as in ", kManifestFile));
  }
  for (const ShardEntry& entry : manifest.shards) {
    RUBATO_ASSIGN_OR_RETURN(auto shard, map_shard(files, directory, manifest, entry));
    state->shards.push_back(std::move(shard));
  }
  RUBATO_ASSIGN_OR_RETURN(state->validation,
                          map_shard(files, directory, manifest, manifest.validation));
  state->digest = manifest.data_digest();
  return std::unique_ptr<TokenDataset>(new TokenDataset(std::move(state)));
}

TokenDataset::TokenDataset(std::unique_ptr<State> state) : state_(std::move(state)) {}
TokenDataset::~TokenDataset() = default;

int64_t TokenDataset::vocab_size() const { return state_->manifest.vocab_size; }
int64_t TokenDataset::num_shards() const { return static_cast<int64_t>(state_->shards.size()); }

std::vector<std::string> TokenDataset::shard_names() const {
  std::vector<std::string> names;
  for (const MappedShard& shard : state_->shards) names.push_back(shard.entry.name);
  return names;
}

int64_t TokenDataset::shard_tokens(ShardId shard) const {
  return state_->shard(shard).entry.tokens;
}
int64_t TokenDataset::validation_tokens() const { return state_->validation.entry.tokens; }
int64_t TokenDataset::validation_bytes() const { return state_->validation.entry.text_bytes; }

void TokenDataset::read_shard(ShardId shard, int64_t begin, std::span<int32_t> out) const {
  state_->read(state_->shard(shard), begin, out);
}
void TokenDataset::read_validation(int64_t begin, std::span<int32_t> out) const {
  state_->read(state_->validation, begin, out);
}

const std::string& TokenDataset::digest() const { return state_->digest; }
const std::string& TokenDataset::directory() const { return state_->directory; }
const std::string& TokenDataset::vocabulary_digest() const {
  return state_->manifest.tokenizer_digest;
}
const Tokenizer& TokenDataset::tokenizer() const { return *state_->tokenizer; }

}  // namespace rubato
