// libFuzzer over everything a coordinator can send to a worker: description, welcome, dispatches
// and releases, chunks of parameters, verdicts. The whole worker runs on it, with its threads; it
// may end with an error, and only with one of one line.
//   frame kind: bits 0-2: 0 session message, 1 chunk, 2 verdict, 3 offset, 4 description; bit 7: a
//   task, chunk or description is put right
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "tests/rpc/fuzz_frames.h"

#include "rubato/rpc/wire.h"
#include "rubato/rpc/worker_program.h"
#include "rubato/store/memory_file_system.h"
#include "rubato/trainer/inner_optimizer.h"
#include "rubato/trainer/quadratic.h"

namespace rubato {
namespace {

constexpr int64_t kParams = 8, kSequences = 16;

// A coordinator that says what the input says, and nothing more.
class FuzzedLink final : public CoordinatorLink {
 public:
  explicit FuzzedLink(std::string_view input) {
    for (Frames frames(input); frames.next();) read(frames);
  }
  const v1::RunDescription& description() const { return description_; }

  StatusOr<v1::RunDescription> describe(const v1::DescribeRequest&) override {
    return description_;
  }
  StatusOr<std::unique_ptr<ControlStream>> attend(const v1::Hello&) override {
    return std::make_unique<Stream>(*this);
  }
  Status fetch(const v1::FetchRequest&, const std::function<Status(const Chunk&)>& sink) override {
    const auto chunk = take(chunks_);
    if (!chunk) return absl::NotFoundError("[fuzz] no more");
    return sink(chunk_from(*chunk));
  }
  StatusOr<v1::PushOffsetReply> push_offset(const v1::PushOffsetRequest&) override {
    return take(offsets_).value_or(v1::PushOffsetReply());
  }
  StatusOr<v1::PushReply> push(const v1::DeltaHeader& header,
                               const std::function<bool(Chunk&)>& source) override {
    Chunk chunk;
    while (source(chunk))
      RUBATO_CHECK(check_chunk(chunk, chunk.offset, header.bytes()).ok(), "a bad chunk");
    const auto reply = take(replies_);
    const std::lock_guard lock(mutex_);
    ++pushes_;
    changed_.notify_all();
    if (!reply) return absl::FailedPreconditionError("[fuzz] no more");
    return *reply;
  }

 private:
  class Stream final : public ControlStream {
   public:
    explicit Stream(FuzzedLink& link) : link_(link) {}
    bool send(const v1::FromWorker&) override { return true; }
    std::optional<v1::ToWorker> next() override {
      if (auto message = link_.take(link_.session_)) return message;
      // Tasks are worked on before the end comes.
      std::unique_lock lock(link_.mutex_);
      link_.changed_.wait_for(lock, std::chrono::milliseconds(5),
                              [&] { return cancelled_ || link_.pushes_ >= link_.tasks_; });
      return std::nullopt;
    }
    Status finish() override { return absl::FailedPreconditionError("[fuzz] the end"); }
    void cancel() override {
      const std::lock_guard lock(link_.mutex_);
      cancelled_ = true;
      link_.changed_.notify_all();
    }

   private:
    FuzzedLink& link_;
    bool cancelled_ = false;
  };

  template <class Message>
  std::optional<Message> take(std::deque<Message>& queue) {
    const std::lock_guard lock(mutex_);
    if (queue.empty()) return std::nullopt;
    Message message = std::move(queue.front());
    queue.pop_front();
    return message;
  }
  template <class Message>
  void put(const Frames& frames, std::deque<Message>& queue) {
    Message message;
    if (frames.parse(message)) queue.push_back(std::move(message));
  }

