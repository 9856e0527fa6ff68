// rubato invite DIR, rubato workers DIR
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>

#include "rubato/app/command_support.h"
#include "rubato/rpc/admission.h"
#include "rubato/rpc/authority.h"
#include "rubato/rpc/join_string.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

struct InviteFlags {
  std::string directory, label;
  std::vector<std::string> addresses;
  double hours = 24;
  int count = 1;
};

StatusOr<std::vector<Address>> coordinator_addresses(FileSystem& files, const InviteFlags& flags) {
  std::vector<Address> addresses;
  for (const std::string& text : flags.addresses) {
    RUBATO_ASSIGN_OR_RETURN(addresses.emplace_back(), parse_address(text));
  }
  if (!addresses.empty()) return addresses;
  const std::string path = join_path(flags.directory, "address");
  if (!files.exists(path)) {
    return absl::NotFoundError(cat("[invite] ", flags.directory,
                                   ": got no coordinator's directory, want one that `rubato "
                                   "coordinator --out` made; or name --address"));
  }
  RUBATO_ASSIGN_OR_RETURN(std::string text, files.read_file(path));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  RUBATO_ASSIGN_OR_RETURN(const Address address, parse_address(text));
  if (address.host == "0.0.0.0" || address.host == "::") {
    return absl::InvalidArgumentError(
        cat("[invite] got a coordinator that listens at every address, want the one that workers "
            "reach: --address HOST:",
            address.port));
  }
  return std::vector<Address>{address};
}

StatusOr<int> invite(const InviteFlags& flags, Terminal& terminal) {
  PosixFileSystem files;
  RUBATO_ASSIGN_OR_RETURN(const std::vector<Address> addresses,
                          coordinator_addresses(files, flags));
  RUBATO_ASSIGN_OR_RETURN(const Authority authority,
                          Authority::create_or_load(files, flags.directory, unix_now_s()));
  RUBATO_ASSIGN_OR_RETURN(const auto admission, Admission::open(files, flags.directory));
  for (int i = 0; i < flags.count; ++i) {
    RUBATO_ASSIGN_OR_RETURN(
        const Admission::Invited invited,
        admission->invite(unix_now_s(), static_cast<int64_t>(flags.hours * 3600), flags.label));
    const JoinString join{addresses, authority.fingerprint(), invited.secret};
    RUBATO_ASSIGN_OR_RETURN(const std::string text, join.text());
    terminal.out << text << "\n";
  }
  terminal.err << "rubato: each opens the door once, within " << flags.hours
               << " h; on the worker: rubato worker JOIN-STRING" << std::endl;
  return kExitOk;
}

struct WorkersFlags {
  std::string directory;
  std::vector<int64_t> revoke;
};

StatusOr<int> workers(const WorkersFlags& flags, Terminal& terminal) {
  PosixFileSystem files;
  if (!files.exists(join_path(flags.directory, "admission.json"))) {
    return absl::NotFoundError(cat("[workers] ", flags.directory,
                                   ": got no coordinator's directory, want one that `rubato "
                                   "coordinator --out` made"));
  }
  RUBATO_ASSIGN_OR_RETURN(const auto admission, Admission::open(files, flags.directory));
  for (const int64_t worker : flags.revoke) {
    RUBATO_RETURN_IF_ERROR(admission->revoke(WorkerId(worker)));
  }
  const auto table = admission->list();
  for (const AdmittedWorker& worker : table->workers) {
    terminal.out << "worker " << worker.id << (worker.revoked ? "  revoked" : "") << "  "
                 << worker.label << "\n";
  }
  if (table->workers.empty()) terminal.out << "no worker has joined yet\n";
  return kExitOk;
}

}  // namespace

void add_invite(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<InviteFlags>();
  CLI::App* command = app.add_subcommand("invite", "a join string for a new worker");
  command->add_option("directory", flags->directory, "run directory of the coordinator")
      ->required();
  command->add_option("--address", flags->addresses,
                      "HOST:PORT where workers reach it; default: where it listens; repeatable");
  command->add_option("--hours", flags->hours, "the string ends after")
      ->check(number_in(0.01, 8760));
  command->add_option("--label", flags->label, "name for rubato workers");
  command->add_option("--count", flags->count, "so many strings")->check(CLI::Range(1, 10000));
  command->footer("Example:\n  rubato invite runs/demo-cluster --address my.machine:7461");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return invite(*flags, terminal); };
  });
}

void add_workers(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<WorkersFlags>();
  CLI::App* command = app.add_subcommand("workers", "who has joined a cluster; revoke a worker");
  command->add_option("directory", flags->directory, "run directory of the coordinator")
      ->required();
  command->add_option("--revoke", flags->revoke, "shut this worker out for good; repeatable");
  command->footer("Example:\n  rubato workers runs/demo-cluster --revoke 3");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return workers(*flags, terminal); };
  });
}

}  // namespace rubato
