// Text that must not be seen: it prints nowhere by accident, because whoever wants it has to say
// reveal(). Not a safe: the bytes lie in memory like any other text's.
#pragma once

#include <string>
#include <utility>

namespace rubato {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  const std::string& reveal() const { return text_; }

 private:
  std::string text_;
};

}  // namespace rubato
