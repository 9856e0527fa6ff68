// rubato export RUN
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>

#include "rubato/app/command_support.h"
#include "rubato/interchange/gguf_file.h"
#include "rubato/interchange/hf_directory.h"
#include "rubato/lm/lm_workload.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct ExportFlags {
  std::string run, format, out;
  std::string type = "f32";
  std::vector<std::string> sets;
};

StatusOr<int> export_model(const ExportFlags& flags, Terminal& terminal) {
  PosixFileSystem files;
  RUBATO_ASSIGN_OR_RETURN(const WeightType type, parse_weight_type(flags.type));
  RUBATO_ASSIGN_OR_RETURN(const OpenedCheckpoint opened, open_run(files, flags.run, flags.sets, 1));
  const auto* workload = dynamic_cast<const LmWorkload*>(opened.workload.workload.get());
  if (workload == nullptr) {
    return absl::InvalidArgumentError(cat("[export] ", flags.run, ": got a ",
                                          opened.recipe.text(kModelKind),
                                          ", want a language model"));
  }
  // RUN/checkpoints/step-N
  const std::string run = base_name(parent_path(parent_path(opened.checkpoint)));
  const PortableModel model{.name = cat(run, "-", base_name(opened.checkpoint)),
                            .config = workload->config(),
                            .params = opened.theta,
                            .tokenizer = &workload->dataset().tokenizer(),
                            .context_tokens = workload->tokens_per_sequence()};
  RUBATO_RETURN_IF_ERROR(flags.format == "hf" ? write_hf_directory(files, flags.out, model, type)
                                              : write_gguf(files, flags.out, model, type));
  terminal.out << cat(flags.out, ": ", opened.checkpoint, " as ", flags.format, " ", flags.type,
                      ", ", model.params.size(), " parameters, ", model.config.vocab, " pieces\n");
  return kExitOk;
}

}  // namespace

void add_export(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<ExportFlags>();
  CLI::App* command = app.add_subcommand("export", "a trained model for other programs");
  command->add_option("run", flags->run, "run directory, or one of its checkpoints")->required();
  command
      ->add_option("--format", flags->format,
                   "hf: a directory for transformers; gguf: a file for llama.cpp")
      ->required()
      ->check(CLI::IsMember({"hf", "gguf"}));
  command->add_option("--out", flags->out, "directory or file to make")->required();
  command->add_option("--type", flags->type, "of the matrices: f32, f16, q8_0 (gguf)")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "f16", "q8_0"}));
  command->add_option("--set", flags->sets, "key=value, e.g. data.directory=other")
      ->allow_extra_args(false);
  command->footer("Example:\n  rubato export runs/dn --format gguf --type f16 --out dn.gguf");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return export_model(*flags, terminal); };
  });
}

}  // namespace rubato
