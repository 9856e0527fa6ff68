#include "tests/rpc/actors/killing_worker.h"

namespace rubato {
namespace {

class KillingLink final : public CoordinatorLink {
 public:
  KillingLink(Trap& trap, CoordinatorLink& link) : trap_(trap), link_(link) {}

  StatusOr<v1::RunDescription> describe(const v1::DescribeRequest& request) override {
    return link_.describe(request);
  }
  StatusOr<std::unique_ptr<ControlStream>> attend(const v1::Hello& hello) override {
    return link_.attend(hello);
  }
  StatusOr<v1::PushOffsetReply> push_offset(const v1::PushOffsetRequest& request) override {
    return link_.push_offset(request);
  }

  Status fetch(const v1::FetchRequest& request,
               const std::function<Status(const Chunk&)>& sink) override {
    return link_.fetch(request, [&](const Chunk& chunk) {
      const int64_t arrived = chunk.offset + chunk.bytes();
      if (arrived < chunk.total) pass(phase::kWorkerDownload);
      return sink(chunk);
    });
  }

  StatusOr<v1::PushReply> push(const v1::DeltaHeader& header,
                               const std::function<bool(Chunk&)>& source) override {
    bool began = false;
    StatusOr<v1::PushReply> reply = link_.push(header, [&](Chunk& chunk) {
      if (began) pass(phase::kWorkerUpload);
      began = true;
      if (source(chunk)) return true;
      if (header.bytes() > 0 && trap_.reached(phase::kWorkerPushed)) {
        wait_for_arrival(header);
        trap_.spring();
      }
      return false;
    });
    if (reply.ok() && header.bytes() > 0) pass(phase::kWorkerAnswered);
    return reply;
  }

 private:
  void pass(std::string_view phase) {
    if (trap_.reached(phase)) trap_.spring();
  }

  // Every byte lies in the coordinator's spool; only the end of the stream is missing.
  void wait_for_arrival(const v1::DeltaHeader& header) {
    v1::PushOffsetRequest request;
    request.set_task(header.task());
    request.set_incarnation(header.incarnation());
    for (StatusOr<v1::PushOffsetReply> reply = link_.push_offset(request);
         reply.ok() && reply->offset() < header.bytes(); reply = link_.push_offset(request)) {
      continue;
    }
  }

  Trap& trap_;
  CoordinatorLink& link_;
};

class KillingTrainer final : public Trainer {
 public:
  KillingTrainer(Trap& trap, std::unique_ptr<Trainer> trainer)
      : trap_(trap), trainer_(std::move(trainer)) {}

  StepResult step(std::span<float> params, InnerState& state, std::span<const SequenceRef> batch,
                  double lr, int threads) override {
    const StepResult result = trainer_->step(params, state, batch, lr, threads);
    if (trap_.reached(phase::kWorkerTraining)) trap_.spring();
    return result;
  }

 private:
  Trap& trap_;
  std::unique_ptr<Trainer> trainer_;
};

class KillingWorkload final : public Workload {
 public:
  KillingWorkload(Trap& trap, const Workload& workload) : trap_(trap), workload_(workload) {}

  const Layout& layout() const override { return workload_.layout(); }
  void initialise(uint64_t seed, std::span<float> params) const override {
    workload_.initialise(seed, params);
  }
  std::vector<int64_t> shard_sequences() const override { return workload_.shard_sequences(); }
  int64_t tokens_per_sequence() const override { return workload_.tokens_per_sequence(); }
  const InnerOptimizer& optimizer() const override { return workload_.optimizer(); }
  StatusOr<std::unique_ptr<Trainer>> make_trainer(int64_t max_batch, int threads) const override {
    RUBATO_ASSIGN_OR_RETURN(auto trainer, workload_.make_trainer(max_batch, threads));
    return std::make_unique<KillingTrainer>(trap_, std::move(trainer));
  }
  StatusOr<EvalResult> evaluate(std::span<const float> params, int threads) const override {
    return workload_.evaluate(params, threads);
  }

 private:
  Trap& trap_;
  const Workload& workload_;
};

}  // namespace

std::unique_ptr<CoordinatorLink> make_killing_link(Trap& trap, CoordinatorLink& link) {
  return std::make_unique<KillingLink>(trap, link);
}

std::unique_ptr<Workload> make_killing_workload(Trap& trap, const Workload& workload) {
  return std::make_unique<KillingWorkload>(trap, workload);
}

}  // namespace rubato
