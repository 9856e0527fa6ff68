#include "rubato/app/sample_text.h"

#include "rubato/lm/lm_workload.h"
#include "rubato/text/tokenizer.h"
#include "rubato/text/utf8.h"

namespace rubato {
namespace {

// Tokens come as text in whole characters: one of several bytes may be several tokens.
class TextStream {
 public:
  explicit TextStream(const TextCallback& on_text) : on_text_(on_text) {}

  void add(std::string_view bytes) {
    held_ += bytes;
    const size_t valid = valid_utf8_prefix(held_);
    const bool may_become_one = is_incomplete_utf8(std::string_view(held_).substr(valid));
    give(may_become_one ? valid : held_.size());
  }
  void finish() { give(held_.size()); }

 private:
  void give(size_t size) {
    if (on_text_ && size > 0) on_text_(std::string_view(held_).substr(0, size));
    held_.erase(0, size);
  }

  const TextCallback& on_text_;
  std::string held_;
};

}  // namespace

StatusOr<std::string> sample_text(const Recipe& recipe, const Workload& workload,
                                  std::span<const float> theta, const TextRequest& request,
                                  const TextCallback& on_text) {
  const auto* model = dynamic_cast<const LmWorkload*>(&workload);
  if (model == nullptr) {
    return absl::InvalidArgumentError(
        cat("[sample] got a ", recipe.text("model.kind"), ", want a language model"));
  }
  const Tokenizer& tokenizer = model->dataset().tokenizer();
  std::vector<int32_t> prompt = {Tokenizer::kBos};
  RUBATO_RETURN_IF_ERROR(tokenizer.encode(request.prompt, prompt));
  SamplingOptions options = request.options;
  options.stop_token = Tokenizer::kEos;
  TextStream stream(on_text);
  stream.add(request.prompt);
  const auto on_token = [&](int32_t token) {
    stream.add(tokenizer.bytes_of(token));
    return absl::OkStatus();
  };
  RUBATO_ASSIGN_OR_RETURN(
      const std::vector<int32_t> tokens,
      generate(model->config(), theta, prompt, request.tokens, options, request.threads, on_token));
  stream.finish();
  return request.prompt + tokenizer.decode(tokens);
}

}  // namespace rubato
