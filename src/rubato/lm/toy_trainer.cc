// One local step of the toy task.
#include "rubato/lm/toy_trainer.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "rubato/base/float_env.h"
#include "rubato/lm/gemm.h"

namespace rubato {

ToyTrainer::ToyTrainer(const ToyWorkload& workload, int64_t max_batch, int threads)
    : workload_(workload),
      shape_(workload.shape()),
      max_batch_(max_batch),
      x_(max_batch * shape_.inputs),
      labels_(max_batch),
      activations_(max_batch * shape_.hidden),
      partial_logits_(shape_.num_slices() * max_batch * kToyClasses),
      logits_gradient_(max_batch * kToyClasses),
      bias_gradient_(kToyClasses),
      squares_(shape_.num_slices()),
      scratch_(threads) {
  if (threads > 1) pool_.emplace(threads);
  if (workload.optimizer().clip_norm() > 0) {
    gradient_.resize(workload.layout().size());
    return;
  }
  for (Scratch& scratch : scratch_) {
    scratch.hidden_weight.resize(kToySliceUnits * shape_.inputs);
    scratch.hidden_bias.resize(kToySliceUnits);
    scratch.output_weight.resize(kToySliceUnits * kToyClasses);
  }
}

int64_t ToyTrainer::bytes_needed(const ToyWorkload& workload, int64_t max_batch, int threads) {
  const ToyShape& shape = workload.shape();
  const int64_t floats = max_batch * (shape.inputs + shape.hidden) +
                         shape.num_slices() * max_batch * kToyClasses +
                         (workload.optimizer().clip_norm() > 0
                              ? workload.layout().size()
                              : threads * kToySliceUnits * (shape.inputs + 1 + kToyClasses));
  return floats * static_cast<int64_t>(sizeof(float));
}

StepResult ToyTrainer::step(std::span<float> params, InnerState& state,
                            std::span<const SequenceRef> batch, double lr, int threads) {
  RUBATO_CHECK(static_cast<int64_t>(params.size()) == workload_.layout().size());
  load(batch);
  for_each_slice(threads, [&](const ToySlice& slice, Scratch&) {
    toy_forward(shape_, slice, params.data(), x_.data(), batch_,
                activations_.data() + batch_ * slice.begin,
                partial_logits_.data() + slice.index * batch_ * kToyClasses);
  });
  StepResult result{.loss = loss_and_logits_gradient(params), .tokens = batch_};
  if (!std::isfinite(result.loss)) return result;

  ++state.steps;
  const InnerOptimizer& optimizer = workload_.optimizer();
  const bool clips = !gradient_.empty();
  Update how{1.0F, lr, state, params};
  for_each_slice(threads, [&](const ToySlice& slice, Scratch& scratch) {
    const ToyGradient place = place_of(slice, scratch);
    squares_[slice.index] = backward(slice, params, place);
    if (!clips) update(slice, place, how);
  });
  double squares = output_bias_gradient();
  for (double of_slice : squares_) squares += of_slice;
  result.grad_norm = std::sqrt(squares);
  if (clips) {
    how.scale = static_cast<float>(clip_factor(result.grad_norm, optimizer.clip_norm()));
    for_each_slice(threads, [&](const ToySlice& slice, Scratch& scratch) {
      update(slice, place_of(slice, scratch), how);
    });
  }
  optimizer.update_range(TensorRole::kBias, shape_.output_bias(), bias_gradient_, how.scale, lr,
                         state, params);
  return result;
}

void ToyTrainer::load(std::span<const SequenceRef> batch) {
  batch_ = static_cast<int64_t>(batch.size());
  RUBATO_CHECK(batch_ >= 1 && batch_ <= max_batch_, "batch of ", batch_, ", made for ", max_batch_);
  for (int64_t b = 0; b < batch_; ++b) {
    const int64_t point = workload_.point_of(batch[b]);
    std::ranges::copy(workload_.data().point(point), x_.begin() + b * shape_.inputs);
    labels_[b] = workload_.data().label(point);
  }
}

void ToyTrainer::for_each_slice(int threads,
                                const std::function<void(const ToySlice&, Scratch&)>& body) {
  std::atomic<int64_t> next{0};
  const auto drain = [&](int64_t thread) {
    const SingleThreadedGemm single;
    for (int64_t i = next++; i < shape_.num_slices(); i = next++)
      body(shape_.slice(i), scratch_[thread]);
  };
  const int64_t used = std::min(
      {static_cast<int64_t>(threads), shape_.num_slices(), static_cast<int64_t>(scratch_.size())});
  if (used > 1) {
    pool_->for_each(used, drain);
  } else {
    flush_denormals();
    drain(0);
  }
}

double ToyTrainer::loss_and_logits_gradient(std::span<const float> params) {
  const double weight = 1.0 / static_cast<double>(batch_);
  double loss = 0;
  for (int64_t b = 0; b < batch_; ++b) {
    double logits[kToyClasses];
    for (int64_t c = 0; c < kToyClasses; ++c) {
      logits[c] = params[shape_.output_bias() + c];
      for (int64_t slice = 0; slice < shape_.num_slices(); ++slice)
        logits[c] += partial_logits_[(slice * batch_ + b) * kToyClasses + c];
    }
    loss += toy_cross_entropy(logits, labels_[b], weight, &logits_gradient_[b * kToyClasses]);
  }
  return loss * weight;
}

// Fills the gradient of b2; its sum of squares.
double ToyTrainer::output_bias_gradient() {
  std::ranges::fill(bias_gradient_, 0.0F);
  for (int64_t b = 0; b < batch_; ++b) {
    for (int64_t c = 0; c < kToyClasses; ++c)
      bias_gradient_[c] += logits_gradient_[b * kToyClasses + c];
  }
  return toy_sum_of_squares(bias_gradient_);
}

ToyGradient ToyTrainer::place_of(const ToySlice& slice, Scratch& scratch) {
  if (gradient_.empty()) {
    return {scratch.hidden_weight.data(), scratch.hidden_bias.data(), scratch.output_weight.data(),
            kToySliceUnits};
  }
  float* flat = gradient_.data();
  return {flat + shape_.hidden_weight(slice.begin), flat + shape_.hidden_bias(slice.begin),
          flat + shape_.output_weight(0, slice.begin), shape_.hidden};
}

double ToyTrainer::backward(const ToySlice& slice, std::span<const float> params,
                            const ToyGradient& out) {
  toy_backward(shape_, slice, params.data(), x_.data(), batch_, logits_gradient_.data(),
               activations_.data() + batch_ * slice.begin, out);
  double squares = toy_sum_of_squares({out.hidden_weight, size_t(slice.units * shape_.inputs)});
  squares += toy_sum_of_squares({out.hidden_bias, size_t(slice.units)});
  for (int64_t c = 0; c < kToyClasses; ++c)
    squares += toy_sum_of_squares({out.output_weight + c * out.output_stride, size_t(slice.units)});
  return squares;
}

void ToyTrainer::update(const ToySlice& slice, const ToyGradient& gradient,
                        const Update& how) const {
  const auto range = [&](TensorRole role, int64_t offset, const float* values, int64_t size) {
    workload_.optimizer().update_range(role, offset, {values, size_t(size)}, how.scale, how.lr,
                                       how.state, how.params);
  };
  range(TensorRole::kMatrix, shape_.hidden_weight(slice.begin), gradient.hidden_weight,
        slice.units * shape_.inputs);
  range(TensorRole::kBias, shape_.hidden_bias(slice.begin), gradient.hidden_bias, slice.units);
  for (int64_t c = 0; c < kToyClasses; ++c)
    range(TensorRole::kMatrix, shape_.output_weight(c, slice.begin),
          gradient.output_weight + c * gradient.output_stride, slice.units);
}

}  // namespace rubato
