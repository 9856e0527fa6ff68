// libFuzzer over config.json of a Llama-style model: what reads is written again and reads as the
// same; errors name the file.
#include <string>

#include "tests/fuzz/fuzzing.h"

#include "rubato/interchange/llama_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  const auto config = parse_llama_config("/hf/config.json", as_text(data, size));
  if (!config.ok()) {
    check_error(config.status(), "/hf/config.json");
    return 0;
  }
  const auto again = parse_llama_config("again", to_json(*config));
  RUBATO_CHECK(again.ok(), "a config that was written does not read: ", again.status().message());
  RUBATO_CHECK(again->model == config->model, "another model");
  RUBATO_CHECK(again->context_tokens == config->context_tokens, "another context");
  return 0;
}
