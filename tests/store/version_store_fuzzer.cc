// libFuzzer over a published version. The first byte says what the rest is: a whole file, or the
// body of a header in front of some floats. What reads is published again as the same bytes; what
// is damaged is removed; a version can be published whatever lies there.
#include <vector>

#include "tests/fuzz/fuzzing.h"

#include "rubato/store/file_names.h"
#include "rubato/store/memory_file_system.h"
#include "rubato/store/version_store.h"

namespace rubato {
namespace {

constexpr char kRun[] = "run";
constexpr Version kVersion(3);
const std::vector<float> kValues{1, 2, 3};

void check(MemoryFileSystem& files, const std::string& path) {
  const std::string file = files.read_file(path).value();
  auto store = VersionStore::open(files, kRun, "layout");
  if (!store.ok()) return check_error(store.status(), path);
  const bool kept = !(*store)->list().empty();
  RUBATO_CHECK(kept == files.exists(path), "a file that nobody counts");
  if (kept) {
    const auto found = (*store)->read(kVersion).value();
    RUBATO_CHECK((*store)->bytes_used() == static_cast<int64_t>(file.size()), "another size");
    const std::vector<float> values(found.values.begin(), found.values.end());
    RUBATO_CHECK((*store)->retain({}).ok() && !files.exists(path), "it cannot be removed");
    RUBATO_CHECK((*store)->publish(kVersion, values).ok(), "it cannot be published");
    RUBATO_CHECK(files.read_file(path).value() == file, "the file changed");
  }
  RUBATO_CHECK((*store)->publish(kVersion, kValues).ok(), "nothing can be published");
  RUBATO_CHECK((*store)->read(kVersion)->values.size() == kValues.size(), "another version");
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  if (size == 0) return 0;
  const std::string_view rest = as_text(data + 1, size - 1);
  const std::string floats(12, '\1');
  MemoryFileSystem files;
  const std::string path = version_path(kRun, kVersion);
  RUBATO_CHECK(files.make_directories(versions_directory(kRun)).ok(), "a directory in memory");
  const std::string file = data[0] % 2 == 0
                               ? std::string(rest)
                               : cat(encode_header(kVersionFormat, rest.substr(0, 10'000)), floats);
  RUBATO_CHECK(files.replace_file(path, file).ok(), "a file in memory");
  check(files, path);
  return 0;
}
