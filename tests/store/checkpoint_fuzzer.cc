// libFuzzer over a checkpoint: the first byte says whether the rest is a manifest, a manifest
// without its digest of itself, or a state or model file that the manifest vouches for. What reads
// is written again and reads as the same; errors name the file or directory.
#include <string>

#include "tests/fuzz/fuzzing.h"
#include "tests/fuzz/json_values.h"
#include "tests/store/tiny_run.h"
#include <nlohmann/json.hpp>

#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

using nlohmann::json;

constexpr char kDirectory[] = "/run/checkpoints/step-7";
constexpr char kManifest[] = "/run/checkpoints/step-7/manifest.json";

void put(FileSystem& files, const std::string& path, std::string_view bytes) {
  RUBATO_CHECK(files.replace_file(path, bytes).ok(), "a file in memory");
}

void write_tiny_run(FileSystem& files) {
  RUBATO_CHECK(TinyRun::at(7).write(files, "/run").ok(), "a checkpoint in memory");
}

/// The bytes of everything in a run but its step.
StateImage image_of(TinyRun& run) {
  StateImage image;
  StateSaver saver(image);
  saver.plane("theta", run.theta);
  run.walk_state(saver);
  return image;
}

void check_manifest(MemoryFileSystem& files, const std::string& text) {
  put(files, kManifest, text);
  const auto opened = open_checkpoint(files, kDirectory);
  RUBATO_CHECK(list_checkpoints(files, "/run").ok(), "a damaged checkpoint hides the others");
  const auto manifest = parse_manifest(kManifest, text);
  RUBATO_CHECK(opened.ok() == manifest.ok(), "two readers disagree");
  if (!manifest.ok()) return check_error(manifest.status(), kManifest);
  const auto encoded = encode_manifest(*manifest);
  RUBATO_CHECK(encoded.ok(), "a manifest that was read cannot be written");
  check_values_kept(json::parse(text), json::parse(*encoded), {"manifest_digest"});
  const auto again = parse_manifest("again", *encoded);
  RUBATO_CHECK(again.ok(), "a manifest that was written does not read");
  RUBATO_CHECK(encode_manifest(*again).value() == *encoded, "the manifest changed");
}

/// The text with a right digest of itself, or as it is when it is no object.
std::string with_digest(std::string_view text) {
  json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return std::string(text);
  root.erase("manifest_digest");
  root["manifest_digest"] = digest_of(root.dump());
  return root.dump();
}

void check_file(MemoryFileSystem& files, const std::string& name, std::string_view bytes) {
  auto manifest = parse_manifest(kManifest, files.read_file(kManifest).value()).value();
  manifest.files[name] = {static_cast<int64_t>(bytes.size()), digest_of(bytes)};
  put(files, kManifest, encode_manifest(manifest).value());
  put(files, join_path(kDirectory, name), bytes);

  auto run = TinyRun::read(files, kDirectory);
  if (!run.ok()) return check_error(run.status(), join_path(kDirectory, name));
  RUBATO_CHECK(run->write(files, "/again").ok(), "a run that was read cannot be written");
  auto again = TinyRun::read(files, "/again/checkpoints/step-7");
  RUBATO_CHECK(again.ok(), "a run that was written does not read");
  RUBATO_CHECK(image_of(*run) == image_of(*again), "the run changed");
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  if (size == 0) return 0;
  const std::string_view rest = as_text(data + 1, size - 1);
  MemoryFileSystem files;
  write_tiny_run(files);
  switch (data[0] % 4) {
    case 0:
      check_manifest(files, std::string(rest));
      break;
    case 1:
      check_manifest(files, with_digest(rest));
      break;
    case 2:
      check_file(files, "state.safetensors", rest);
      break;
    default:
      check_file(files, "model.safetensors", rest);
  }
  return 0;
}
