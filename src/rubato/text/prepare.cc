#include "rubato/text/prepare.h"

#include <algorithm>

#include "rubato/base/digest.h"
#include "rubato/store/posix_file_system.h"
#include "rubato/text/document_reader.h"
#include "rubato/text/document_split.h"
#include "rubato/text/prepare_options.h"
#include "rubato/text/shard_writer.h"
#include "rubato/text/text_sample.h"
#include "rubato/text/token_dataset.h"
#include "rubato/text/tokenizer.h"

namespace rubato {

namespace {

/// [bytes] of text a tokenizer of so many pieces learns from, at most: pieces then differ little
/// from those of all the text (docs/formats.md has figures), and training takes about 0.6 s a MiB.
int64_t sample_bytes(int64_t vocab) {
  return std::clamp(vocab * 2048, int64_t{4} << 20, int64_t{20} << 20);
}

/// What the first reading finds out.
struct TextFacts {
  int64_t documents = 0;
  int64_t blank_documents = 0;
  int64_t bytes = 0;
  std::string digest;
};

/// OK when `directory` is free; the manifest of prepared text when it holds that; AlreadyExists for
/// anything else.
StatusOr<std::optional<TextManifest>> existing_manifest(FileSystem& files,
                                                        const std::string& directory) {
  if (!files.exists(directory)) return std::optional<TextManifest>();
  const auto entries = files.list(directory);
  if (entries.ok() && entries->empty()) return std::optional<TextManifest>();
  const std::string path = join_path(directory, kManifestFile);
  if (entries.ok() && files.exists(path)) {
    RUBATO_ASSIGN_OR_RETURN(const std::string json, files.read_file(path));
    auto manifest = parse_text_manifest(path, json);
    if (manifest.ok()) return std::optional<TextManifest>(std::move(manifest).value());
  }
  return absl::AlreadyExistsError(cat("[prepare] ", directory, ": got ",
                                      entries.ok() ? "a directory with other content" : "a file",
                                      ", want a new or empty directory"));
}

/// One preparation: its steps share the options and the reader.
class Preparation {
 public:
  Preparation(FileSystem& files, const PrepareOptions& options, const PrepareCallback& progress)
      : files_(files),
        options_(options),
        progress_(progress),
        sample_(options.seed, sample_bytes(options.vocab.value_or(0))) {}

  StatusOr<PrepareSummary> run();

 private:
  Status tell(PrepareStage stage);
  Status read_all();
  Status check_split() const;
  Status take_tokenizer();
  StatusOr<std::unique_ptr<Tokenizer>> learn_tokenizer();
  Status write(const std::string& directory, const Tokenizer& tokenizer);
  Status write_shards(std::vector<ShardWriter>& writers, const Tokenizer& tokenizer);
  StatusOr<PrepareSummary> reuse(const TextManifest& existing);
  PrepareSummary summary() const;
  int64_t num_shards() const {
    return options_.split == "iid" ? options_.shards.value_or(1)
                                   : static_cast<int64_t>(options_.inputs.size());
  }
  ValidationSplit split() const {
    return {options_.seed, options_.validation_fraction, facts_.documents};
  }

