// The toy task as a workload: initial parameters, shards, evaluation.
#include "rubato/lm/toy_classifier.h"

#include <algorithm>
#include <cmath>
#include <new>

#include "rubato/base/parallel.h"
#include "rubato/base/rng.h"
#include "rubato/lm/gemm.h"
#include "rubato/lm/toy_trainer.h"

namespace rubato {
namespace {

constexpr int64_t kEvalChunk = 250;  // points that a thread evaluates at a time

struct Score {
  double loss = 0;  // sum over the points
  int64_t correct = 0;
};

// Evaluates points [begin, end) of the evaluation set; slices are summed in order.
Score score_chunk(const ToyWorkload& workload, const float* params, int64_t begin, int64_t end) {
  const SingleThreadedGemm single;
  const ToyShape& shape = workload.shape();
  const ToyData& data = workload.data();
  const int64_t size = end - begin;
  const std::span<const int64_t> points = data.eval_indices().subspan(begin, size);
  std::vector<float> x;
  for (int64_t point : points) {
    const std::span<const float> values = data.point(point);
    x.insert(x.end(), values.begin(), values.end());
  }
  std::vector<float> activations(size * kToySliceUnits), part(size * kToyClasses);
  std::vector<double> logits(size * kToyClasses);
  for (int64_t i = 0; i < size * kToyClasses; ++i)
    logits[i] = params[shape.output_bias() + i % kToyClasses];
  for (int64_t slice = 0; slice < shape.num_slices(); ++slice) {
    toy_forward(shape, shape.slice(slice), params, x.data(), size, activations.data(), part.data());
    for (int64_t i = 0; i < size * kToyClasses; ++i) logits[i] += part[i];
  }
  Score score;
  for (int64_t b = 0; b < size; ++b) {
    const std::span<const double, kToyClasses> row(logits.data() + b * kToyClasses, kToyClasses);
    const int64_t label = data.label(points[b]);
    score.loss += toy_cross_entropy(row, label, 1.0, nullptr);
    score.correct += std::max_element(row.begin(), row.end()) - row.begin() == label;
  }
  return score;
}

}  // namespace

StatusOr<std::unique_ptr<ToyWorkload>> ToyWorkload::make(
    const ToyOptions& options, std::shared_ptr<const InnerOptimizer> optimizer, int threads) {
  if (optimizer == nullptr)
    return absl::InvalidArgumentError("[toy] got no inner optimizer, want one");
  const Layout layout = ToyShape{options.data.inputs, options.hidden}.layout();
  if (std::ranges::any_of(layout.tensors(), [&](const TensorSpec& tensor) {
        return optimizer->takes_whole(tensor);
      })) {
    return absl::InvalidArgumentError(
        "[toy] got an inner optimizer of whole matrices, want one of single elements (adamw, sgd): "
        "the toy's gradients are made slice by slice");
  }
  if (options.hidden < 1)
    return absl::InvalidArgumentError(cat("[toy] hidden: got ", options.hidden, ", want >= 1"));
  if (options.shards < 1 || options.shards > options.data.points) {
    return absl::InvalidArgumentError(cat("[toy] shards: got ", options.shards, ", want 1 to ",
                                          options.data.points, ", the number of points"));
  }
  RUBATO_ASSIGN_OR_RETURN(ToyData data, ToyData::make(options.data, threads));
  return std::unique_ptr<ToyWorkload>(
      new ToyWorkload(options, std::move(optimizer), std::move(data)));
}

ToyWorkload::ToyWorkload(const ToyOptions& options, std::shared_ptr<const InnerOptimizer> optimizer,
                         ToyData data)
    : options_(options),
      optimizer_(std::move(optimizer)),
      data_(std::move(data)),
      shape_{options.data.inputs, options.hidden},
      layout_(shape_.layout()) {}

void ToyWorkload::initialise(uint64_t seed, std::span<float> params) const {
  RUBATO_CHECK(static_cast<int64_t>(params.size()) == layout_.size());
  for (size_t t = 0; t < layout_.tensors().size(); ++t) {
    const TensorSpec& tensor = layout_.tensors()[t];
    const bool first_layer = tensor.offset < shape_.output_weight(0, 0);
    const int64_t fan_in = first_layer ? shape_.inputs : shape_.hidden;
    const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
    Rng draws(seed, RngStream::kParameters, t);
    for (float& value : params.subspan(tensor.offset, tensor.size))
      value = static_cast<float>(bound * (2 * draws.uniform() - 1));
  }
}

int64_t ToyWorkload::shard_begin(int64_t shard) const {
  return options_.data.points * shard / options_.shards;
}

std::vector<int64_t> ToyWorkload::shard_sequences() const {
  std::vector<int64_t> sizes;
  for (int64_t shard = 0; shard < options_.shards; ++shard)
    sizes.push_back(shard_begin(shard + 1) - shard_begin(shard));
  return sizes;
}

int64_t ToyWorkload::point_of(SequenceRef sequence) const {
  const int64_t shard = sequence.shard.value();
  RUBATO_CHECK(shard >= 0 && shard < options_.shards, "shard ", shard);
  const int64_t point = shard_begin(shard) + sequence.index;
  RUBATO_CHECK(sequence.index >= 0 && point < shard_begin(shard + 1), "sequence ", sequence.index,
               " of shard ", shard);
  return point;
}

StatusOr<std::unique_ptr<Trainer>> ToyWorkload::make_trainer(int64_t max_batch, int threads) const {
  if (max_batch < 1 || threads < 1) {
    return absl::InvalidArgumentError(
        cat("[toy] got batch ", max_batch, " and ", threads, " threads, want at least 1 of each"));
  }
  try {
    return std::make_unique<ToyTrainer>(*this, max_batch, threads);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(cat("[toy] got no memory for a trainer, want ",
                                            ToyTrainer::bytes_needed(*this, max_batch, threads),
                                            " bytes; fewer hidden units or a smaller batch"));
  }
}

StatusOr<EvalResult> ToyWorkload::evaluate(std::span<const float> params, int threads) const {
  RUBATO_CHECK(static_cast<int64_t>(params.size()) == layout_.size());
  const int64_t total = static_cast<int64_t>(data_.eval_indices().size());
  std::vector<Score> scores((total + kEvalChunk - 1) / kEvalChunk);
  ThreadPool pool(threads);
  pool.for_each(static_cast<int64_t>(scores.size()), [&](int64_t chunk) {
    scores[chunk] = score_chunk(*this, params.data(), chunk * kEvalChunk,
                                std::min(total, (chunk + 1) * kEvalChunk));
  });
  Score sum;
  for (const Score& score : scores) {
    sum.loss += score.loss;
    sum.correct += score.correct;
  }
  const double size = static_cast<double>(total);
  return EvalResult{.loss_nats = sum.loss / size,
                    .accuracy = static_cast<double>(sum.correct) / size,
                    .tokens = total};
}

double ToyWorkload::flops_per_token() const {
  // Forward and weight gradient of both layers, and the gradient of the activations; nobody needs
  // that of the inputs.
  const int64_t macs = shape_.hidden * (2 * shape_.inputs + 3 * kToyClasses);
  return 2.0 * static_cast<double>(macs);
}

}  // namespace rubato
