// What must be known of a sentencepiece model before the library may see it. The library (0.1.97)
// follows the offsets inside a model's table of characters to rewrite wherever they lead, and its
// models other than BPE lose text where a piece holds a NUL.
#pragma once

#include <string>
#include <string_view>

namespace rubato {

/// A serialised model whose fields can be told apart, which says that it is a BPE and whose
/// normalizer and denormalizer rewrite no characters. It need not be a good model otherwise.
bool is_plain_bpe(std::string_view model);

/// The same model, but that it puts no space in front of a text; its very bytes when it did not, or
/// when its fields cannot be told apart.
std::string without_dummy_prefix(std::string_view model);

}  // namespace rubato
