#include "tests/outer/conformance.h"

#include <cmath>

#include <gtest/gtest.h>

#include "rubato/base/rng.h"

namespace rubato::testing {
namespace {

constexpr int kUpdates = 9;

// A run over a layout: the i-th update is a pure function of i, so a run can stop and go on.
class Run {
 public:
  Run(const ChainCase& chain_case, EntryList entries, Layout layout = odd_layout())
      : layout_(std::move(layout)),
        chain_(make_chain(layout_, chain_case.workers, chain_case.links, chain_case.rule,
                          chain_case.options, entries)),
        theta_(random_floats(layout_.size(), 1)) {}

  Verdict update(int i, ThreadPool* pool = nullptr) {
    // Drawn once: every run of every chain sees the same updates.
    static std::map<std::pair<int64_t, int>, std::pair<Floats, Floats>> drawn;
    auto& [delta, base] = drawn[{layout_.size(), i}];
    if (delta.empty()) {
      delta = random_floats(layout_.size(), static_cast<uint64_t>(100 + i), 0.1);
      base = random_floats(layout_.size(), static_cast<uint64_t>(1000 + i));
    }
    return chain_->apply(PlainDelta(delta), base, facts(i), theta_, pool);
  }
  void updates(int begin, int end, ThreadPool* pool = nullptr) {
    for (int i = begin; i < end; ++i) update(i, pool);
  }
  static UpdateFacts facts(int i) {
    return {.staleness = i % 4, .tokens = 4096, .steps = 8 + i, .group_size = 1};
  }

  OuterChain& chain() { return *chain_; }
  Floats& theta() { return theta_; }
  int64_t size() const { return layout_.size(); }

 private:
  Layout layout_;
  std::unique_ptr<OuterChain> chain_;
  Floats theta_;
};

void expect_equal(Run& x, Run& y) {
  EXPECT_TRUE(same_bits(x.theta(), y.theta()));
  EXPECT_EQ(state_of(x.chain()), state_of(y.chain()));
}

OptionValue random_value(const OptionSpec& spec, Rng& rng) {
  switch (spec.kind) {
    case OptionKind::kInteger:
      return std::min<int64_t>(static_cast<int64_t>(spec.min) + static_cast<int64_t>(rng.below(20)),
                               static_cast<int64_t>(spec.max));
    case OptionKind::kReal:
      // Near the default: the far ends of a range are for diverging on purpose.
      return std::clamp(std::get<double>(spec.default_value) * (0.5 + 0.5 * rng.uniform()),
                        spec.min, spec.max);
    case OptionKind::kFlag:
      return rng.below(2) == 1;
    case OptionKind::kChoice:
      return spec.choices[rng.below(spec.choices.size())];
    default:  // words and lists have no range to draw from
      return spec.default_value;
  }
}

Status make_with(const OuterEntry& entry, EntryList entries, const std::string& name,
                 const OptionValue& value) {
  const Layout layout = flat_layout(8);
  ChainSpec spec;
  spec.options[entry.name] = {{name, value}};
  if (entry.kind == StageKind::kLink) {
    spec.links = {entry.name};
    spec.rule = "momentum";  // which every link can stand in front of
  } else {
    spec.rule = entry.name;
  }
  return OuterChain::make(spec, layout, {.num_workers = 2, .num_params = 8}, entries).status();
}

void expect_refused(const OuterEntry& entry, EntryList entries, const std::string& name,
                    const OptionValue& value) {
  const Status status = make_with(entry, entries, name, value);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument)
      << entry.name << "." << name << " = " << to_text(value);
  EXPECT_NE(std::string(status.message()).find("[" + entry.name + "]"), std::string::npos)
      << status.message();
}

}  // namespace

std::string ChainCase::title() const {
  std::string text = cat(join(links, " > "), links.empty() ? "" : " > ", rule, " k=", workers);
  for (const auto& [stage, values] : options) {
    for (const auto& [name, value] : values)
      text += cat(" ", stage, ".", name, "=", to_text(value));
  }
  return text;
}

bool can_be_made(const ChainCase& chain_case, EntryList entries) {
  return OuterChain::make({chain_case.links, chain_case.rule, chain_case.options}, flat_layout(1),
                          {chain_case.workers, 1}, entries)
      .ok();
}

