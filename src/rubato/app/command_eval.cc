// rubato eval RUN
#include <cmath>
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "rubato/app/command_support.h"
#include "rubato/lm/lm_workload.h"
#include "rubato/lm/score.h"
#include "rubato/store/posix_file_system.h"
#include "rubato/text/tokenizer.h"
#include "rubato/text/utf8.h"

namespace rubato {
namespace {

struct EvalFlags : TrainingFlags {
  std::string text;  // a file to measure instead of the validation text
};

// A file as one document: its loss in windows of the recipe's sequence length.
StatusOr<EvalResult> evaluate_file(FileSystem& files, const OpenedCheckpoint& opened,
                                   const std::string& path, int threads) {
  const auto* model = dynamic_cast<const LmWorkload*>(opened.workload.workload.get());
  if (model == nullptr) {
    return absl::InvalidArgumentError(cat("[eval] got a ", opened.recipe.text("model.kind"),
                                          ", want a language model for --text"));
  }
  RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(path));
  if (const size_t valid = valid_utf8_prefix(text); valid < text.size()) {
    return absl::InvalidArgumentError(
        cat("[eval] ", path, ": got no UTF-8 at byte ", valid, ", want UTF-8 text"));
  }
  std::vector<int32_t> tokens = {Tokenizer::kBos};
  RUBATO_RETURN_IF_ERROR(model->dataset().tokenizer().encode(text, tokens));
  StatusOr<EvalResult> scored =
      score_tokens(model->config(), opened.theta, tokens, model->tokens_per_sequence(), threads);
  RUBATO_RETURN_IF_ERROR(annotate(scored.status(), path));
  EvalResult result = *std::move(scored);
  result.bits_per_byte = result.loss_nats * static_cast<double>(result.tokens) / std::log(2.0) /
                         static_cast<double>(text.size());
  return result;
}

StatusOr<int> eval(const EvalFlags& flags, Terminal& terminal) {
  PosixFileSystem files;
  const int threads = thread_count(flags.threads);
  RUBATO_ASSIGN_OR_RETURN(const OpenedCheckpoint opened,
                          open_run(files, flags.recipe, flags.sets, threads));
  RUBATO_ASSIGN_OR_RETURN(const EvalResult result,
                          flags.text.empty()
                              ? opened.workload.workload->evaluate(opened.theta, threads)
                              : evaluate_file(files, opened, flags.text, threads));
  const double perplexity = std::exp(result.loss_nats);
  terminal.out << cat("checkpoint  ", opened.checkpoint, "\nloss        ", result.loss_nats,
                      " nats\nperplexity  ", perplexity, "\ntokens      ", result.tokens, "\n");
  if (result.bits_per_byte > 0) terminal.out << cat("bits/byte   ", result.bits_per_byte, "\n");
  if (result.accuracy > 0) terminal.out << cat("accuracy    ", result.accuracy, "\n");
  if (flags.json) {
    const nlohmann::ordered_json json = {{"schema_version", kSummarySchemaVersion},
                                         {"checkpoint", opened.checkpoint},
                                         {"data_digest", opened.workload.data_digest},
                                         {"val_loss_nats", result.loss_nats},
                                         {"val_perplexity", perplexity},
                                         {"val_bits_per_byte", result.bits_per_byte},
                                         {"val_accuracy", result.accuracy},
                                         {"tokens", result.tokens}};
    terminal.out << json.dump() << "\n";
  }
  return kExitOk;
}

}  // namespace

void add_eval(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command =
      app.add_subcommand("eval", "perplexity of a run's newest checkpoint on validation text");
  command->add_option("run", flags->recipe, "run directory, or one of its checkpoints")->required();
  command->add_option("--text", flags->text, "a file to measure instead, as one document");
  command->add_option("--set", flags->sets, "key=value, e.g. data.directory=other")
      ->allow_extra_args(false);
  command->add_option("--threads", flags->threads, "0: all cores")->check(CLI::Range(0, 1024));
  command->add_flag("--json", flags->json, "one JSON object as the last line");
  command->footer("Example:\n  rubato eval runs/dn --set eval.sequences=1000");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return eval(*flags, terminal); };
  });
}

}  // namespace rubato
