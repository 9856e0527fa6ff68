#include "rubato/outer/chain.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "rubato/base/flat_ops.h"
#include "rubato/base/float_env.h"
#include "rubato/base/multiversion.h"

namespace rubato {
namespace {

// 256 KiB of delta per parallel job: handing a job over costs microseconds, the job tens of them.
constexpr int64_t kJobFloats = 16 * kBlockFloats;
constexpr std::string_view kWho = "outer chain";

// Thirty-two partial sums in fixed order: every version of the function gives the same bits.
RUBATO_MULTIVERSION double square_sum(const float* x, int64_t n) {
  double lanes[32] = {};
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    for (int64_t lane = 0; lane < 32; ++lane) {
      const auto value = static_cast<double>(x[i + lane]);
      lanes[lane] += value * value;
    }
  }
  for (int64_t lane = 0; i < n; ++i, ++lane) {
    lanes[lane] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

StatusOr<std::unique_ptr<OuterStage>> make_stage(const ChainSpec& spec, const std::string& name,
                                                 StageKind kind, const OuterContext& context,
                                                 std::span<const OuterEntry* const> entries) {
  const bool want_link = kind == StageKind::kLink;
  const std::string_view wanted = want_link ? "link" : "rule";
  RUBATO_ASSIGN_OR_RETURN(const OuterEntry* entry, find_entry(kWho, wanted, entries, name));
  if (entry->kind != kind) {
    return absl::InvalidArgumentError(cat("[", kWho, "] ", wanted, ": got ", name, ", which is ",
                                          want_link ? "a terminal rule" : "a link", ", want a ",
                                          want_link ? "link" : "terminal rule"));
  }
  static const std::map<std::string, OptionValue> kNone;
  const auto given = spec.options.find(name);
  RUBATO_ASSIGN_OR_RETURN(
      const Options options,
      Options::resolve(name, entry->options, given == spec.options.end() ? kNone : given->second));
  return entry->make(options, context);
}

// Options of a stage that is not there would be silently without effect.
Status check_names(const ChainSpec& spec) {
  std::set<std::string> names;
  std::vector<std::string> in_order = spec.links;
  in_order.push_back(spec.rule);
  for (const std::string& name : in_order) {
    if (!names.insert(name).second) {
      return absl::InvalidArgumentError(
          cat("[", kWho, "] got ", name, " twice, want each stage at most once"));
    }
  }
  for (const auto& [name, options] : spec.options) {
    if (!names.contains(name)) {
      return absl::InvalidArgumentError(
          cat("[", kWho, "] got options for ", name,
              ", want them for stages of the chain: ", join(in_order, ", ")));
    }
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::unique_ptr<OuterChain>> OuterChain::make(const ChainSpec& spec, const Layout& layout,
                                                       const OuterContext& context,
                                                       std::span<const OuterEntry* const> entries) {
  RUBATO_CHECK(context.num_params == layout.size(), "P ", context.num_params, " of layout ",
               layout.size());
  RUBATO_CHECK(context.num_workers >= 1);
  std::vector<Stage> stages;
  for (size_t i = 0; i <= spec.links.size(); ++i) {
    const bool last = i == spec.links.size();
    const std::string& name = last ? spec.rule : spec.links[i];
    RUBATO_ASSIGN_OR_RETURN(
        auto stage,
        make_stage(spec, name, last ? StageKind::kTerminal : StageKind::kLink, context, entries));
    stages.push_back({name, std::move(stage)});
  }
  RUBATO_RETURN_IF_ERROR(check_names(spec));
  for (size_t i = 0, buffer = stages.size(); i < stages.size(); ++i) {
    if (buffer < i && stages[i].stage->needs().single_delta) {
      return absl::InvalidArgumentError(cat("[", kWho, "] got ", stages[i].name, " behind ",
                                            stages[buffer].name, ", want it in front; it reads ",
                                            "facts of a single delta, not of a mean"));
    }
    if (stages[i].stage->arrivals_per_step() > 1) buffer = i;
  }
  return std::unique_ptr<OuterChain>(new OuterChain(std::move(stages), layout));
}

OuterChain::OuterChain(std::vector<Stage> stages, const Layout& layout)
    : num_params_(layout.size()), stages_(std::move(stages)), plans_(stages_.size()) {
  for (const Stage& stage : stages_) {
    const StageNeeds needs = stage.stage->needs();
    needs_.task_base |= needs.task_base;
    needs_.delta_norm |= needs.delta_norm;
    needs_.single_delta |= needs.single_delta;
    needs_.looks_ahead |= needs.looks_ahead;
  }
  int64_t job = kJobFloats;  // floats in the job being filled; full, so that the first piece opens
  for (size_t t = 0; t < layout.tensors().size(); ++t) {
    const TensorSpec& tensor = layout.tensors()[t];
    for (int64_t begin = 0; begin < tensor.size; begin += kBlockFloats) {
      if (job >= kJobFloats) {
        group_begins_.push_back(static_cast<int64_t>(pieces_.size()));
        job = 0;
      }
      const int64_t size = std::min(kBlockFloats, tensor.size - begin);
      pieces_.push_back({static_cast<int64_t>(t), tensor.offset + begin, size});
      job += size;
    }
  }
  group_begins_.push_back(static_cast<int64_t>(pieces_.size()));
  if (needs_.delta_norm) square_sums_.resize(pieces_.size());
}

int64_t OuterChain::max_staleness() const {
  int64_t limit = -1;
  for (const Stage& stage : stages_) {
    const int64_t own = stage.stage->max_staleness();
    if (own >= 0) limit = limit < 0 ? own : std::min(limit, own);
  }
  return limit;
}

int64_t OuterChain::arrivals_per_step() const {
  int64_t product = 1;
  for (const Stage& stage : stages_) product *= stage.stage->arrivals_per_step();
  return product;
}

void OuterChain::walk_state(StateWalk& walk) {
  for (size_t i = 0; i < stages_.size(); ++i) {
    PrefixedWalk prefixed(walk, cat(i, ".", stages_[i].name, "."));
    stages_[i].stage->walk_state(prefixed);
  }
}

template <class Body>
void OuterChain::for_each_piece(ThreadPool* pool, const Body& body) const {
  const auto run_group = [&](int64_t group) {
    for (int64_t i = group_begins_[group]; i < group_begins_[group + 1]; ++i) body(i);
  };
  const auto groups = static_cast<int64_t>(group_begins_.size()) - 1;
  if (pool != nullptr && groups > 1) {
    pool->for_each(groups, run_group);
  } else {
    flush_denormals();
    for (int64_t group = 0; group < groups; ++group) run_group(group);
  }
}

double OuterChain::measure_norm(const DeltaSource& delta, ThreadPool* pool) {
  for_each_piece(pool, [&](int64_t i) {
    alignas(64) float decoded[kBlockFloats];
    const auto& [tensor, offset, size] = pieces_[i];
    square_sums_[i] = square_sum(delta.block(offset, size, decoded), size);
  });
  double sum = 0;
  for (double of_piece : square_sums_) sum += of_piece;
  return std::sqrt(sum);
}

size_t OuterChain::plan_stages(const UpdateFacts& facts) {
  for (size_t i = 0; i < stages_.size(); ++i) {
    plans_[i] = stages_[i].stage->plan(facts);
    if (plans_[i].hold) return i + 1;
  }
  return stages_.size();
}

Verdict OuterChain::apply(const DeltaSource& delta, std::span<const float> base,
                          const UpdateFacts& facts, std::span<float> theta, ThreadPool* pool) {
  RUBATO_CHECK(delta.size() == num_params_ && static_cast<int64_t>(theta.size()) == num_params_);
  RUBATO_CHECK(!needs_.task_base || base.size() == theta.size(), "a stage needs the task's base");
  RUBATO_CHECK(facts.staleness >= 0);
  const int64_t limit = max_staleness();
  if (limit >= 0 && facts.staleness > limit) return Verdict::kDrop;

  UpdateFacts measured = facts;
  if (needs_.delta_norm) measured.delta_norm = measure_norm(delta, pool);
  const size_t reached = plan_stages(measured);
  for_each_piece(pool, [&](int64_t i) {
    alignas(64) float scratch[kRuleBlockFloats], decoded[kRuleBlockFloats];
    const Piece& piece = pieces_[i];
    const int64_t end = piece.offset + piece.size;
    for (int64_t offset = piece.offset; offset < end; offset += kRuleBlockFloats) {
      // Decoded just before it is applied: the loads of the planes overlap with it. A whole piece
      // at a time is a quarter slower.
      const int64_t size = std::min(kRuleBlockFloats, end - offset);
      Block block{.offset = offset,
                  .size = size,
                  .tensor = piece.tensor,
                  .theta = theta.data() + offset,
                  .g = delta.block(offset, size, decoded),
                  .scratch = scratch,
                  .base = needs_.task_base ? base.data() + offset : nullptr};
      for (size_t s = 0; s < reached; ++s) stages_[s].stage->apply(block, plans_[s]);
    }
  });
  return plans_[reached - 1].hold ? Verdict::kHold : Verdict::kPass;
}

void OuterChain::dispatch_point(std::span<float> theta, ThreadPool* pool) const {
  if (!needs_.looks_ahead) return;
  RUBATO_CHECK(static_cast<int64_t>(theta.size()) == num_params_);
  for_each_piece(pool, [&](int64_t i) {
    const auto& [tensor, offset, size] = pieces_[i];
    Block block{.offset = offset, .size = size, .tensor = tensor, .theta = theta.data() + offset};
    stages_.back().stage->dispatch_point(block);
  });
}

}  // namespace rubato