  FileSystem& files_;
  const PrepareOptions& options_;
  const PrepareCallback& progress_;
  std::unique_ptr<DocumentReader> reader_;
  TextSample sample_;
  TextFacts facts_;
  TextManifest manifest_;
  std::unique_ptr<Tokenizer> given_tokenizer_;  // unless one is to be learned
};

Status Preparation::tell(PrepareStage stage) {
  if (!progress_) return absl::OkStatus();
  const int64_t done = stage == PrepareStage::kLearning ? 0 : reader_->disk_bytes_read();
  return progress_({stage, done, reader_->disk_bytes_total()});
}

Status Preparation::read_all() {
  Digester digester;
  Document document;
  while (true) {
    RUBATO_RETURN_IF_ERROR(tell(PrepareStage::kReading));
    RUBATO_ASSIGN_OR_RETURN(const bool more, reader_->next(document));
    if (!more) break;
    if (options_.vocab) sample_.add(facts_.documents, document.text);
    ++facts_.documents;
    facts_.bytes += static_cast<int64_t>(document.text.size());
    // Source and length keep documents apart within the stream of bytes.
    digester.update(cat(document.source, " ", document.text.size(), "\n"));
    digester.update(document.text);
  }
  facts_.blank_documents = reader_->blank_documents();
  facts_.digest = digester.hex();
  return absl::OkStatus();
}

Status Preparation::check_split() const {
  if (options_.validation_fraction > 0 && facts_.documents < 2) {
    return absl::InvalidArgumentError(
        "[prepare] got 1 document, want 2 or more to hold some back for validation; give more text "
        "or validation fraction 0");
  }
  int64_t training = 0;
  const ValidationSplit validation = split();
  for (int64_t document = 0; document < facts_.documents; ++document) {
    if (!validation.is_validation(document)) ++training;
  }
  if (training < num_shards()) {
    return absl::InvalidArgumentError(cat("[prepare] got ", training,
                                          " documents for training, want at least ", num_shards(),
                                          ", one a shard; give more text or fewer shards"));
  }
  return absl::OkStatus();
}

Status Preparation::take_tokenizer() {
  if (options_.vocab) return absl::OkStatus();
  if (options_.tokenizer.empty()) {
    RUBATO_ASSIGN_OR_RETURN(given_tokenizer_, Tokenizer::bytes());
    return absl::OkStatus();
  }
  const std::string within = join_path(options_.tokenizer, kTokenizerFile);
  const std::string path = files_.exists(within) ? within : options_.tokenizer;
  RUBATO_ASSIGN_OR_RETURN(std::string model, files_.read_file(path));
  StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::from_model(std::move(model));
  RUBATO_RETURN_IF_ERROR(annotate(tokenizer.status(), path));
  given_tokenizer_ = *std::move(tokenizer);
  return absl::OkStatus();
}

StatusOr<std::unique_ptr<Tokenizer>> Preparation::learn_tokenizer() {
  RUBATO_RETURN_IF_ERROR(tell(PrepareStage::kLearning));
  const ValidationSplit validation = split();
  const auto passages =
      sample_.take([&](int64_t document) { return !validation.is_validation(document); });
  return Tokenizer::train(passages, *options_.vocab);
}

Status Preparation::write_shards(std::vector<ShardWriter>& writers, const Tokenizer& tokenizer) {
  const ValidationSplit validation = split();
  ShardDealer dealer(options_.seed, num_shards(), facts_.bytes / facts_.documents);
  CachedEncoder encoder(tokenizer);
  Document document;
  std::vector<int32_t> tokens;
  reader_->rewind();
  for (int64_t index = 0;; ++index) {
    RUBATO_RETURN_IF_ERROR(tell(PrepareStage::kEncoding));
    RUBATO_ASSIGN_OR_RETURN(const bool more, reader_->next(document));
    if (!more) return absl::OkStatus();
    const auto bytes = static_cast<int64_t>(document.text.size());
    tokens.assign(1, Tokenizer::kBos);
    RUBATO_RETURN_IF_ERROR(encoder.encode(document.text, tokens));
    int64_t shard = num_shards();  // the last writer is validation's
    if (!validation.is_validation(index)) {
      shard = options_.split == "iid" ? dealer.deal(index, bytes) : document.source;
    }
    RUBATO_RETURN_IF_ERROR(writers[static_cast<size_t>(shard)].add(tokens, bytes));
  }
}

Status Preparation::write(const std::string& directory, const Tokenizer& tokenizer) {
  // What an interrupted run left is worth nothing.
  RUBATO_RETURN_IF_ERROR(files_.remove_tree(directory));
  RUBATO_RETURN_IF_ERROR(files_.make_directories(directory));
  RUBATO_RETURN_IF_ERROR(
      files_.replace_file(join_path(directory, kTokenizerFile), tokenizer.model()));
  manifest_.vocab_size = tokenizer.vocab_size();
  manifest_.tokenizer_digest = digest_of(tokenizer.model());

  std::vector<ShardWriter> writers;
  for (int64_t shard = 0; shard <= num_shards(); ++shard) {
    const bool is_validation = shard == num_shards();
    std::string number = cat(shard);
    number.insert(0, number.size() < 3 ? 3 - number.size() : 0, '0');
    std::string name = is_validation             ? "validation"
                       : options_.split == "iid" ? number
                                                 : manifest_.sources[static_cast<size_t>(shard)];
    std::string file = is_validation ? "validation.tokens" : cat("shard-", number, ".tokens");
    RUBATO_ASSIGN_OR_RETURN(auto writer,
                            ShardWriter::create(files_, directory, std::move(name), std::move(file),
                                                manifest_.token_bytes()));
    writers.push_back(std::move(writer));
  }
  RUBATO_RETURN_IF_ERROR(write_shards(writers, tokenizer));
  for (ShardWriter& writer : writers) {
    RUBATO_ASSIGN_OR_RETURN(ShardEntry entry, writer.finish());
    const bool is_validation = &writer == &writers.back();
    if (entry.documents == 0 && !is_validation) {
      return absl::InvalidArgumentError(cat("[prepare] shard ", entry.name,
                                            ": got no document for training, want one or more; "
                                            "give more text or a smaller validation fraction"));
    }
    (is_validation ? manifest_.validation : manifest_.shards.emplace_back()) = std::move(entry);
  }
  return files_.replace_file(join_path(directory, kManifestFile), to_json(manifest_));
}

PrepareSummary Preparation::summary() const {
  PrepareSummary summary;
  summary.manifest = manifest_;
  summary.documents = facts_.documents;
  summary.blank_documents = facts_.blank_documents;
  summary.text_bytes = facts_.bytes;
  summary.tokens = manifest_.validation.tokens;
  for (const ShardEntry& shard : manifest_.shards) summary.tokens += shard.tokens;
  return summary;
}

StatusOr<PrepareSummary> Preparation::reuse(const TextManifest& existing) {
  const TextManifest& want = manifest_;
  const bool same_tokenizer = given_tokenizer_ == nullptr ||
                              existing.tokenizer_digest == digest_of(given_tokenizer_->model());
  const bool same =
      same_tokenizer && existing.split == want.split && existing.vocab == want.vocab &&
      existing.validation_fraction == want.validation_fraction && existing.seed == want.seed &&
      existing.sources == want.sources && existing.text_digest == want.text_digest &&
      static_cast<int64_t>(existing.shards.size()) == num_shards();
  if (!same) {
    return absl::AlreadyExistsError(
        cat("[prepare] ", options_.out_dir,
            ": got text that was prepared from other text or with other options, want a new or "
            "empty directory; choose another or remove it"));
  }
  RUBATO_RETURN_IF_ERROR(TokenDataset::open(files_, options_.out_dir).status());
  manifest_ = existing;
  PrepareSummary found = summary();
  found.reused = true;
  return found;
}

StatusOr<PrepareSummary> Preparation::run() {
  RUBATO_RETURN_IF_ERROR(check_prepare_options(options_));
  RUBATO_RETURN_IF_ERROR(take_tokenizer());
  RUBATO_ASSIGN_OR_RETURN(const auto existing, existing_manifest(files_, options_.out_dir));
  RUBATO_ASSIGN_OR_RETURN(reader_, DocumentReader::open(files_, options_.inputs));
  RUBATO_RETURN_IF_ERROR(read_all());
  RUBATO_RETURN_IF_ERROR(check_split());
  manifest_.split = options_.split;
  manifest_.vocab = options_.vocab;
  manifest_.validation_fraction = options_.validation_fraction;
  manifest_.seed = options_.seed;
  manifest_.sources = source_names(options_.inputs);
  manifest_.text_digest = facts_.digest;
  if (existing) return reuse(*existing);

  std::unique_ptr<Tokenizer> tokenizer = std::move(given_tokenizer_);
  if (tokenizer == nullptr) {
    RUBATO_ASSIGN_OR_RETURN(tokenizer, learn_tokenizer());
  }
  std::string out_dir = options_.out_dir;
  while (out_dir.size() > 1 && out_dir.ends_with('/')) out_dir.pop_back();
  const std::string partial = out_dir + ".partial";
  Status status = write(partial, *tokenizer);
  if (status.ok()) status = files_.rename(partial, out_dir);
  if (status.ok()) status = files_.sync_directory(parent_path(out_dir));
  if (!status.ok()) {
    // The first error is the one to tell; a directory that cannot be removed is replaced next time.
    files_.remove_tree(partial).IgnoreError();
    return status;
  }
  return summary();
}

}  // namespace

StatusOr<PrepareSummary> prepare_text(const PrepareOptions& options,
                                      const PrepareCallback& progress) {
  PosixFileSystem files;
  return prepare_text(files, options, progress);
}

StatusOr<PrepareSummary> prepare_text(FileSystem& files, const PrepareOptions& options,
                                      const PrepareCallback& progress) {
  return Preparation(files, options, progress).run();
}

}  // namespace rubato
