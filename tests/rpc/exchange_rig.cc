#include "tests/rpc/exchange_rig.h"

#include <utility>

#include "tests/rpc/actors/scene.h"

#include "rubato/base/digest.h"
#include "rubato/rpc/enrolment.h"
#include "rubato/rpc/wire.h"

namespace rubato {
namespace {

constexpr int64_t kNow = 1'900'000'000;  // [unix s] of everything that carries a date
constexpr int64_t kEndless = int64_t{1} << 40;

ClusterConfig endless_config(const std::string& directory, const Layout& layout) {
  ClusterConfig config;
  config.directory = directory;
  config.digests = {.recipe = "recipe", .data = "data", .layout = layout_digest(layout)};
  CoordinatorConfig& coordinator = config.machine.coordinator;
  coordinator.local_steps = 1;
  coordinator.budget_steps = coordinator.schedule_steps = kEndless;
  config.machine.chain = {.links = {}, .rule = "sgd", .options = {}};
  config.shard_sequences = {kEndless};
  return config;
}

class NotedStream final : public ControlStream {
 public:
  NotedStream(std::unique_ptr<ControlStream> stream, LinkNotes& notes)
      : stream_(std::move(stream)), notes_(notes) {}

  bool send(const v1::FromWorker& message) override { return stream_->send(message); }
  std::optional<v1::ToWorker> next() override {
    std::optional<v1::ToWorker> message = stream_->next();
    if (message && message->has_heartbeat_ack()) {
      const std::lock_guard lock(notes_.mutex);
      notes_.round_trips.push_back(steady_now() - message->heartbeat_ack().sent_ns());
    }
    return message;
  }
  Status finish() override { return stream_->finish(); }
  void cancel() override { stream_->cancel(); }

 private:
  std::unique_ptr<ControlStream> stream_;
  LinkNotes& notes_;
};

// Notes where every try begins, and how long heartbeats take.
class NotedLink final : public CoordinatorLink {
 public:
  NotedLink(CoordinatorLink& link, LinkNotes& notes) : link_(link), notes_(notes) {}

  StatusOr<v1::RunDescription> describe(const v1::DescribeRequest& request) override {
    return link_.describe(request);
  }
  StatusOr<std::unique_ptr<ControlStream>> attend(const v1::Hello& hello) override {
    RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<ControlStream> stream, link_.attend(hello));
    return std::make_unique<NotedStream>(std::move(stream), notes_);
  }
  StatusOr<v1::PushOffsetReply> push_offset(const v1::PushOffsetRequest& request) override {
    return link_.push_offset(request);
  }
  Status fetch(const v1::FetchRequest& request,
               const std::function<Status(const Chunk&)>& sink) override {
    notes_.tries.push_back(request.offset());
    return link_.fetch(request, sink);
  }
  StatusOr<v1::PushReply> push(const v1::DeltaHeader& header,
                               const std::function<bool(Chunk&)>& source) override {
    bool noted = false;
    return link_.push(header, [&](Chunk& chunk) {
      const bool more = source(chunk);
      if (more && !std::exchange(noted, true)) notes_.tries.push_back(chunk.offset);
      return more;
    });
  }

 private:
  CoordinatorLink& link_;
  LinkNotes& notes_;
};

v1::Hello hello_of(const v1::RunDescription& run) {
  v1::Hello hello;
  hello.mutable_protocol()->set_first(kProtocolFirst);
  hello.mutable_protocol()->set_last(kProtocolLast);
  hello.set_run(run.run());
  hello.set_incarnation(run.incarnation());
  hello.set_recipe_digest(run.recipe_digest());
  hello.set_layout_digest(run.layout().digest());
  hello.add_up_codecs("fp32");
  hello.add_down_codecs("fp32");
  hello.set_ns_per_step(kNanosPerSecond);
  return hello;
}

}  // namespace

// ---- the coordinator

