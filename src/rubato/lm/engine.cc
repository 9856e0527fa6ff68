#include "rubato/lm/engine.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "rubato/base/flat_ops.h"
#include "rubato/lm/gemm.h"
#include "rubato/lm/kernels/streams.h"

namespace rubato {
namespace {

// Rows that go through the model together. More rows read and write the lane's gradient less often
// and pack each weight for more work; fewer stay in the caches. At width 896 256 rows are as good
// (docs/engine.md).
constexpr int64_t kMicrobatchRows = 512;

int64_t pieces(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

// First of `count` things that belong to `part` of `parts`; the last part ends where all end.
int64_t part_begin(int64_t count, int64_t part, int64_t parts) {
  return pieces(count * part, parts);
}

Status check_options(const EngineOptions& options) {
  RUBATO_RETURN_IF_ERROR(validate(options.model));
  RUBATO_RETURN_IF_ERROR(check_products(options.products));
  if (options.sequence_length < 1 || options.max_batch < 1 || options.lanes < 1 ||
      options.threads < 1) {
    return absl::InvalidArgumentError(cat(
        "[engine] got sequence_length ", options.sequence_length, ", max_batch ", options.max_batch,
        ", lanes ", options.lanes, ", threads ", options.threads, ", want at least 1 of each"));
  }
  return absl::OkStatus();
}

}  // namespace

Engine::Engine(const EngineOptions& options)
    : options_(options),
      layout_(model_layout(options.model)),
      offsets_(options.model, layout_),
      microbatch_(std::max<int64_t>(kMicrobatchRows / options.sequence_length, 1)),
      blocks_(pieces(layout_.size(), kBlockFloats)),
      clocks_(static_cast<size_t>(options.threads)) {
  if (options_.optimizer != nullptr) pieces_ = options_.optimizer->pieces(layout_);
}

void Engine::carve(Carver& carver) {
  weights_.emplace(options_.model, offsets_, carver);
  decoders_.clear();
  lane_gradients_.clear();
  workspaces_.clear();
  const Decoder::Keeps keeps = !options_.backward   ? Decoder::Keeps::kNothing
                               : options_.recompute ? Decoder::Keeps::kInputs
                                                    : Decoder::Keeps::kActivations;
  for (int i = 0; i < (lanes_share() ? 1 : options_.threads); ++i) {
    decoders_.emplace_back(options_.model, offsets_, *weights_, options_.sequence_length,
                           microbatch_, lanes_share() ? options_.lanes : 1, keeps,
                           options_.products, carver);
  }
  microbatch_losses_ = carver.take<double>(pieces(options_.max_batch, microbatch_));
  if (!options_.backward) return;
  for (int i = 0; i < options_.lanes; ++i)
    lane_gradients_.push_back(carver.take<float>(layout_.size()));
  if (options_.optimizer != nullptr) {
    const int64_t scratch = options_.optimizer->scratch_floats(layout_);
    for (int i = 0; i < options_.threads; ++i) {
      workspaces_.push_back({{carver.take<float>(scratch), static_cast<size_t>(scratch)},
                             {gemm_dense_nt, gemm_dense_tn, gemm_dense_nn}});
    }
  }
  lane_losses_ = carver.take<double>(options_.lanes);
  block_squares_ = carver.take<double>(blocks_);
}

int64_t Engine::memory_bytes(const EngineOptions& options) {
  Engine engine(options);
  Carver measure(nullptr);
  engine.carve(measure);
  return measure.used();
}

StatusOr<std::unique_ptr<Engine>> Engine::make(const EngineOptions& options) {
  RUBATO_RETURN_IF_ERROR(check_options(options));
  std::unique_ptr<Engine> engine(new Engine(options));
  RUBATO_ASSIGN_OR_RETURN(engine->arena_, Arena::allocate(memory_bytes(options)));
  Carver carver(engine->arena_.data());
  engine->carve(carver);
  for (Decoder& decoder : engine->decoders_) decoder.init();
  RUBATO_ASSIGN_OR_RETURN(engine->team_, Team::make(options.threads));
  return engine;
}

void Engine::measure_parts(ReadClock clock) {
  for (Decoder& decoder : decoders_) decoder.start_clocks(clock);
  for (PartClock& own : clocks_) own = PartClock(clock);
}

PartTimes Engine::part_times() const {
  PartTimes sum{};
  for (const Decoder& decoder : decoders_) decoder.add_times(sum);
  for (const PartClock& clock : clocks_) clock.add_to(sum);
  return sum;
}

int64_t Engine::sequences_in(std::span<const int32_t> tokens) const {
  const int64_t row = options_.sequence_length + 1, size = static_cast<int64_t>(tokens.size());
  RUBATO_CHECK(size > 0 && size % row == 0 && size / row <= options_.max_batch, "[engine] got ",
               size, " tokens, want sequences of ", row, ", at most ", options_.max_batch);
  for (int32_t token : tokens) {
    RUBATO_CHECK(token >= 0 && token < options_.model.vocab, "[engine] got token ", token,
                 ", want less than ", options_.model.vocab);
  }
  return size / row;
}

void Engine::make_forward_weights(const float* params, int members) {
  std::atomic<int64_t> next{0};
  team_->run(members, [&](int member) {
    clocks_[member].begin();
    for (int64_t i = next++; i < weights_->num_pieces(); i = next++) weights_->make(params, i);
    clocks_[member].lap(StepPart::kWeights);
  });
}

void Engine::add_losses(std::span<const float> params, std::span<const int32_t> tokens, int threads,
                        double& sum) {
  RUBATO_CHECK(static_cast<int64_t>(params.size()) == layout_.size());
  const int64_t sequences = sequences_in(tokens), row = options_.sequence_length + 1;
  const int64_t count = pieces(sequences, microbatch_);
  make_forward_weights(params.data(), threads);
  std::atomic<int64_t> next{0};
  const auto most = std::min<int64_t>(count, static_cast<int64_t>(decoders_.size()));
  team_->run(static_cast<int>(std::min<int64_t>(threads, most)), [&](int member) {
    for (int64_t i = next++; i < count; i = next++) {
      const int64_t begin = i * microbatch_, end = std::min(begin + microbatch_, sequences);
      decoders_[member].load(tokens.subspan(begin * row, (end - begin) * row));
      microbatch_losses_[i] = decoders_[member].loss(params.data());
    }
  });
  for (int64_t i = 0; i < count; ++i) sum += microbatch_losses_[i];
}

void Engine::run_lane(int lane, Decoder& decoder, const float* params,
                      std::span<const int32_t> tokens, float scale) {
  const int64_t row = options_.sequence_length + 1;
  const int64_t sequences = std::ssize(tokens) / row;
  const int64_t end = part_begin(sequences, lane + 1, options_.lanes);
  int64_t begin = part_begin(sequences, lane, options_.lanes);
  float* gradient = lane_gradients_[lane];
  double loss = 0;
  if (begin == end) std::fill_n(gradient, layout_.size(), 0.0f);
  for (bool first = true; begin < end; begin += microbatch_, first = false) {
    const int64_t count = std::min(microbatch_, end - begin);
    decoder.load(tokens.subspan(begin * row, count * row));
    loss += decoder.loss_and_gradient({params, scale, first, gradient});
  }
  lane_losses_[lane] = loss;
}

// Every microbatch by all lanes together, phase by phase.
void Engine::run_shared(const float* params, std::span<const int32_t> tokens, float scale,
                        int members) {
  const int64_t row = options_.sequence_length + 1, sequences = std::ssize(tokens) / row;
  Decoder& decoder = decoders_.front();
  std::fill_n(lane_losses_, options_.lanes, 0.0);
  for (int64_t begin = 0; begin < sequences; begin += microbatch_) {
    const int64_t count = std::min(microbatch_, sequences - begin);
    decoder.load(tokens.subspan(begin * row, count * row));
    for (int64_t phase = 0; phase < decoder.num_phases(); ++phase) {
      team_->run(members, [&](int member) {
        for (int lane = member; lane < options_.lanes; lane += members)
          decoder.run_phase(phase, lane, {params, scale, begin == 0, lane_gradients_[lane]});
      });
    }
    for (int lane = 0; lane < options_.lanes; ++lane) lane_losses_[lane] += decoder.part_loss(lane);
  }
}

// The tree: neighbours, then neighbours of neighbours, each block while it is hot; and the squares
// of the sum.
void Engine::add_lanes(int64_t begin_block, int64_t end_block) {
  for (int64_t block = begin_block; block < end_block; ++block) {
    const int64_t at = block * kBlockFloats, n = std::min(kBlockFloats, layout_.size() - at);
    for (int step = 1; step < options_.lanes; step *= 2) {
      for (int lane = 0; lane + step < options_.lanes; lane += 2 * step)
        kernels::add_to(n, lane_gradients_[lane + step] + at, lane_gradients_[lane] + at);
    }
    square(block, block + 1);
  }
}

void Engine::square(int64_t begin_block, int64_t end_block) {
  for (int64_t block = begin_block; block < end_block; ++block) {
    const int64_t at = block * kBlockFloats, n = std::min(kBlockFloats, layout_.size() - at);
    block_squares_[block] = kernels::sum_of_squares(n, lane_gradients_[0] + at);
  }
}

double Engine::norm_of_squares() const {
  double squares = 0;
  for (int64_t block = 0; block < blocks_; ++block) squares += block_squares_[block];
  return std::sqrt(squares);
}

double Engine::gradient_norm(int threads) {
  const int members = std::min(threads, team_->size());
  team_->run(members, [&](int member) {
    square(part_begin(blocks_, member, members), part_begin(blocks_, member + 1, members));
  });
  return norm_of_squares();
}

StepResult Engine::loss_and_gradient(std::span<const float> params, std::span<const int32_t> tokens,
                                     int threads) {
  return part_gradient(params, tokens, sequences_in(tokens), threads);
}

StepResult Engine::part_gradient(std::span<const float> params, std::span<const int32_t> tokens,
                                 int64_t whole, int threads) {
  RUBATO_CHECK(options_.backward);
  RUBATO_CHECK(static_cast<int64_t>(params.size()) == layout_.size());
  const int64_t sequences = sequences_in(tokens), whole_tokens = whole * options_.sequence_length;
  RUBATO_CHECK(whole >= sequences, "[engine] got ", sequences, " sequences of ", whole);
  const float scale = 1.0f / static_cast<float>(whole_tokens);
  const int members = std::min(threads, team_->size());
  make_forward_weights(params.data(), members);
  const int lane_members = std::min(members, options_.lanes);
  if (lanes_share()) {
    run_shared(params.data(), tokens, scale, lane_members);
  } else {
    std::atomic<int> next{0};
    team_->run(lane_members, [&](int member) {
      for (int lane = next++; lane < options_.lanes; lane = next++)
        run_lane(lane, decoders_[member], params.data(), tokens, scale);
    });
  }
  team_->run(members, [&](int member) {
    clocks_[member].begin();
    add_lanes(part_begin(blocks_, member, members), part_begin(blocks_, member + 1, members));
    clocks_[member].lap(StepPart::kLanes);
  });
  StepResult result;
  result.tokens = sequences * options_.sequence_length;
  for (int lane = 0; lane < options_.lanes; ++lane) result.loss += lane_losses_[lane];
  result.loss /= static_cast<double>(whole_tokens);
  result.grad_norm = norm_of_squares();
  return result;
}

std::span<const float> Engine::gradient() const {
  return {lane_gradients_[0], static_cast<size_t>(layout_.size())};
}

std::span<float> Engine::gradient() {
  return {lane_gradients_[0], static_cast<size_t>(layout_.size())};
}

StepResult Engine::step(std::span<float> params, InnerState& state, std::span<const int32_t> tokens,
                        double lr, int threads) {
  return update(params, state, loss_and_gradient(params, tokens, threads), lr, threads);
}

StepResult Engine::update(std::span<float> params, InnerState& state, StepResult result, double lr,
                          int threads) {
  RUBATO_CHECK(options_.optimizer != nullptr);
  const InnerOptimizer& optimizer = *options_.optimizer;
  if (!std::isfinite(result.loss)) return result;
  if (!std::isfinite(result.grad_norm)) {
    result.loss = std::numeric_limits<double>::quiet_NaN();
    return result;
  }
  const double scale = clip_factor(result.grad_norm, optimizer.clip_norm());
  state.steps += 1;
  std::atomic<size_t> next{0};
  team_->run(std::min(threads, team_->size()), [&](int member) {
    clocks_[member].begin();
    for (size_t i = next++; i < pieces_.size(); i = next++) {
      optimizer.update(layout_, pieces_[i].begin, pieces_[i].end, gradient(),
                       static_cast<float>(scale), lr, state, params, workspaces_[member]);
    }
    clocks_[member].lap(StepPart::kOptimizer);
  });
  return result;
}

void Engine::logits(std::span<const float> params, std::span<const int32_t> tokens,
                    std::span<float> out) {
  const int64_t rows = sequences_in(tokens) * options_.sequence_length;
  RUBATO_CHECK(static_cast<int64_t>(params.size()) == layout_.size() &&
               rows <= microbatch_ * options_.sequence_length &&
               static_cast<int64_t>(out.size()) == rows * options_.model.vocab);
  make_forward_weights(params.data(), 1);
  team_->run(1, [&](int) {
    decoders_[0].load(tokens);
    decoders_[0].logits(params.data(), out.data());
  });
}

}  // namespace rubato