std::vector<ChainCase> single_stage_cases(EntryList entries) {
  std::vector<ChainCase> cases;
  for (const OuterEntry* rule : entries) {
    if (rule->kind != StageKind::kTerminal) continue;
    cases.push_back({{}, rule->name, {}});
    for (const OuterEntry* link : entries) {
      const ChainCase behind{{link->name}, rule->name, {}};
      if (link->kind == StageKind::kLink && can_be_made(behind, entries)) cases.push_back(behind);
    }
  }
  return cases;
}

std::vector<ChainCase> random_cases(EntryList entries, int count) {
  std::vector<const OuterEntry*> links, rules;
  for (const OuterEntry* entry : entries) {
    (entry->kind == StageKind::kLink ? links : rules).push_back(entry);
  }
  std::vector<ChainCase> cases;
  for (uint64_t draw = 0; static_cast<int>(cases.size()) < count; ++draw) {
    Rng rng(11, RngStream::kTest, draw);
    ChainCase chain_case;
    chain_case.workers = 1 + static_cast<int64_t>(rng.below(5));
    std::vector<const OuterEntry*> stages;
    const auto pool = links;
    for (uint64_t left = rng.below(4); left > 0 && !pool.empty(); --left) {
      const OuterEntry* link = pool[rng.below(pool.size())];
      if (std::ranges::find(stages, link) == stages.end()) stages.push_back(link);
    }
    for (const OuterEntry* link : stages) chain_case.links.push_back(link->name);
    stages.push_back(rules[rng.below(rules.size())]);
    chain_case.rule = stages.back()->name;
    for (const OuterEntry* stage : stages) {
      for (const OptionSpec& spec : stage->options) {
        if (rng.below(2) == 0) {
          chain_case.options[stage->name][spec.name] = random_value(spec, rng);
        }
      }
    }
    if (can_be_made(chain_case, entries)) cases.push_back(chain_case);
  }
  return cases;
}

void check_chain(const ChainCase& chain_case, EntryList entries) {
  SCOPED_TRACE(chain_case.title());
  check_same_run_same_bits(chain_case, entries);
  check_threads_do_not_matter(chain_case, entries);
  check_restored_run_goes_on_to_the_same_bits(chain_case, entries);
  check_delta_is_not_modified(chain_case, entries);
  check_zero_delta_changes_nothing(chain_case, entries);
  check_dropped_update_changes_nothing(chain_case, entries);
  check_held_updates_leave_theta(chain_case, entries);
}

void check_same_run_same_bits(const ChainCase& chain_case, EntryList entries) {
  Run first(chain_case, entries), second(chain_case, entries);
  first.updates(0, kUpdates);
  second.updates(0, kUpdates);
  expect_equal(first, second);
  for (float value : first.theta()) ASSERT_TRUE(std::isfinite(value));
}

void check_threads_do_not_matter(const ChainCase& chain_case, EntryList entries) {
  constexpr int kFew = 4;  // a whole period of three workers and one more
  Run alone(chain_case, entries, wide_layout());
  alone.updates(0, kFew);
  for (int threads : {1, 2, 3}) {
    SCOPED_TRACE(cat(threads, " threads"));
    ThreadPool pool(threads);
    Run pooled(chain_case, entries, wide_layout());
    pooled.updates(0, kFew, &pool);
    expect_equal(alone, pooled);
  }
}

void check_restored_run_goes_on_to_the_same_bits(const ChainCase& chain_case, EntryList entries) {
  Run whole(chain_case, entries);
  for (int stop = 0; stop < kUpdates; ++stop) {
    Run resumed(chain_case, entries);
    const StateImage image = state_of(whole.chain());
    StateRestorer restorer(image);
    resumed.chain().walk_state(restorer);
    ASSERT_TRUE(restorer.status().ok()) << restorer.status();
    EXPECT_EQ(state_of(resumed.chain()), image);
    resumed.theta() = whole.theta();
    EXPECT_EQ(whole.update(stop), resumed.update(stop));
    expect_equal(whole, resumed);
  }
}

