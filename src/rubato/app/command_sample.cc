// rubato sample RUN
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>

#include "rubato/app/command_support.h"
#include "rubato/lm/generate.h"
#include "rubato/lm/lm_workload.h"
#include "rubato/store/posix_file_system.h"
#include "rubato/text/manifest.h"
#include "rubato/text/tokenizer.h"

namespace rubato {
namespace {

struct SampleFlags {
  std::string run, prompt;
  std::vector<std::string> sets;
  int64_t tokens = 200;
  int64_t top_k = 0;
  SamplingOptions options{.temperature = 0.8, .top_k = {}, .seed = 1, .stop_token = {}};
};

StatusOr<int> sample(const SampleFlags& flags, Terminal& terminal) {
  PosixFileSystem files;
  RUBATO_ASSIGN_OR_RETURN(const OpenedCheckpoint opened, open_run(files, flags.run, flags.sets, 1));
  const auto* model = dynamic_cast<const LmWorkload*>(opened.workload.workload.get());
  if (model == nullptr) {
    return absl::InvalidArgumentError(cat("[sample] ", flags.run, ": got a ",
                                          opened.recipe.text("model.kind"),
                                          ", want a language model"));
  }
  const std::string path =
      join_path(opened.recipe.text("data.directory"), std::string(kTokenizerFile));
  RUBATO_ASSIGN_OR_RETURN(std::string bytes, files.read_file(path));
  RUBATO_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::from_model(std::move(bytes)));
  std::vector<int32_t> prompt = {Tokenizer::kBos};
  RUBATO_RETURN_IF_ERROR(tokenizer->encode(flags.prompt, prompt));
  SamplingOptions options = flags.options;
  if (flags.top_k > 0) options.top_k = flags.top_k;
  options.stop_token = Tokenizer::kEos;
  RUBATO_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens,
                          generate(model->config(), opened.theta, prompt, flags.tokens, options));
  terminal.out << flags.prompt << tokenizer->decode(tokens) << "\n";
  return kExitOk;
}

}  // namespace

void add_sample(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<SampleFlags>();
  CLI::App* command = app.add_subcommand("sample", "text from a run's newest checkpoint");
  command->add_option("run", flags->run, "run directory, or one of its checkpoints")->required();
  command->add_option("--prompt", flags->prompt, "what the text begins with");
  command->add_option("--tokens", flags->tokens, "at most this many new ones")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  command->add_option("--temperature", flags->options.temperature, "0: always the likeliest")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 100.0));
  command->add_option("--top-k", flags->top_k, "draw among so many likeliest; default: all")
      ->check(CLI::Range(1, 10'000'000));
  command->add_option("--seed", flags->options.seed, "of the draws")->capture_default_str();
  command->add_option("--set", flags->sets, "key=value, e.g. data.directory=other")
      ->allow_extra_args(false);
  command->footer("Example:\n  rubato sample runs/dn --prompt \"In the beginning\" --tokens 100");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return sample(*flags, terminal); };
  });
}

}  // namespace rubato
