// rubato eval RUN
#include <cmath>
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "rubato/app/command_support.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

StatusOr<int> eval(const TrainingFlags& flags, Terminal& terminal) {
  PosixFileSystem files;
  const int threads = thread_count(flags);
  RUBATO_ASSIGN_OR_RETURN(const OpenedCheckpoint opened,
                          open_run(files, flags.recipe, flags.sets, threads));
  RUBATO_ASSIGN_OR_RETURN(const EvalResult result,
                          opened.workload.workload->evaluate(opened.theta, threads));
  const double perplexity = std::exp(result.loss_nats);
  terminal.out << cat("checkpoint  ", opened.checkpoint, "\nloss        ", result.loss_nats,
                      " nats\nperplexity  ", perplexity, "\n");
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
  auto flags = std::make_shared<TrainingFlags>();
  CLI::App* command =
      app.add_subcommand("eval", "perplexity of a run's newest checkpoint on validation text");
  command->add_option("run", flags->recipe, "run directory, or one of its checkpoints")->required();
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
