#include "rubato/text/text_sample.h"

#include <algorithm>

#include "rubato/base/rng.h"

namespace rubato {

namespace {

/// The trainer sees passages as its sentences: long enough to hold runs of lines, short enough that
/// the sample is made of many places.
constexpr size_t kPassageBytes = 2048;

/// Where the passage that begins `text` ends: behind the first run of newlines from kPassageBytes
/// on, or, in text without lines, behind a character soon after.
size_t passage_end(std::string_view text) {
  if (text.size() <= kPassageBytes) return text.size();
  size_t end = text.find('\n', kPassageBytes);
  if (end != text.npos && end < 2 * kPassageBytes) {
    return std::min(text.size(), text.find_first_not_of('\n', end));
  }
  end = std::min(text.size(), 2 * kPassageBytes);
  while (end < text.size() && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) ++end;
  return end;
}

}  // namespace

void TextSample::add(int64_t document, std::string_view text) {
  for (int64_t index = 0; !text.empty(); ++index) {
    const size_t end = passage_end(text);
    Passage passage{mix_bits(seed_, static_cast<uint64_t>(document), static_cast<uint64_t>(index)),
                    document,
                    index,
                    {}};
    // A full sample takes in only what is better than its worst.
    if (bytes_ + static_cast<int64_t>(end) <= bytes_max_ ||
        (!kept_.empty() && passage < kept_.top())) {
      passage.text = text.substr(0, end);
      bytes_ += static_cast<int64_t>(end);
      kept_.push(std::move(passage));
    }
    while (bytes_ > bytes_max_) {
      bytes_ -= static_cast<int64_t>(kept_.top().text.size());
      kept_.pop();
    }
    text.remove_prefix(end);
  }
}

std::vector<std::string> TextSample::take(const std::function<bool(int64_t)>& wanted) {
  std::vector<Passage> passages;
  for (; !kept_.empty(); kept_.pop()) {
    if (wanted(kept_.top().document)) passages.push_back(kept_.top());
  }
  bytes_ = 0;
  std::sort(passages.begin(), passages.end(), [](const Passage& a, const Passage& b) {
    return a.document != b.document ? a.document < b.document : a.index < b.index;
  });
  std::vector<std::string> texts;
  for (Passage& passage : passages) texts.push_back(std::move(passage.text));
  return texts;
}

}  // namespace rubato