ExchangeRig::ExchangeRig(const ExchangeRigConfig& config) : directory_(config.directory) {
  layout_.add("synthetic.weight", {config.num_params}, TensorRole::kMatrix);
  const ClusterServices services{.files = &files_,
                                 .clock = steady_now,
                                 .sink = &sink_,
                                 .evaluate = nullptr,
                                 .note = [](const Notice&) {},
                                 .stop_evaluation = nullptr,
                                 .snapshot_notes = nullptr};
  cluster_ = Cluster::open(endless_config(directory_, layout_), services, layout_, [&] {
               return StatusOr<std::vector<float>>(
                   std::vector<float>(static_cast<size_t>(config.num_params), 0.5f));
             }).value();
  ReceptionConfig reception;
  reception_ = Reception::make(*cluster_, reception).value();
  authority_.emplace(Authority::create_or_load(files_, directory_, kNow).value());
  admission_ = Admission::open(files_, directory_).value();
  gatekeeper_.emplace(*authority_, *admission_, true, [] { return kNow; });
  ServerConfig server;
  server.listen = config.listen;
  server_ = listen_grpc(server, *reception_, *gatekeeper_).value();
  driver_ = std::thread([this] { cluster_->run(&stop_).IgnoreError(); });
}

ExchangeRig::~ExchangeRig() {
  stop_ = true;
  driver_.join();
  server_.reset();
  cluster_.reset();
  files_.remove_tree(directory_).IgnoreError();
}

LinkConfig ExchangeRig::admit(const std::string& address) {
  const auto invited = admission_->invite(kNow, kDayS, "synthetic").value();
  const std::string request = PrivateKey::make().value().request_pem().value();
  const Enrolled enrolled =
      enrol_worker(*authority_, *admission_, invited.secret.reveal(), request, kNow).value();
  LinkConfig link;
  link.address = address;
  link.worker = enrolled.worker.value();
  link.token = admission_->draw_token(enrolled.worker).value().reveal();
  return link;
}

// ---- the worker

SyntheticWorker::SyntheticWorker(const LinkConfig& config, int64_t num_params)
    : wire_(make_grpc_link(config)), link_(std::make_unique<NotedLink>(*wire_, notes_)) {
  codec_name_.set_name("fp32");
  codec_ = codec_from_proto(codec_name_).value();
  v1::DescribeRequest request;
  request.mutable_protocol()->set_first(kProtocolFirst);
  request.mutable_protocol()->set_last(kProtocolLast);
  run_ = link_->describe(request).value();
  RUBATO_CHECK(run_.layout().tensors(0).shape(0) == num_params, num_params);
  environment_.clock = steady_now;
  environment_.note = [](const Notice&) {};
  environment_.patience = 60 * kNanosPerSecond;
  environment_.pacer = std::make_shared<LinkPacer>(steady_now);
  attendance_.emplace(*link_, hello_of(run_), run_.heartbeat_interval_ns(), environment_);
  courier_.emplace(*link_, environment_);
}

v1::Task SyntheticWorker::next_task() {
  const std::optional<v1::Task> task = attendance_->next_task();
  RUBATO_CHECK(task.has_value(), attendance_->end().message());
  return *task;
}

std::vector<Nanos> SyntheticWorker::take_round_trips() {
  const std::lock_guard lock(notes_.mutex);
  return std::exchange(notes_.round_trips, {});
}

StatusOr<UpdateVerdict> SyntheticWorker::push(const v1::Task& task, const Encoding& delta) {
  v1::DeltaHeader header;
  header.set_task(task.id());
  header.set_incarnation(run_.incarnation());
  *header.mutable_codec() = codec_name_;
  header.set_bytes(std::ssize(*delta));
  header.set_digest(
      digest_of(std::string_view(reinterpret_cast<const char*>(delta->data()), delta->size())));
  header.set_steps_done(task.steps());
  header.set_tokens(task.steps());
  header.set_train_ns(kNanosPerSecond);
  return courier_->push(header, delta, *codec_, [] { return true; });
}

Status SyntheticWorker::fetch(int64_t version, std::span<float> values) {
  return courier_->fetch_parameters(version, *codec_, codec_name_, values, [] { return true; });
}

Encoding constant_delta(int64_t num_params, float value) {
  auto bytes =
      std::make_shared<std::vector<std::byte>>(static_cast<size_t>(num_params) * sizeof(float));
  std::fill_n(reinterpret_cast<float*>(bytes->data()), num_params, value);
  return bytes;
}

}  // namespace rubato
