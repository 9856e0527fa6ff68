// libFuzzer over manifest.json of prepared text: what reads keeps its values when it is written
// again and is the same data to a recipe; errors name the file.
#include <string>

#include "tests/fuzz/fuzzing.h"
#include "tests/fuzz/json_values.h"
#include <nlohmann/json.hpp>

#include "rubato/text/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  using Json = nlohmann::ordered_json;
  const std::string_view text = as_text(data, size);
  const auto manifest = parse_text_manifest("/data/manifest.json", text);
  if (!manifest.ok()) {
    check_error(manifest.status(), "/data/manifest.json");
    return 0;
  }
  const std::string written = to_json(*manifest);
  check_values_kept(Json::parse(text), Json::parse(written));
  const auto again = parse_text_manifest("again", written);
  RUBATO_CHECK(again.ok(), "a manifest that was written does not read: ", again.status().message());
  RUBATO_CHECK(to_json(*again) == written, "the manifest changed");
  RUBATO_CHECK(again->data_digest() == manifest->data_digest(), "other data");
  return 0;
}
