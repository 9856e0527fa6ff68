// libFuzzer over cluster.json: what reads is a run with a name, and opens as the same again; errors
// are one line that names the file or its directory.
#include "tests/fuzz/fuzzing.h"

#include "rubato/rpc/run_identity.h"
#include "rubato/rpc/wire.h"
#include "rubato/store/memory_file_system.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  MemoryFileSystem files;
  RUBATO_CHECK(files.make_directories("/run").ok() &&
                   files.replace_file("/run/cluster.json", as_text(data, size)).ok(),
               "files");
  const auto identity = open_run_identity(files, "/run", {"recipe", "data", "layout"});
  if (!identity.ok()) {
    check_error(identity.status(), "/run");
    return 0;
  }
  RUBATO_CHECK(check_digest("", "", identity->run).ok() && identity->incarnation >= 0, "no name");
  RUBATO_CHECK(*files.read_file("/run/cluster.json") == as_text(data, size), "it was written to");
  return 0;
}
