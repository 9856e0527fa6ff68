#include "rubato/app/sample_text.h"

#include "rubato/lm/lm_workload.h"
#include "rubato/text/tokenizer.h"

namespace rubato {

StatusOr<std::string> sample_text(const Recipe& recipe, const Workload& workload,
                                  std::span<const float> theta, const TextRequest& request) {
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
  RUBATO_ASSIGN_OR_RETURN(
      const std::vector<int32_t> tokens,
      generate(model->config(), theta, prompt, request.tokens, options, request.threads));
  return request.prompt + tokenizer.decode(tokens);
}

}  // namespace rubato
