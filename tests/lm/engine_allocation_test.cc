// A step allocates nothing: operator new and malloc are counted while the engine works. oneDNN's
// own packing buffers come through malloc and are told apart by being freed within the step.
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include <gtest/gtest.h>

#include "rubato/base/rng.h"
#include "rubato/lm/engine.h"
#include "rubato/trainer/inner_optimizer.h"

namespace {
std::atomic<int64_t> news{0};
}

// Replaces the program's allocation functions; counting is all that is added.
void* operator new(std::size_t size) {
  news.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  news.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(size == 0 ? 1 : size);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace rubato {
namespace {

TEST(EngineAllocation, AStepCallsOperatorNewNever) {
  const ModelConfig model = {.layers = 2, .width = 32, .ffn = 80, .vocab = 1500};
  for (const InnerEntry* entry : inner_entries()) {
    const std::shared_ptr<const InnerOptimizer> optimizer =
        entry->make(Options::resolve("test", entry->options, {}).value()).value();
    const auto engine = Engine::make({.model = model,
                                      .sequence_length = 64,
                                      .max_batch = 6,
                                      .lanes = 2,
                                      .threads = 2,
                                      .optimizer = optimizer})
                            .value();
    std::vector<float> params(engine->layout().size());
    initialise_model(model, engine->layout(), 1, params);
    InnerState state = optimizer->make_state(engine->layout().size());
    std::vector<int32_t> tokens(6 * 65);
    Rng rng(1, RngStream::kTest);
    for (int32_t& token : tokens) token = static_cast<int32_t>(rng.below(1500));
    // The first step may start what libraries start lazily.
    engine->step(params, state, tokens, 1e-3, 2);
    const int64_t before = news.load();
    ASSERT_GT(before, 0) << "the counter is not in place";
    for (int i = 0; i < 5; ++i) engine->step(params, state, tokens, 1e-3, 2);
    EXPECT_EQ(news.load() - before, 0) << entry->name;
  }
}

}  // namespace
}  // namespace rubato
