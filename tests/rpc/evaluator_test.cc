#include "rubato/rpc/evaluator.h"

#include <atomic>
#include <future>

#include <gtest/gtest.h>

namespace rubato {
namespace {

Evaluator::Job job(float value) {
  return {.theta = std::make_shared<const std::vector<float>>(3, value),
          .local_steps = static_cast<int64_t>(value)};
}

// An evaluation that waits until it may go on.
class Gated {
 public:
  StatusOr<EvalResult> operator()(std::span<const float> theta) {
    ++begun_;
    begun_.notify_all();
    open_.wait();
    EvalResult result;
    result.loss_nats = theta[0];
    return result;
  }
  void wait_for_begin(int count) {
    for (int seen = begun_; seen < count; seen = begun_) begun_.wait(seen);
  }
  int begun() const { return begun_; }
  void open() { door_.set_value(); }

 private:
  std::promise<void> door_;
  std::shared_future<void> open_ = door_.get_future().share();
  std::atomic<int> begun_{0};
};

TEST(Evaluator, EvaluatesWhatItIsGiven) {
  Evaluator evaluator([](std::span<const float> theta) -> StatusOr<EvalResult> {
    EvalResult result;
    result.loss_nats = theta[2];
    return result;
  });
  for (const float value : {1.0F, 2.0F, 3.0F}) {
    evaluator.submit(job(value));
    evaluator.finish();
    const auto results = evaluator.take_results();
    ASSERT_EQ(results.size(), 1u);
    EXPECT_EQ(results[0].result->loss_nats, value);
    EXPECT_EQ(results[0].job.local_steps, static_cast<int64_t>(value));
    EXPECT_EQ(results[0].job.theta, nullptr) << "no version is kept for its result";
  }
  EXPECT_TRUE(evaluator.take_results().empty());
}

TEST(Evaluator, LeavesVersionsOutWhenItIsSlow) {
  Gated gate;
  Evaluator evaluator([&](std::span<const float> theta) { return gate(theta); });
  evaluator.submit(job(1));
  gate.wait_for_begin(1);
  const auto left_out = job(2);
  evaluator.submit(left_out);
  evaluator.submit(job(3));
  EXPECT_EQ(left_out.theta.use_count(), 1);
  gate.open();
  evaluator.finish();
  const auto results = evaluator.take_results();
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].job.local_steps, 1);
  EXPECT_EQ(results[1].job.local_steps, 3);
}

TEST(Evaluator, AnErrorIsAResult) {
  Evaluator evaluator([](std::span<const float>) -> StatusOr<EvalResult> {
    return absl::InternalError("no data");
  });
  evaluator.submit(job(1));
  evaluator.finish();
  EXPECT_TRUE(absl::IsInternal(evaluator.take_results().at(0).result.status()));
}

TEST(Evaluator, MayEndWithAJobThatHasNotBegun) {
  Gated gate;
  {
    Evaluator evaluator([&](std::span<const float> theta) { return gate(theta); });
    evaluator.submit(job(1));
    gate.wait_for_begin(1);
    evaluator.submit(job(2));
    gate.open();
  }
  EXPECT_LE(gate.begun(), 2);
}

}  // namespace
}  // namespace rubato
