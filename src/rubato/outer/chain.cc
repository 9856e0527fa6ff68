#include "rubato/outer/chain.h"

#include <algorithm>
#include <set>

namespace rubato {
namespace {

constexpr std::string_view kWho = "outer chain";

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
  OuterContext known = context;
  known.tensors = layout.tensors();
  std::vector<Stage> stages;
  for (size_t i = 0; i <= spec.links.size(); ++i) {
    const bool last = i == spec.links.size();
    const std::string& name = last ? spec.rule : spec.links[i];
    RUBATO_ASSIGN_OR_RETURN(
        auto stage,
        make_stage(spec, name, last ? StageKind::kTerminal : StageKind::kLink, known, entries));
    stages.push_back({name, std::move(stage)});
  }
  RUBATO_RETURN_IF_ERROR(check_names(spec));
  RUBATO_RETURN_IF_ERROR(check_needs(stages));
  return std::unique_ptr<OuterChain>(new OuterChain(std::move(stages), layout));
}

OuterChain::OuterChain(std::vector<Stage> stages, const Layout& layout)
    : num_params_(layout.size()),
      needs_(needs_of(stages)),
      pieces_(layout),
      measure_(pieces_, needs_),
      stages_(std::move(stages)),
      plans_(stages_.size()) {
  if (needs_.group) merge_.emplace(layout);
}

StageNeeds OuterChain::needs_of(const std::vector<Stage>& stages) {
  StageNeeds all;
  for (const Stage& stage : stages) {
    const StageNeeds needs = stage.stage->needs();
    all.task_base |= needs.task_base;
    all.delta_norm |= needs.delta_norm;
    all.momentum |= needs.momentum;
    all.group |= needs.group;
    all.single_delta |= needs.single_delta;
    all.groups |= needs.groups;
    all.looks_ahead |= needs.looks_ahead;
  }
  return all;
}

Status OuterChain::check_needs(const std::vector<Stage>& stages) {
  for (size_t i = 0, buffer = stages.size(); i < stages.size(); ++i) {
    const StageNeeds needs = stages[i].stage->needs();
    if (buffer < i && needs.single_delta) {
      return absl::InvalidArgumentError(cat("[", kWho, "] got ", stages[i].name, " behind ",
                                            stages[buffer].name, ", want it in front; it reads ",
                                            "facts of a single delta, not of a mean"));
    }
    // Behind a merge there is the delta as it arrived, whatever it is made of.
    const bool merged = i == 1 && stages[0].stage->needs().group;
    if ((needs.group || needs.momentum) && i > 0 && (needs.group || !merged)) {
      return absl::InvalidArgumentError(cat("[", kWho, "] got ", stages[i].name, " behind ",
                                            stages[i - 1].name, ", want it first; it reads what ",
                                            "arrived as it arrived"));
    }
    if (needs.momentum && stages.back().stage->momentum().plane.empty()) {
      return absl::InvalidArgumentError(cat("[", kWho, "] got ", stages[i].name, " in front of ",
                                            stages.back().name, ", want a rule with momentum"));
    }
    if (stages[i].stage->arrivals_per_step() > 1) buffer = i;
  }
  return absl::OkStatus();
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

size_t OuterChain::plan_stages(const UpdateFacts& facts) {
  for (size_t i = 0; i < stages_.size(); ++i) {
    plans_[i] = stages_[i].stage->plan(facts);
    if (plans_[i].hold) return i + 1;
  }
  return stages_.size();
}

void OuterChain::measure_updates() { sums_.resize(static_cast<size_t>(pieces_.size())); }

void OuterChain::apply_terminal(Block& block, const MomentumView& momentum, PieceSums& sums) {
  const auto size = static_cast<size_t>(block.size);
  const std::span<const float> g(block.g, size), theta(block.theta, size);
  sums.gg += dot(g, g);
  if (!momentum.plane.empty()) {
    const auto m = momentum.plane.subspan(static_cast<size_t>(block.offset), size);
    sums.gm += dot(g, m);
    sums.mm += dot(m, m);
  }
  float moved[kRuleBlockFloats];
  std::ranges::copy(theta, moved);
  stages_.back().stage->apply(block, plans_.back());
  const std::span<float> step(moved, size);
  subtract(step, theta, step);
  sums.step += dot(step, step);
}

// Pieces are added in their order, whoever measured them.
void OuterChain::conclude_measurement(double beta, bool has_momentum) {
  PieceSums all;
  for (PieceSums& piece : sums_) {
    all.gg += piece.gg;
    all.gm += piece.gm;
    all.mm += piece.mm;
    all.step += piece.step;
    piece = {};
  }
  last_update_ = {};
  last_update_.step_norm = std::sqrt(all.step);
  if (!has_momentum) return;
  last_update_.momentum_norm = std::sqrt(all.mm);
  if (!(all.gg > 0) || !(all.mm > 0)) return;
  last_update_.momentum_cosine = all.gm / std::sqrt(all.gg * all.mm);
  last_update_.aligned_gain = 1 + beta + beta * beta * all.gm / all.gg;
}

Verdict OuterChain::apply(const DeltaSource& delta, std::span<const float> base,
                          const UpdateFacts& facts, std::span<float> theta, ThreadPool* pool) {
  RUBATO_CHECK(delta.size() == num_params_ && static_cast<int64_t>(theta.size()) == num_params_);
  RUBATO_CHECK(!needs_.task_base || base.size() == theta.size(), "a stage needs the task's base");
  RUBATO_CHECK(facts.staleness >= 0);
  const int64_t limit = max_staleness();
  if (limit >= 0 && facts.staleness > limit) return Verdict::kDrop;

  const MomentumView momentum = stages_.back().stage->momentum();
  const std::span<const float> m = needs_.momentum ? momentum.plane : std::span<const float>();
  UpdateFacts measured = facts;
  measure_.measure(pieces_, delta, m, pool, measured);
  const size_t reached = plan_stages(measured);
  const bool measures = !sums_.empty() && reached == stages_.size();
  pieces_.for_each(pool, [&](int64_t i) {
    alignas(64) float scratch[kRuleBlockFloats], decoded[kRuleBlockFloats];
    const Pieces::Piece& piece = pieces_[i];
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
                  .base = needs_.task_base ? base.data() + offset : nullptr,
                  .m = needs_.momentum ? m.data() + offset : nullptr};
      const size_t plainly = measures ? reached - 1 : reached;
      for (size_t s = 0; s < plainly; ++s) stages_[s].stage->apply(block, plans_[s]);
      if (measures) apply_terminal(block, momentum, sums_[static_cast<size_t>(i)]);
    }
  });
  if (!sums_.empty()) conclude_measurement(momentum.beta, measures && !momentum.plane.empty());
  return plans_[reached - 1].hold ? Verdict::kHold : Verdict::kPass;
}

Verdict OuterChain::apply(std::span<const WeightedSum::Member> group, std::span<const float> base,
                          const UpdateFacts& facts, std::span<float> theta, ThreadPool* pool) {
  if (group.size() == 1 && group[0].weight == 1.0)
    return apply(*group[0].delta, base, facts, theta, pool);
  if (!needs_.group || group.size() == 1)
    return apply(WeightedSum(group), base, facts, theta, pool);
  merge_->begin(group, pool);
  stages_.front().stage->merge(*merge_);
  return apply(*merge_, base, facts, theta, pool);
}

void OuterChain::dispatch_point(std::span<float> theta, ThreadPool* pool) const {
  if (!needs_.looks_ahead) return;
  RUBATO_CHECK(static_cast<int64_t>(theta.size()) == num_params_);
  pieces_.for_each(pool, [&](int64_t i) {
    const auto& [tensor, offset, size] = pieces_[i];
    Block block{.offset = offset, .size = size, .tensor = tensor, .theta = theta.data() + offset};
    stages_.back().stage->dispatch_point(block);
  });
}

}  // namespace rubato
