// libFuzzer over tokenizer.model: the first byte says whether the rest is the file or is put behind
// the vocabulary of bytes, which adds pieces and overrides settings. A model that is taken keeps
// every text: decode(encode(x)) == x, in range, the same with and without remembered words.
#include <string>
#include <vector>

#include "tests/fuzz/fuzzing.h"

#include "rubato/text/byte_vocabulary.h"
#include "rubato/text/model_fields.h"
#include "rubato/text/tokenizer.h"

namespace rubato {
namespace {

void check_keeps(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> tokens, remembered;
  const Status status = tokenizer.encode(text, tokens);
  RUBATO_CHECK(status.ok(), status.message());
  RUBATO_CHECK(tokenizer.decode(tokens) == text, "got ", tokenizer.decode(tokens), " of ", text);
  CachedEncoder encoder(tokenizer);
  RUBATO_CHECK(encoder.encode(text, remembered).ok(), "words");
  RUBATO_CHECK(tokens == remembered, "other tokens for ", text);
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  if (size == 0) return 0;
  const std::string_view rest = as_text(data + 1, size - 1);
  std::string model = data[0] % 2 == 0 ? "" : byte_vocabulary_model();
  const std::string plain = without_dummy_prefix(model.append(rest));
  RUBATO_CHECK(without_dummy_prefix(plain) == plain, "a prefix was left");
  const auto tokenizer = Tokenizer::from_model(model);
  if (!tokenizer.ok()) {
    check_error(tokenizer.status(), "[tokenizer]");
    return 0;
  }
  // The input names its own pieces, so it is a text that uses them.
  for (const std::string_view text : {rest, std::string_view("the quick  brown\tfox\r\n\n \xFF")}) {
    check_keeps(**tokenizer, text);
  }
  return 0;
}
