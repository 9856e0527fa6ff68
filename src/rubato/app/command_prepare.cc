// rubato prepare TEXT... --out DIR
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>

#include "rubato/app/command_support.h"
#include "rubato/text/prepare.h"

namespace rubato {
namespace {

struct PrepareFlags {
  PrepareOptions options;
  int64_t vocab = 0, shards = 0;
};

std::string_view stage_name(PrepareStage stage) {
  switch (stage) {
    case PrepareStage::kReading:
      return "reading";
    case PrepareStage::kLearning:
      return "learning the vocabulary";
    case PrepareStage::kEncoding:
      return "encoding";
  }
  return "";
}

// One line a stage; on a terminal also the share that is done.
class StageLines {
 public:
  explicit StageLines(Terminal& terminal) : terminal_(terminal) {
    if (terminal.watch_interrupts) interrupted_ = terminal.watch_interrupts();
  }
  Status operator()(const PrepareProgress& progress) {
    if (interrupted_ != nullptr && interrupted_->load()) {
      return absl::CancelledError("[prepare] interrupted; nothing was written");
    }
    const int64_t percent =
        progress.bytes_total > 0 ? 100 * progress.bytes_done / progress.bytes_total : 0;
    if (progress.stage == stage_ && (!terminal_.interactive || percent == percent_)) return {};
    stage_ = progress.stage;
    percent_ = percent;
    terminal_.err << (terminal_.interactive ? "\r\x1b[K" : "") << stage_name(progress.stage);
    if (terminal_.interactive) terminal_.err << " " << percent << " %" << std::flush;
    if (!terminal_.interactive) terminal_.err << std::endl;
    return {};
  }
  void finish() {
    if (terminal_.interactive) terminal_.err << "\r\x1b[K" << std::flush;
  }

 private:
  Terminal& terminal_;
  const std::atomic<bool>* interrupted_ = nullptr;
  std::optional<PrepareStage> stage_;
  int64_t percent_ = 0;
};

StatusOr<int> prepare(const PrepareFlags& flags, Terminal& terminal) {
  PrepareOptions options = flags.options;
  if (flags.vocab > 0) options.vocab = flags.vocab;
  if (flags.shards > 0) options.shards = flags.shards;
  StageLines lines(terminal);
  const StatusOr<PrepareSummary> summary =
      prepare_text(options, [&](const PrepareProgress& progress) { return lines(progress); });
  lines.finish();
  if (absl::IsCancelled(summary.status())) {
    terminal.err << "rubato: interrupted; nothing was written" << std::endl;
    return kExitInterrupted;
  }
  RUBATO_RETURN_IF_ERROR(summary.status());
  terminal.out << cat(summary->reused ? "unchanged: " : "", options.out_dir, ": ", summary->tokens,
                      " tokens of ", summary->manifest.vocab_size, " in ",
                      summary->manifest.shards.size(), " shards, ", summary->documents,
                      " documents, ", summary->text_bytes, " bytes, ", summary->bytes_per_token(),
                      " bytes a token, digest ", summary->manifest.data_digest(), "\n");
  return kExitOk;
}

}  // namespace

void add_prepare(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<PrepareFlags>();
  CLI::App* command = app.add_subcommand("prepare", "text to a tokenizer and token shards");
  PrepareOptions& options = flags->options;
  command->add_option("text", options.inputs, "files or directories: text, .gz, .zst, .jsonl")
      ->required();
  command->add_option("--out", options.out_dir, "directory of the shards")->required();
  command->add_option("--vocab", flags->vocab, "pieces of a BPE to learn; default: bytes")
      ->check(CLI::Range(260, 1'000'000));
  command->add_option("--tokenizer", options.tokenizer,
                      "take this model's: a tokenizer.model, or a directory with one");
  command->add_option("--shards", flags->shards, "default: 1, or one a source")
      ->check(CLI::Range(1, 65536));
  command->add_option("--split", options.split, "iid, or by-source: a shard a source")
      ->capture_default_str()
      ->check(CLI::IsMember({"iid", "by-source"}));
  command->add_option("--validation", options.validation_fraction, "share of the documents")
      ->capture_default_str()
      ->check(number_in(0.0, 0.5));
  command->add_option("--seed", options.seed, "of split and sample")
      ->capture_default_str()
      ->check(seed_range());
  command->footer("Example:\n  rubato prepare novels/*.txt --out data --vocab 512 --shards 4");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return prepare(*flags, terminal); };
  });
}

}  // namespace rubato
