// rubato import HFDIR --out DIR
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>

#include "rubato/app/program.h"
#include "rubato/interchange/hf_directory.h"
#include "rubato/interchange/hf_import.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct ImportFlags {
  std::string from, out;
};

StatusOr<int> import_model(const ImportFlags& flags, Terminal& terminal) {
  PosixFileSystem files;
  RUBATO_ASSIGN_OR_RETURN(const ImportedModel model, read_hf_directory(files, flags.from));
  RUBATO_RETURN_IF_ERROR(write_hf_directory(files, flags.out, model.portable(), WeightType::kF32));
  if (model.dropped_prefix) {
    terminal.err << "note: the tokenizer put a space in front of every text; the imported one does "
                    "not, as text is kept as it is here\n";
  }
  terminal.out << cat(flags.out, ": ", model.params.size(), " parameters, ",
                      model.config.model.vocab, " pieces\nnext:   ", terminal.program,
                      " prepare TEXT --tokenizer ", flags.out, " --out data\n        ",
                      terminal.program, " train RECIPE --init ", flags.out,
                      " --set data.directory=data\n");
  return kExitOk;
}

}  // namespace

void add_import(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<ImportFlags>();
  CLI::App* command =
      app.add_subcommand("import", "a Llama-style Hugging Face model to start from");
  command
      ->add_option("directory", flags->from,
                   "with config.json, tokenizer.model and safetensors of one file or several")
      ->required();
  command->add_option("--out", flags->out, "directory to make, for --init")->required();
  command->footer("Example:\n  rubato import models/tiny-llama --out models/start");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return import_model(*flags, terminal); };
  });
}

}  // namespace rubato
