#include "tests/rpc/peer_rig.h"

#include <algorithm>

#include "rubato/base/digest.h"
#include "rubato/coordinator/event_text.h"
#include "rubato/store/journal_reader.h"
#include "rubato/trainer/inner_optimizer.h"

namespace rubato {
namespace {

constexpr char kDirectory[] = "/run";
constexpr WorkerId kNobody(1'000'000);

std::unique_ptr<QuadraticWorkload> make_workload(int64_t dim) {
  const auto entry = find_entry<InnerEntry>("test", "inner", inner_entries(), "sgd");
  RUBATO_CHECK(entry.ok());
  const auto options = Options::resolve("sgd", (*entry)->options, {});
  auto optimizer = (*entry)->make(*options);
  RUBATO_CHECK(optimizer.ok());
  auto workload =
      QuadraticWorkload::make({.dim = dim, .shards = 2, .sequences_per_shard = 256, .noise = 0.1},
                              std::shared_ptr<const InnerOptimizer>(std::move(*optimizer)));
  RUBATO_CHECK(workload.ok());
  return std::move(*workload);
}

ClusterConfig config_of(const PeerRigOptions& options, const QuadraticWorkload& workload) {
  ClusterConfig config;
  config.directory = kDirectory;
  config.build_id = "the coordinator";
  config.digests = {.recipe = std::string(32, 'a'),
                    .data = std::string(32, 'b'),
                    .layout = layout_digest(workload.layout())};
  config.machine.coordinator.local_steps = options.local_steps;
  config.machine.coordinator.budget_steps = options.budget_steps;
  config.machine.coordinator.schedule_steps = options.budget_steps;
  config.machine.coordinator.overlap = options.overlap;
  config.machine.coordinator.save_every_steps = options.save_every_steps;
  config.machine.gate = {options.gate, {}};
  config.machine.up_codec = options.up_codec;
  config.machine.down_codec = options.down_codec;
  config.machine.chain = {.links = {}, .rule = "sgd", .options = {}};
  config.shard_sequences = workload.shard_sequences();
  config.script = options.script;
  config.keep_deltas = true;
  return config;
}

}  // namespace

PeerRig::PeerRig(Options options)
    : options_(std::move(options)), workload_(make_workload(options_.dim)) {
  initial_.resize(static_cast<size_t>(workload_->layout().size()));
  workload_->initialise(1, initial_);
  ClusterServices services;
  services.files = &files_;
  services.clock = [this] { return now_.load(); };
  services.sink = &sink_;
  services.note = [](const Notice&) {};
  auto cluster = Cluster::open(config_of(options_, *workload_), services, workload_->layout(),
                               [this]() -> StatusOr<std::vector<float>> { return initial_; });
  RUBATO_CHECK(cluster.ok(), cluster.status().message());
  cluster_ = std::move(*cluster);
  forget_sessions();
  driver_ = std::thread([this] { end_ = cluster_->run(&stop_); });
}

void PeerRig::forget_sessions() {
  auto reception = Reception::make(*cluster_, options_.reception);
  RUBATO_CHECK(reception.ok(), reception.status().message());
  reception_ = std::move(*reception);
}

PeerRig::~PeerRig() { stop().IgnoreError(); }

Status PeerRig::stop() {
  if (!driver_.joinable()) return end_.status();
  stop_ = true;
  // A goodbye, so that the driver looks at the flag now.
  cluster_->leave(kNobody);
  driver_.join();
  return end_.status();
}

bool PeerRig::theta_is_initial() const { return std::ranges::equal(cluster_->theta(), initial_); }

std::vector<std::string> PeerRig::history() {
  auto reader = JournalReader::open(files_, kDirectory, 0);
  RUBATO_CHECK(reader.ok(), reader.status().message());
  for (std::vector<std::string> lines;;) {
    const auto next = reader->next();
    RUBATO_CHECK(next.ok(), next.status().message());
    if (!*next) return lines;
    const auto record = logged_event_from((*next)->bytes);
    RUBATO_CHECK(record.ok(), record.status().message());
    const auto* lost = std::get_if<WorkerLost>(&record->event);
    if (lost == nullptr || lost->worker != kNobody) lines.push_back(event_text(record->event));
  }
}

v1::DescribeRequest PeerRig::describe_request() const {
  v1::DescribeRequest request;
  request.mutable_protocol()->set_first(kProtocolFirst);
  request.mutable_protocol()->set_last(kProtocolLast);
  request.set_build("a peer");
  return request;
}

v1::Hello PeerRig::hello() const {
  v1::Hello hello;
  hello.mutable_protocol()->set_first(kProtocolFirst);
  hello.mutable_protocol()->set_last(kProtocolLast);
  hello.set_build("a peer");
  hello.set_run(cluster_->identity().run);
  hello.set_incarnation(cluster_->identity().incarnation);
  hello.set_recipe_digest(cluster_->config().digests.recipe);
  hello.set_layout_digest(cluster_->config().digests.layout);
  hello.add_up_codecs("fp32");
  hello.add_down_codecs("fp32");
  hello.set_ns_per_step(1000);
  return hello;
}

PeerRig::Attendee PeerRig::attend(int64_t worker) {
  auto session = reception_->attend(WorkerId(worker), hello());
  RUBATO_CHECK(session.ok(), session.status().message());
  const v1::Welcome& welcome = (*session)->welcome().welcome();
  v1::Task task = welcome.tasks_size() > 0 ? welcome.tasks(0) : next_task(**session);
  return {std::move(*session), std::move(task)};
}

v1::Task PeerRig::next_task(Session& session) {
  while (const std::optional<v1::ToWorker> message = session.box().take()) {
    if (message->has_dispatch()) return message->dispatch().task();
  }
  RUBATO_CHECK(false, "the session ended without a task");
  return {};
}

PeerDelta PeerRig::delta(const v1::Task& task, std::span<const float> values) const {
  const auto bytes = std::as_bytes(values);
  PeerDelta delta;
  delta.encoded.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  delta.header.set_task(task.id());
  delta.header.set_incarnation(cluster_->identity().incarnation);
  delta.header.mutable_codec()->set_name("fp32");
  delta.header.set_bytes(std::ssize(delta.encoded));
  delta.header.set_digest(digest_of(std::string_view(delta.encoded)));
  delta.header.set_steps_done(task.steps());
  delta.header.set_tokens(task.steps());  // batches of one sequence of one token
  delta.header.set_train_ns(task.steps() * 1000);
  delta.header.set_mean_loss(1.5);
  delta.header.set_last_lr(0.1);
  return delta;
}

PeerDelta PeerRig::delta(const v1::Task& task, float value) const {
  return delta(task, std::vector<float>(initial_.size(), value));
}

PeerDelta PeerRig::delta_by(const v1::Codec& codec, const v1::Task& task, float value) const {
  const auto encoder = codec_from_proto(codec).value();
  const std::vector<float> values(initial_.size(), value);
  PeerDelta delta = this->delta(task, values);
  delta.encoded.resize(static_cast<size_t>(encoder->encoded_bytes(std::ssize(values))));
  encoder->encode(values, std::as_writable_bytes(std::span(delta.encoded)));
  *delta.header.mutable_codec() = codec;
  delta.header.set_bytes(std::ssize(delta.encoded));
  delta.header.set_digest(digest_of(std::string_view(delta.encoded)));
  return delta;
}

Chunk PeerRig::chunk_of(std::string_view encoded, int64_t offset, int64_t bytes) {
  const auto data = encoded.substr(static_cast<size_t>(offset), static_cast<size_t>(bytes));
  return make_chunk(offset, std::ssize(encoded), data, nullptr);
}

StatusOr<v1::PushReply> PeerRig::push(int64_t worker, const PeerDelta& delta, int64_t chunk_bytes,
                                      int64_t offset) {
  RUBATO_ASSIGN_OR_RETURN(const auto push, reception_->push(WorkerId(worker), delta.header));
  for (; !push->answer() && offset < std::ssize(delta.encoded); offset += chunk_bytes)
    RUBATO_RETURN_IF_ERROR(push->add(chunk_of(delta.encoded, offset, chunk_bytes)));
  return push->finish();
}

}  // namespace rubato
