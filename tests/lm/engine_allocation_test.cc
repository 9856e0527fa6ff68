// A step allocates nothing: calls of operator new are counted while the engine works. oneDNN's own
// packing buffers come through malloc. Of bf16 products its calls make a few nodes each for their
// arguments, which are told apart by their size and by being freed before the call returns.
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
std::atomic<int64_t> large_news{0};  // above kNodeBytes
std::atomic<int64_t> deletes{0};
constexpr std::size_t kNodeBytes = 128;

void count(std::size_t size) {
  news.fetch_add(1, std::memory_order_relaxed);
  if (size > kNodeBytes) large_news.fetch_add(1, std::memory_order_relaxed);
}

void give_back(void* memory) {
  if (memory != nullptr) deletes.fetch_add(1, std::memory_order_relaxed);
  std::free(memory);
}
}  // namespace

// Replaces the program's allocation functions; counting is all that is added.
void* operator new(std::size_t size) {
  count(size);
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  count(size);
  return std::malloc(size == 0 ? 1 : size);
}
void operator delete(void* memory) noexcept { give_back(memory); }
void operator delete(void* memory, std::size_t) noexcept { give_back(memory); }

namespace rubato {
namespace {

/// An engine, warm after its first step, which may start what libraries start lazily.
class WarmEngine {
 public:
  WarmEngine(const InnerEntry& entry, Products products)
      : optimizer_(entry.make(Options::resolve("test", entry.options, {}).value()).value()),
        tokens_(6 * 65) {
    const ModelConfig model = {.layers = 2, .width = 32, .ffn = 80, .vocab = 1500};
    engine_ = Engine::make({.model = model,
                            .sequence_length = 64,
                            .max_batch = 6,
                            .lanes = 2,
                            .threads = 2,
                            .products = products,
                            .optimizer = optimizer_})
                  .value();
    params_.resize(engine_->layout().size());
    initialise_model(model, engine_->layout(), 1, params_);
    state_ = optimizer_->make_state(engine_->layout().size());
    Rng rng(1, RngStream::kTest);
    for (int32_t& token : tokens_) token = static_cast<int32_t>(rng.below(1500));
    step();
  }
  void step() { engine_->step(params_, state_, tokens_, 1e-3, 2); }

 private:
  std::shared_ptr<const InnerOptimizer> optimizer_;
  std::unique_ptr<Engine> engine_;
  std::vector<float> params_;
  InnerState state_;
  std::vector<int32_t> tokens_;
};

TEST(EngineAllocation, AStepCallsOperatorNewNever) {
  for (const InnerEntry* entry : inner_entries()) {
    WarmEngine engine(*entry, Products::kFp32);
    const int64_t before = news.load();
    ASSERT_GT(before, 0) << "the counter is not in place";
    for (int i = 0; i < 5; ++i) engine.step();
    EXPECT_EQ(news.load() - before, 0) << entry->name;
  }
}

TEST(EngineAllocation, Bf16ProductsMakeNothingThatStays) {
  if (!processor_multiplies_bf16()) return;  // refused: products_test.cc
  WarmEngine engine(*inner_entries().front(), Products::kBf16);
  const int64_t large_before = large_news.load(), held_before = news.load() - deletes.load();
  for (int i = 0; i < 5; ++i) engine.step();
  EXPECT_EQ(large_news.load() - large_before, 0) << "a primitive or a buffer was made again";
  EXPECT_EQ(news.load() - deletes.load(), held_before);
}

}  // namespace
}  // namespace rubato
