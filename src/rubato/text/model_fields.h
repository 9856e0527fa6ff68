// What must be known of a sentencepiece model before the library may see it. The library follows
// the offsets inside a model's table of characters to rewrite wherever they lead (0.1.97), and a
// model that keeps text has no such table.
#pragma once

#include <string_view>

namespace rubato {

/// A serialised model whose fields can be told apart and whose normalizer and denormalizer rewrite
/// no characters. It need not be a good model otherwise.
bool is_without_rewriting(std::string_view model);

}  // namespace rubato
