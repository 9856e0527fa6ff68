#include "rubato/bench/generation_bench.h"

#include <algorithm>

#include "rubato/bench/timing.h"
#include "rubato/lm/arena.h"
#include "rubato/lm/engine.h"
#include "rubato/lm/generate.h"
#include "rubato/lm/kernels/decode.h"
#include "rubato/lm/team.h"

namespace rubato {
namespace {

// Seconds of the tokens in the second half of a sequence, whose contexts are long.
StatusOr<std::vector<double>> token_seconds(const EngineShape& shape, std::span<const float> params,
                                            int threads) {
  RUBATO_ASSIGN_OR_RETURN(
      const auto decoder,
      IncrementalDecoder::make(shape.model, params, shape.sequence_length, threads));
  std::vector<double> seconds;
  int32_t token = 1;
  for (int64_t t = 0; t < shape.sequence_length; ++t) {
    const double begin = now_s();
    const std::span<const float> logits = decoder->feed(token);
    if (2 * t >= shape.sequence_length) seconds.push_back(now_s() - begin);
    token = static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
  }
  return seconds;
}

// Seconds of one sum over `params`, shared by the team.
double sum_seconds(std::span<const float> params, Team& team) {
  std::vector<float> sums(static_cast<size_t>(team.size()));
  const auto n = static_cast<int64_t>(params.size()), members = static_cast<int64_t>(team.size());
  const double begin = now_s();
  team.run(team.size(), [&](int member) {
    const int64_t first = n * member / members, last = n * (member + 1) / members;
    sums[static_cast<size_t>(member)] = kernels::sum_of(last - first, params.data() + first);
  });
  return now_s() - begin;
}

StatusOr<double> full_pass_seconds(const EngineShape& shape, std::span<const float> params,
                                   int threads) {
  RUBATO_ASSIGN_OR_RETURN(const auto engine,
                          Engine::make({.model = shape.model,
                                        .sequence_length = shape.sequence_length / 2,
                                        .threads = threads,
                                        .backward = false}));
  const std::vector<int32_t> tokens(static_cast<size_t>(shape.sequence_length / 2 + 1), 1);
  std::vector<double> seconds;
  for (int i = 0; i < 5; ++i) {
    const double begin = now_s();
    double sum = 0;
    engine->add_losses(params, tokens, threads, sum);
    seconds.push_back(now_s() - begin);
  }
  return median(seconds);
}

StatusOr<GenerationRow> bench_shape(const EngineShape& shape, const EngineBenchOptions& options) {
  const Layout layout = model_layout(shape.model);
  RUBATO_RETURN_IF_ERROR(check_memory(layout.size() * static_cast<int64_t>(sizeof(float))));
  std::vector<float> params(static_cast<size_t>(layout.size()));
  initialise_model(shape.model, layout, 1, params);
  RUBATO_ASSIGN_OR_RETURN(const auto team, Team::make(options.threads));
  std::vector<double> tokens, sums;
  for (double begin = now_s(); now_s() - begin < options.seconds || tokens.empty();) {
    RUBATO_ASSIGN_OR_RETURN(const std::vector<double> some,
                            token_seconds(shape, params, options.threads));
    tokens.insert(tokens.end(), some.begin(), some.end());
    for (size_t i = 0; i < some.size(); ++i) sums.push_back(sum_seconds(params, *team));
  }
  GenerationRow row{.shape = shape.name, .threads = options.threads};
  row.tokens_per_s = 1 / median(tokens);
  RUBATO_ASSIGN_OR_RETURN(const double full, full_pass_seconds(shape, params, options.threads));
  row.full_pass_per_s = 1 / full;
  // Of the embedding one row is read, unless it is the head too.
  const int64_t read =
      shape.model.tied ? layout.size() : layout.size() - shape.model.vocab * shape.model.width;
  row.gb_per_s = static_cast<double>(read) * 4e-9 * row.tokens_per_s;
  row.limit_gb_per_s = static_cast<double>(layout.size()) * 4e-9 / median(sums);
  row.share_of_limit = row.gb_per_s / row.limit_gb_per_s;
  return row;
}

}  // namespace

StatusOr<std::vector<GenerationRow>> bench_generation(std::span<const EngineShape> shapes,
                                                      const EngineBenchOptions& options) {
  std::vector<GenerationRow> rows;
  for (const EngineShape& shape : shapes) {
    RUBATO_ASSIGN_OR_RETURN(GenerationRow row, bench_shape(shape, options));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace rubato
