// A bounded sample of a text of any length, for training a tokenizer: documents are cut into
// passages of a few kB, each gets a random priority from (seed, document, passage), and the
// passages of lowest priority that fit the budget are kept. Which are kept depends on nothing else,
// and memory never exceeds the budget by more than one passage.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

namespace rubato {

class TextSample {
 public:
  TextSample(uint64_t seed, int64_t bytes_max) : seed_(seed), bytes_max_(bytes_max) {}

  /// Documents are numbered by the caller, each number once.
  void add(int64_t document, std::string_view text);
  /// The passages of documents that `wanted` wants, in the order of the text. Empties the sample.
  std::vector<std::string> take(const std::function<bool(int64_t document)>& wanted);

 private:
  struct Passage {
    uint64_t priority = 0;
    int64_t document = 0;
    int64_t index = 0;  // within the document
    std::string text;
    friend bool operator<(const Passage& a, const Passage& b) {
      return a.priority != b.priority   ? a.priority < b.priority
             : a.document != b.document ? a.document < b.document
                                        : a.index < b.index;
    }
  };

  uint64_t seed_;
  int64_t bytes_max_;
  int64_t bytes_ = 0;
  std::priority_queue<Passage> kept_;  // worst on top
};

}  // namespace rubato
