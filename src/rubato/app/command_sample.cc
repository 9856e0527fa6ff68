// rubato sample RUN
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>

#include "rubato/app/command_support.h"
#include "rubato/app/sample_text.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct SampleFlags {
  std::string run;
  std::vector<std::string> sets, prompts;
  int64_t top_k = 0;
  double top_p = 1;
  int threads = 0;
  TextRequest request;
};

StatusOr<int> sample(const SampleFlags& flags, Terminal& terminal) {
  PosixFileSystem files;
  RUBATO_ASSIGN_OR_RETURN(const OpenedCheckpoint opened, open_run(files, flags.run, flags.sets, 1));
  TextRequest request = flags.request;
  request.threads = thread_count(flags.threads);
  if (flags.top_k > 0) request.options.top_k = flags.top_k;
  if (flags.top_p < 1) request.options.top_p = flags.top_p;
  const auto print = [&](std::string_view piece) { terminal.out << piece << std::flush; };
  std::vector<std::string> prompts = flags.prompts;
  if (prompts.empty()) prompts.emplace_back();
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (i > 0) terminal.out << "\n";
    request.prompt = prompts[i];
    const StatusOr<std::string> text =
        sample_text(opened.recipe, *opened.workload.workload, opened.theta, request, print);
    RUBATO_RETURN_IF_ERROR(annotate(text.status(), flags.run));
    terminal.out << "\n";
    ++request.options.seed;
  }
  return kExitOk;
}

}  // namespace

void add_sample(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<SampleFlags>();
  CLI::App* command = app.add_subcommand("sample", "text from a run's newest checkpoint");
  command->add_option("run", flags->run, "run directory, or one of its checkpoints")->required();
  command
      ->add_option("--prompt", flags->prompts,
                   "what the text begins with; again for another text, with the next seed")
      ->allow_extra_args(false);
  command->add_option("--tokens", flags->request.tokens, "at most this many new ones")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  command
      ->add_option("--temperature", flags->request.options.temperature, "0: always the likeliest")
      ->capture_default_str()
      ->check(number_in(0.0, 100.0));
  command->add_option("--top-k", flags->top_k, "draw among so many likeliest; default: all")
      ->check(CLI::Range(1, 10'000'000));
  command->add_option("--top-p", flags->top_p, "draw among the fewest likeliest with this share")
      ->capture_default_str()
      ->check(number_in(1e-6, 1.0));
  command->add_option("--seed", flags->request.options.seed, "of the draws")
      ->capture_default_str()
      ->check(seed_range());
  command->add_option("--threads", flags->threads, "0: all cores; never changes the text")
      ->check(CLI::Range(0, 1024));
  command->add_option("--set", flags->sets, "key=value, e.g. data.directory=other")
      ->allow_extra_args(false);
  command->footer("Example:\n  rubato sample runs/dn --prompt \"In the beginning\" --tokens 100");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return sample(*flags, terminal); };
  });
}

}  // namespace rubato
