#include "rubato/island/island.h"

#include <exception>
#include <utility>
#include <vector>

#include "rubato/base/archive.h"
#include "rubato/island/orders.h"
#include "rubato/island/shared_batch.h"

namespace rubato {
namespace {

// The trainer that rank `rank` needs for batches of up to `max_batch` sequences of the island.
StatusOr<std::unique_ptr<Trainer>> make_part_trainer(const Workload& workload, int64_t max_batch,
                                                     const IslandLink& link, int threads) {
  if (max_batch < link.size()) {
    return absl::InvalidArgumentError(
        cat("[island] got ", link.size(), " ranks for ", max_batch,
            " sequences a local step, want a sequence for each; start fewer"));
  }
  // The first part is as large as any.
  const BatchPart largest = batch_part(max_batch, 0, link.size());
  RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<Trainer> trainer,
                          workload.make_trainer(largest.end, threads));
  if (trainer->halves() != nullptr) return trainer;
  return absl::UnimplementedError(
      "[island] got a workload whose batches cannot be shared, want a language model");
}

StepResult own_part(IslandLink& link, StepHalves& halves, std::span<const float> params,
                    std::span<const SequenceRef> batch, int threads) {
  const BatchPart part = batch_part(std::ssize(batch), link.rank(), link.size());
  StepResult result = halves.part_gradient(params, batch.subspan(part.begin, part.end - part.begin),
                                           std::ssize(batch), threads);
  sum_parts(link, halves.gradient(), result);
  return result;
}

class IslandTrainer final : public Trainer {
 public:
  IslandTrainer(IslandLink& link, std::unique_ptr<Trainer> own)
      : link_(link), own_(std::move(own)) {}

  StepResult step(std::span<float> params, InnerState& state, std::span<const SequenceRef> batch,
                  double lr, int threads) override {
    Order order{Order::Kind::kStep, std::ssize(batch)};
    broadcast_order(link_, order);
    batch_.assign(batch.begin(), batch.end());
    broadcast_values(link_, std::span(batch_));
    broadcast_values(link_, params);
    StepHalves& halves = *own_->halves();
    const StepResult whole = own_part(link_, halves, params, batch, threads);
    return halves.update(params, state, whole, lr, threads);
  }

 private:
  IslandLink& link_;
  std::unique_ptr<Trainer> own_;
  std::vector<SequenceRef> batch_;  // a link may not take what is const
};

class IslandWorkload final : public Workload {
 public:
  IslandWorkload(IslandLink& link, std::unique_ptr<Workload> workload)
      : link_(link), workload_(std::move(workload)) {}

  StatusOr<std::unique_ptr<Trainer>> make_trainer(int64_t max_batch, int threads) const override {
    Order order{Order::Kind::kTrainer, max_batch};
    broadcast_order(link_, order);
    StatusOr<std::unique_ptr<Trainer>> own =
        make_part_trainer(*workload_, max_batch, link_, threads);
    RUBATO_RETURN_IF_ERROR(gather_answers(link_, own.status()));
    return std::make_unique<IslandTrainer>(link_, *std::move(own));
  }

  const Layout& layout() const override { return workload_->layout(); }
  void initialise(uint64_t seed, std::span<float> params) const override {
    workload_->initialise(seed, params);
  }
  std::vector<int64_t> shard_sequences() const override { return workload_->shard_sequences(); }
  int64_t tokens_per_sequence() const override { return workload_->tokens_per_sequence(); }
  const InnerOptimizer& optimizer() const override { return workload_->optimizer(); }
  StatusOr<EvalResult> evaluate(std::span<const float> params, int threads) const override {
    return workload_->evaluate(params, threads);
  }
  void stop_evaluating() const override { workload_->stop_evaluating(); }
  std::string vocabulary_digest() const override { return workload_->vocabulary_digest(); }
  double flops_per_token() const override { return workload_->flops_per_token(); }

 private:
  IslandLink& link_;
  std::unique_ptr<Workload> workload_;
};

void order_with_text(IslandLink& link, Order::Kind kind, std::string text) {
  Order order{kind, std::ssize(text)};
  broadcast_order(link, order);
  broadcast_values(link, std::span(text));
}

// A rank other than 0, between two orders.
class Member {
 public:
  Member(IslandLink& link, FileSystem& files, const PrepareMember& prepare, int threads)
      : link_(link), files_(files), prepare_(prepare), threads_(threads) {}

  // False: let go.
  bool obey() {
    Order order;
    broadcast_order(link_, order);
    switch (order.kind) {
      case Order::Kind::kEnd:
        return false;
      case Order::Kind::kFile:
        take_file(order.count);
        return true;
      case Order::Kind::kIntroduce:
        send_answer(link_, meet(order.count));
        return true;
      case Order::Kind::kTrainer:
        send_answer(link_, make_trainer(order.count));
        return true;
      case Order::Kind::kStep:
        step(order.count);
        return true;
    }
    return false;
  }

 private:
  std::string read_text(int64_t bytes) {
    std::string text(static_cast<size_t>(bytes), '\0');
    broadcast_values(link_, std::span(text));
    return text;
  }

  void take_file(int64_t bytes) {
    SharedFile file;
    const Status status = from_archive(read_text(bytes), file);
    RUBATO_CHECK(status.ok(), status.message());
    rubato::take_file(link_, files_, file);
  }

  Status meet(int64_t bytes) {
    RUBATO_ASSIGN_OR_RETURN(workload_, prepare_(read_text(bytes)));
    params_.resize(static_cast<size_t>(workload_->layout().size()));
    return absl::OkStatus();
  }

  Status make_trainer(int64_t max_batch) {
    trainer_ = nullptr;  // two arenas at a time may be one too many
    RUBATO_ASSIGN_OR_RETURN(trainer_, make_part_trainer(*workload_, max_batch, link_, threads_));
    return absl::OkStatus();
  }

  void step(int64_t sequences) {
    batch_.resize(static_cast<size_t>(sequences));
    broadcast_values(link_, std::span(batch_));
    broadcast_values(link_, std::span(params_));
    own_part(link_, *trainer_->halves(), params_, batch_, threads_);
  }

  IslandLink& link_;
  FileSystem& files_;
  const PrepareMember& prepare_;
  int threads_;
  const Workload* workload_ = nullptr;
  std::unique_ptr<Trainer> trainer_;
  std::vector<float> params_;  // [P]
  std::vector<SequenceRef> batch_;
};

}  // namespace

IslandLeader::~IslandLeader() {
  // Whoever throws may have left the others in the middle of a step, where no order is awaited; the
  // link ends them.
  if (std::uncaught_exceptions() > 0) return;
  Order order{Order::Kind::kEnd, 0};
  broadcast_order(link_, order);
}

Status IslandLeader::share_file(FileSystem& files, SharedFile file) {
  order_with_text(link_, Order::Kind::kFile, to_archive(file));
  return give_file(link_, files, file);
}

Status IslandLeader::introduce(std::string text) {
  order_with_text(link_, Order::Kind::kIntroduce, std::move(text));
  return gather_answers(link_, absl::OkStatus());
}

std::unique_ptr<Workload> IslandLeader::share(std::unique_ptr<Workload> workload) {
  return std::make_unique<IslandWorkload>(link_, std::move(workload));
}

void serve_island(IslandLink& link, FileSystem& files, const PrepareMember& prepare, int threads) {
  Member member(link, files, prepare, threads);
  while (member.obey()) continue;
}

}  // namespace rubato