void check_delta_is_not_modified(const ChainCase& chain_case, EntryList entries) {
  Run run(chain_case, entries);
  const Floats delta = random_floats(run.size(), 3), base = random_floats(run.size(), 4);
  const Floats delta_before = delta, base_before = base;
  for (int i = 0; i < 3; ++i)
    run.chain().apply(PlainDelta(delta), base, Run::facts(i), run.theta(), nullptr);
  EXPECT_TRUE(same_bits(delta, delta_before));
  EXPECT_TRUE(same_bits(base, base_before));
}

void check_zero_delta_changes_nothing(const ChainCase& chain_case, EntryList entries) {
  Run run(chain_case, entries);
  const Floats before = run.theta(), zero(before.size()), base = random_floats(run.size(), 4);
  for (int i = 0; i < kUpdates; ++i) {
    run.chain().apply(PlainDelta(zero), base, Run::facts(i), run.theta(), nullptr);
  }
  EXPECT_TRUE(same_bits(run.theta(), before));
}

void check_dropped_update_changes_nothing(const ChainCase& chain_case, EntryList entries) {
  Run run(chain_case, entries);
  const int64_t limit = run.chain().max_staleness();
  if (limit < 0) return;
  run.updates(0, 2);
  const Floats theta = run.theta();
  const StateImage state = state_of(run.chain());
  const Floats delta = random_floats(run.size(), 3), base = random_floats(run.size(), 4);
  EXPECT_EQ(
      run.chain().apply(PlainDelta(delta), base, {.staleness = limit + 1}, run.theta(), nullptr),
      Verdict::kDrop);
  EXPECT_TRUE(same_bits(run.theta(), theta));
  EXPECT_EQ(state_of(run.chain()), state);
  EXPECT_NE(run.chain().apply(PlainDelta(delta), base, {.staleness = limit}, run.theta(), nullptr),
            Verdict::kDrop);
}

void check_held_updates_leave_theta(const ChainCase& chain_case, EntryList entries) {
  Run run(chain_case, entries);
  const int64_t period = run.chain().arrivals_per_step();
  const Floats base = random_floats(run.size(), 4);
  for (int64_t arrival = 1; arrival <= 2 * period; ++arrival) {
    const Floats before = run.theta();
    const Floats delta = random_floats(run.size(), static_cast<uint64_t>(50 + arrival));
    const Verdict verdict = run.chain().apply(PlainDelta(delta), base, {}, run.theta(), nullptr);
    EXPECT_EQ(verdict, arrival % period == 0 ? Verdict::kPass : Verdict::kHold);
    EXPECT_EQ(same_bits(run.theta(), before), verdict == Verdict::kHold);
  }
}

void check_options_are_guarded(const OuterEntry& entry, EntryList entries) {
  SCOPED_TRACE(entry.name);
  EXPECT_FALSE(entry.summary.empty());
  EXPECT_FALSE(entry.formula.empty());
  EXPECT_FALSE(entry.source.empty());
  ASSERT_NE(entry.make, nullptr);
  expect_refused(entry, entries, "no_such_option", OptionValue(1.0));
  for (const OptionSpec& spec : entry.options) {
    EXPECT_FALSE(spec.meaning.empty()) << spec.name;
    if (!spec.optional) {
      EXPECT_TRUE(make_with(entry, entries, spec.name, spec.default_value).ok()) << spec.name;
    }
    const bool number = spec.kind == OptionKind::kInteger || spec.kind == OptionKind::kReal;
    EXPECT_EQ(spec.unit.empty(), !number) << spec.name;
    expect_refused(entry, entries, spec.name,
                   number ? OptionValue(std::string("many")) : OptionValue(0.5));
    if (spec.kind == OptionKind::kChoice) {
      expect_refused(entry, entries, spec.name, std::string("no_such_choice"));
    } else if (spec.kind == OptionKind::kInteger) {
      expect_refused(entry, entries, spec.name, static_cast<int64_t>(spec.min) - 1);
      expect_refused(entry, entries, spec.name, static_cast<int64_t>(spec.max) + 1);
    } else if (spec.kind == OptionKind::kReal) {
      expect_refused(entry, entries, spec.name, spec.min - 1e-9);
      expect_refused(entry, entries, spec.name, spec.max * 1.001);
      expect_refused(entry, entries, spec.name, std::nan(""));
    }
  }
}

}  // namespace rubato::testing