  void read(const Frames& frames) {
    const bool right = (frames.kind() & 0x80) != 0;
    switch (frames.kind() & 7) {
      case 0:
        put(frames, session_);
        if (session_.empty()) return;
        if (right) put_right(session_.back());
        tasks_ += session_.back().has_dispatch() + session_.back().welcome().tasks_size();
        return;
      case 1:
        put(frames, chunks_);
        if (right && !chunks_.empty()) put_right(chunks_.back());
        return;
      case 2:
        return put(frames, replies_);
      case 3:
        return put(frames, offsets_);
      case 4:
        if (!description_.ParseFromArray(frames.bytes().data(),
                                         static_cast<int>(frames.bytes().size())) ||
            right)
          make_right(description_);
        return;
      default:
        return;
    }
  }
  static void make_right(v1::RunDescription& run) {
    run.set_heartbeat_interval_ns(3600 * kNanosPerSecond);
    run.set_lease_ns(7200 * kNanosPerSecond);
    run.clear_files();
  }
  static void put_right(v1::Chunk& chunk) {
    chunk.mutable_data()->resize(kParams * 4);
    chunk.set_offset(0);
    chunk.set_total(kParams * 4);
    chunk.set_checksum(make_chunk(0, 0, chunk.data(), nullptr).checksum);
  }
  static void put_right(v1::Task& task) {
    task.set_kind(v1::Task::KIND_TRAIN);
    task.set_merge(v1::Task::MERGE_REPLACE);
    task.clear_fragments();
    task.add_fragments()->set_count(kParams);
    task.set_lr_total(std::max<int64_t>(task.lr_total(), 1));
    int64_t steps = 0;
    for (v1::DataRange& range : *task.mutable_ranges()) {
      range.set_count(1 + (range.count() & (kSequences / 2 - 1)));
      range.set_first(range.first() & (kSequences / 2 - 1));
      steps += range.count();
    }
    task.set_steps(steps);
    task.set_shard(task.shard() & 1);
  }
  static void put_right(v1::ToWorker& message) {
    if (message.has_dispatch()) put_right(*message.mutable_dispatch()->mutable_task());
    if (!message.has_welcome()) return;
    for (v1::Codec* codec : {message.mutable_welcome()->mutable_up_codec(),
                             message.mutable_welcome()->mutable_down_codec()}) {
      codec->Clear();
      codec->set_name("fp32");
    }
    for (v1::Task& task : *message.mutable_welcome()->mutable_tasks()) put_right(task);
  }

  v1::RunDescription description_ = [] {
    v1::RunDescription run;
    make_right(run);
    return run;
  }();
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t tasks_ = 0, pushes_ = 0;
  std::deque<v1::ToWorker> session_;
  std::deque<v1::Chunk> chunks_;
  std::deque<v1::PushReply> replies_;
  std::deque<v1::PushOffsetReply> offsets_;
};

const QuadraticWorkload& workload() {
  static const auto made = [] {
    const auto entry = find_entry<InnerEntry>("fuzz", "inner", inner_entries(), "adamw");
    const auto options = Options::resolve("adamw", (*entry)->options, {});
    auto optimizer = (*entry)->make(*options);
    return QuadraticWorkload::make({.dim = kParams, .shards = 2, .sequences_per_shard = kSequences},
                                   std::shared_ptr<const InnerOptimizer>(std::move(*optimizer)))
        .value();
  }();
  return *made;
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  FuzzedLink link(as_text(data, size));
  MemoryFileSystem files;
  const DataMap shards(workload().shard_sequences(), false, 1);
  const WorkerConfig config{.worker = WorkerId(3),
                            .run = link.description(),
                            .settings = {.learning_rate = {.max = 0.1, .min = 0.1}},
                            .overlap = size % 2 == 0 ? Overlap::kNone : Overlap::kFull,
                            .state_directory = ""};
  // Every look at the clock is an hour later: what fails is not tried again.
  std::atomic<Nanos> now{0};
  WorkerServices services;
  services.link = &link;
  services.files = &files;
  services.workload = &workload();
  services.data = &shards;
  services.environment.clock = [&] { return now += 3600 * kNanosPerSecond; };
  services.environment.note = [](const Notice&) {};
  services.environment.patience = 1;
  services.report = [](const TaskReport&) {};
  const Status status = work(config, services);
  if (!status.ok()) check_error(status, "");
  return 0;
}
