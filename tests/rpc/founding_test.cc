// A run of an opaque model gets its model from the first worker: what may be one, when it is one,
// and that a worker of nothing but the protocol's messages then trains it, in this process and over
// gRPC.
#include "rubato/rpc/founding.h"

#include <cmath>
#include <ctime>

#include "tests/rpc/local_link.h"
#include "tests/rpc/locked_file_system.h"
#include "tests/rpc/refusals.h"
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include "rubato/metrics/sink.h"
#include "rubato/rpc/grpc_link.h"
#include "rubato/rpc/grpc_service.h"
#include "rubato/rpc/transport.h"
#include "rubato/rpc/wire.h"
#include "rubato/rpc/worker_key.h"
#include "rubato/v1/exchange.grpc.pb.h"

namespace rubato {
namespace {

using Code = absl::StatusCode;
constexpr char kRun[] = "/run";
const std::string kRecipe(32, 'a');
constexpr int64_t kBudgetSteps = 24, kBatch = 2, kTokens = 8;

Layout opaque_layout() {
  Layout layout;
  layout.add("embed.weight", {3, 2}, TensorRole::kEmbedding);
  layout.add("block.0.weight", {2, 5}, TensorRole::kMatrix);
  layout.add("norm", {5}, TensorRole::kNorm);
  layout.add("scale", {}, TensorRole::kBias);
  return layout;
}

// A worker in another language, as far as the coordinator can tell: it has a model of its own and
// knows the protocol's messages.
struct Synthetic {
  v1::Layout layout = to_proto(opaque_layout());
  std::vector<float> initial = [] {
    std::vector<float> values;
    for (int i = 0; i < 22; ++i) values.push_back(0.25F * static_cast<float>(i) - 2);
    return values;
  }();

  std::string bytes() const {
    return {reinterpret_cast<const char*>(initial.data()), initial.size() * sizeof(float)};
  }
  v1::FoundHeader header() const {
    v1::FoundHeader header;
    *header.mutable_layout() = layout;
    header.set_bytes(std::ssize(initial) * 4);
    header.set_digest(digest_of(std::string_view(bytes())));
    header.set_recipe_digest(kRecipe);
    return header;
  }
  static v1::DescribeRequest describe_request() {
    v1::DescribeRequest request;
    request.mutable_protocol()->set_first(1);
    request.mutable_protocol()->set_last(1);
    return request;
  }
  v1::Hello hello(const v1::RunDescription& run) const {
    v1::Hello hello;
    hello.mutable_protocol()->set_first(1);
    hello.mutable_protocol()->set_last(1);
    hello.set_run(run.run());
    hello.set_incarnation(run.incarnation());
    hello.set_recipe_digest(run.recipe_digest());
    hello.set_layout_digest(layout.digest());
    return hello;
  }

  /// Works until the run releases it; the parameters of version 0, and how many deltas counted.
  struct Work {
    std::vector<float> first;
    int64_t applied = 0;
  };
  StatusOr<Work> work(CoordinatorLink& link) const {
    Work done;
    RUBATO_ASSIGN_OR_RETURN(const v1::RunDescription run, link.describe(describe_request()));
    if (run.wants_model() || run.layout().digest() != layout.digest())
      return absl::FailedPreconditionError("[test] the run has not this model");
    RUBATO_ASSIGN_OR_RETURN(const auto stream, link.attend(hello(run)));
    while (const std::optional<v1::ToWorker> message = stream->next()) {
      if (message->has_release()) return done;
      if (message->has_welcome() && message->welcome().up_codec().name() != "fp32")
        return absl::InternalError("[test] asked for nothing but floats");
      if (message->has_dispatch())
        RUBATO_RETURN_IF_ERROR(do_task(link, run, message->dispatch().task(), done));
    }
    return absl::UnavailableError("[test] the stream ended");
  }

  Status do_task(CoordinatorLink& link, const v1::RunDescription& run, const v1::Task& task,
                 Work& done) const {
    v1::FetchRequest request;
    request.set_version(task.fragments(0).base_version());
    request.mutable_codec()->set_name("fp32");
    std::vector<float> params;
    RUBATO_RETURN_IF_ERROR(link.fetch(request, [&](const Chunk& chunk) {
      const size_t count = chunk.data.size() / sizeof(float);
      params.resize(params.size() + count);
      std::memcpy(&params[params.size() - count], chunk.data.data(), chunk.data.size());
      return absl::OkStatus();
    }));
    if (request.version() == 0) done.first = params;
    // It learns to be zero.
    for (float& value : params) value *= 0.5F;
    const std::string delta(reinterpret_cast<const char*>(params.data()), params.size() * 4);
    v1::DeltaHeader header;
    header.set_task(task.id());
    header.set_incarnation(run.incarnation());
    header.mutable_codec()->set_name("fp32");
    header.set_bytes(std::ssize(delta));
    header.set_digest(digest_of(std::string_view(delta)));
    header.set_steps_done(task.steps());
    header.set_tokens(task.steps() * kBatch * kTokens);
    header.set_train_ns(task.steps() * 1000);
    bool is_sent = false;
    RUBATO_ASSIGN_OR_RETURN(const v1::PushReply reply, link.push(header, [&](Chunk& chunk) {
      if (std::exchange(is_sent, true)) return false;
      chunk = make_chunk(0, std::ssize(delta), delta, nullptr);
      return true;
    }));
    done.applied += reply.verdict() == v1::PushReply::VERDICT_APPLIED;
    return absl::OkStatus();
  }
};

std::unique_ptr<Founding> make_founding(FileSystem& files) {
  FoundingConfig config{.directory = kRun, .description = {}, .check_room = {}, .note = {}};
  config.description.set_recipe_digest(kRecipe);
  config.description.set_heartbeat_interval_ns(kNanosPerSecond);
  config.description.set_lease_ns(10 * kNanosPerSecond);
  config.note = [](const Notice&) {};
  RUBATO_CHECK(files.make_directories(kRun).ok());
  return std::make_unique<Founding>(files, std::move(config));
}

Status found(Desk& desk, const Synthetic& worker, int64_t chunk_bytes = 12) {
  RUBATO_ASSIGN_OR_RETURN(const auto upload, desk.found(WorkerId(0), worker.header()));
  const std::string bytes = worker.bytes();
  for (int64_t at = 0; at < std::ssize(bytes); at += chunk_bytes) {
    const auto data =
        std::string_view(bytes).substr(static_cast<size_t>(at), static_cast<size_t>(chunk_bytes));
    RUBATO_RETURN_IF_ERROR(upload->add(make_chunk(at, std::ssize(bytes), data, nullptr)));
  }
  return upload->finish().status();
}

// The run behind the founding, as a coordinator opens it.
class OpaqueRun {
 public:
  explicit OpaqueRun(FileSystem& files) : layout_(*read_model_layout(files, kRun).value()) {
    ClusterConfig config;
    config.directory = kRun;
    config.digests = {
        .recipe = kRecipe, .data = std::string(32, 'b'), .layout = layout_digest(layout_)};
    config.machine.coordinator.local_steps = 4;
    config.machine.coordinator.batch_sequences = kBatch;
    config.machine.coordinator.budget_steps = kBudgetSteps;
    config.machine.coordinator.schedule_steps = kBudgetSteps;
    config.machine.chain = {.links = {}, .rule = "sgd", .options = {}};
    config.shard_sequences = {64, 64};
    config.tokens_per_sequence = kTokens;
    ClusterServices services;
    services.files = &files;
    services.clock = [] {
      timespec time{};
      clock_gettime(CLOCK_MONOTONIC, &time);
      return time.tv_sec * kNanosPerSecond + time.tv_nsec;
    };
    services.sink = &sink_;
    services.note = [](const Notice&) {};
    cluster_ = Cluster::open(config, services, layout_, [&files] {
                 return read_model_parameters(files, kRun);
               }).value();
    reception_ = Reception::make(*cluster_, {}).value();
    driver_ = std::thread([this] { end_ = cluster_->run(&stop_); });
  }
  ~OpaqueRun() {
    stop_ = true;
    if (driver_.joinable()) driver_.join();
  }
  Reception& reception() { return *reception_; }
  Cluster::End wait() {
    driver_.join();
    return end_.value();
  }
  std::span<const float> theta() const { return cluster_->theta(); }
  const Layout& layout() const { return layout_; }

 private:
  Layout layout_;
  MemorySink sink_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Reception> reception_;
  std::atomic<bool> stop_{false};
  std::thread driver_;
  StatusOr<Cluster::End> end_ = absl::UnknownError("not run");
};

// ---- what may be a model

TEST(LayoutFromProto, GivesBackWhatWasDescribed) {
  const auto layout = layout_from_proto(to_proto(opaque_layout()));
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(layout->describe(), opaque_layout().describe());
  EXPECT_EQ(layout->size(), 22);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(layout->tensors()[i].role, opaque_layout().tensors()[i].role);
}

// What control.proto tells people who write workers.
TEST(LayoutFromProto, TheDigestIsOfLinesOfText) {
  EXPECT_EQ(to_proto(opaque_layout()).digest(),
            digest_of(std::string_view(
                "embed.weight [3,2]\nblock.0.weight [2,5]\nnorm [5]\nscale []\n")));
}

TEST(LayoutFromProto, RefusesWhatCannotBe) {
  using L = v1::Layout;
  struct Wrong {
    const char* name;
    std::function<void(L&)> spoil;
    std::string words;
  };
  const Wrong wrongs[] = {
      {"nothing", [](L& l) { l.clear_tensors(); }, "tensors: got 0"},
      {"too many",
       [](L& l) {
         for (int i = 0; i < 10'000; ++i) l.add_tensors()->set_name(cat(i));
       },
       "tensors: got 10004"},
      {"no name", [](L& l) { l.mutable_tensors(1)->clear_name(); }, "want a name of its own"},
      {"a name twice", [](L& l) { l.mutable_tensors(1)->set_name("norm"); }, "\"norm\" twice"},
      {"two lines", [](L& l) { l.mutable_tensors(1)->set_name("a\nb"); }, "[layout] name"},
      {"a book", [](L& l) { l.mutable_tensors(1)->set_name(std::string(300, 'x')); }, "300 bytes"},
      {"no type", [](L& l) { l.mutable_tensors(1)->clear_dtype(); }, "dtype: got 0"},
      {"no role", [](L& l) { l.mutable_tensors(1)->clear_role(); }, "role: got 0"},
      {"empty", [](L& l) { l.mutable_tensors(1)->set_shape(0, 0); }, "a size: got 0"},
      {"negative", [](L& l) { l.mutable_tensors(1)->set_shape(0, -3); }, "a size: got -3"},
      {"overflow", [](L& l) { l.mutable_tensors(1)->set_shape(0, int64_t{1} << 62); }, "in all"},
      {"huge",
       [](L& l) {
         for (int i = 0; i < 4; ++i) {
           l.mutable_tensors(i)->clear_shape();
           l.mutable_tensors(i)->add_shape(int64_t{1} << 39);
         }
       },
       "parameters"},
      {"deep",
       [](L& l) {
         for (int i = 0; i < 9; ++i) l.mutable_tensors(1)->add_shape(1);
       },
       "dimensions"},
      {"no digest", [](L& l) { l.clear_digest(); }, "[layout] digest"},
      {"another's", [](L& l) { l.set_digest(kRecipe); }, "its own"}};
  for (const Wrong& wrong : wrongs) {
    SCOPED_TRACE(wrong.name);
    L layout = to_proto(opaque_layout());
    wrong.spoil(layout);
    expect_refusal(layout_from_proto(layout).status(), Code::kInvalidArgument, wrong.words);
  }
}

// ---- founding

TEST(Founding, TellsWhatItWantsAndRefusesTheRest) {
  LockedFileSystem files;
  const auto founding = make_founding(files);
  const auto run = founding->describe(Synthetic::describe_request());
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_TRUE(run->wants_model());
  EXPECT_EQ(run->recipe_digest(), kRecipe);
  EXPECT_EQ(run->run(), "");
  EXPECT_FALSE(run->has_layout());
  for (const Status& status :
       {founding->attend(WorkerId(0), {}).status(), founding->fetch(WorkerId(0), {}).status(),
        founding->push_offset(WorkerId(0), {}).status(), founding->push(WorkerId(0), {}).status()})
    expect_refusal(status, Code::kFailedPrecondition, "a run that has no model yet");
}

TEST(Founding, RefusesParametersThatCannotBe) {
  LockedFileSystem files;
  const auto founding = make_founding(files);
  Synthetic worker;
  v1::FoundHeader header = worker.header();
  header.set_bytes(87);
  expect_refusal(founding->found(WorkerId(0), header).status(), Code::kInvalidArgument,
                 "bytes: got 87, want 88");
  header = worker.header();
  header.set_recipe_digest(std::string(32, 'f'));
  expect_refusal(founding->found(WorkerId(0), header).status(), Code::kFailedPrecondition,
                 "recipe_digest");
  header = worker.header();
  header.clear_digest();
  expect_refusal(founding->found(WorkerId(0), header).status(), Code::kInvalidArgument, "digest");
  expect_refusal(found(*founding, worker, 6), Code::kInvalidArgument, "whole floats");
  {
    const auto upload = founding->found(WorkerId(0), worker.header());
    expect_refusal((*upload)->finish().status(), Code::kDataLoss, "got 0 of 88 bytes");
  }
  worker.initial[7] = NAN;
  expect_refusal(found(*founding, worker), Code::kInvalidArgument, "want finite ones");
  worker.initial[7] = 1;
  header = worker.header();
  header.set_digest(std::string(32, '0'));
  {
    const auto upload = founding->found(WorkerId(0), header);
    const std::string bytes = worker.bytes();
    ASSERT_TRUE((*upload)->add(make_chunk(0, 88, bytes, nullptr)).ok());
    expect_refusal((*upload)->finish().status(), Code::kDataLoss, "want the announced");
  }
  EXPECT_FALSE(founding->wait(0));
  EXPECT_FALSE(read_model_layout(files, kRun)->has_value());
}

TEST(Founding, TakesOneModelOfOneWorkerAtATime) {
  LockedFileSystem files;
  const auto founding = make_founding(files);
  const Synthetic worker;
  {
    const auto first = founding->found(WorkerId(0), worker.header());
    ASSERT_TRUE(first.ok()) << first.status();
    expect_refusal(founding->found(WorkerId(1), worker.header()).status(), Code::kUnavailable,
                   "while another worker sends its own");
  }
  // The first one is gone.
  ASSERT_TRUE(found(*founding, worker).ok());
  EXPECT_TRUE(founding->wait(0));
  expect_refusal(founding->found(WorkerId(1), worker.header()).status(), Code::kAlreadyExists,
                 "a run that has one");
  EXPECT_EQ(*read_model_parameters(files, kRun), worker.initial);
  EXPECT_EQ((*read_model_layout(files, kRun))->describe(), opaque_layout().describe());
}

TEST(Founding, AsksForRoomFirst) {
  LockedFileSystem files;
  FoundingConfig config{.directory = kRun, .description = {}, .check_room = {}, .note = {}};
  config.description.set_recipe_digest(kRecipe);
  config.check_room = [](const Layout& layout) {
    return absl::ResourceExhaustedError(cat("[memory] want ", layout.size(), " more"));
  };
  Founding founding(files, config);
  expect_refusal(founding.found(WorkerId(0), Synthetic().header()).status(),
                 Code::kResourceExhausted, "want 22 more");
}

// Wherever the power goes, the run has the whole model or the next worker is asked, and once the
// founder was told so it has it.
TEST(Founding, IsDurableWhenItIsAnsweredAndNothingBefore) {
  const Synthetic worker;
  for (const CrashKeeps keeps :
       {CrashKeeps::kNothing, CrashKeeps::kNames, CrashKeeps::kNamesAndHalf,
        CrashKeeps::kNamesAndHole, CrashKeeps::kEverything}) {
    for (int64_t power = 0; power < 40; ++power) {
      MemoryFileSystem files;
      const auto founding = make_founding(files);
      ASSERT_TRUE(files.sync_directory("/").ok());
      files.cut_power_after(power);
      const bool is_told = found(*founding, worker).ok();
      files.restart(keeps);
      const auto layout = read_model_layout(files, kRun);
      ASSERT_TRUE(layout.ok()) << layout.status();
      EXPECT_TRUE(layout->has_value() || !is_told) << power;
      if (layout->has_value()) {
        EXPECT_EQ(*read_model_parameters(files, kRun), worker.initial);
      } else {
        EXPECT_TRUE(found(*make_founding(files), worker).ok()) << power;
      }
    }
  }
}

TEST(ModelFile, DamageIsFoundOut) {
  LockedFileSystem files;
  ASSERT_TRUE(found(*make_founding(files), Synthetic()).ok());
  std::string bytes = *files.read_file(model_path(kRun));
  bytes.replace(bytes.find("emnb"), 4, "em?b");
  ASSERT_TRUE(files.replace_file(model_path(kRun), bytes).ok());
  expect_refusal(read_model_layout(files, kRun).status(), Code::kDataLoss, "[model]");
}

// ---- the run behind it

TEST(OpaqueRun, TrainsWhatItsFirstWorkerGave) {
  LockedFileSystem files;
  const Synthetic worker;
  ASSERT_TRUE(found(*make_founding(files), worker).ok());
  OpaqueRun run(files);
  const auto link = make_local_link(run.reception(), WorkerId(0));
  // Another one's model.
  Synthetic other;
  other.layout.mutable_tensors(0)->set_name("wte.weight");
  other.layout.set_digest(std::string(32, 'c'));
  const auto description = link->describe(Synthetic::describe_request());
  ASSERT_TRUE(description.ok());
  EXPECT_FALSE(description->wants_model());
  EXPECT_EQ(description->layout().digest(), worker.layout.digest());
  EXPECT_EQ(description->layout().tensors(0).role(), v1::Tensor::ROLE_EMBEDDING);
  expect_refusal(run.reception().attend(WorkerId(1), other.hello(*description)).status(),
                 Code::kFailedPrecondition,
                 cat("layout_digest: got ", other.layout.digest(), ", want "));
  expect_refusal(run.reception().found(WorkerId(1), other.header()).status(), Code::kAlreadyExists,
                 "a run that has one");

  const auto work = worker.work(*link);
  ASSERT_TRUE(work.ok()) << work.status();
  EXPECT_EQ(work->first, worker.initial);
  EXPECT_EQ(work->applied, kBudgetSteps / 4);
  EXPECT_EQ(run.wait(), Cluster::End::kFinished);
  for (size_t i = 0; i < worker.initial.size(); ++i)
    EXPECT_LE(std::abs(run.theta()[i]), std::abs(worker.initial[i]));
}

// The generated stubs and nothing else on the worker's side of the founding.
TEST(OpaqueRun, IsFoundedAndTrainedOverGrpc) {
  LockedFileSystem files;
  const auto now = [] { return static_cast<int64_t>(std::time(nullptr)); };
  Authority authority = Authority::create_or_load(files, kRun, now()).value();
  const auto admission = Admission::open(files, kRun).value();
  Gatekeeper gatekeeper(authority, *admission, false, now);
  const ServerIdentity identity = authority.issue_server({}, now()).value();
  ServerConfig config;
  config.listen = "127.0.0.1:0";
  config.certificate_pem = identity.chain;
  config.key_pem = identity.private_key.reveal();
  config.ca_pem = authority.certificate_pem();
  const auto founding = make_founding(files);
  auto server = listen_grpc(config, *founding, gatekeeper).value();

  LinkConfig link_config;
  link_config.address = cat("127.0.0.1:", server->port());
  link_config.ca_pem = authority.certificate_pem();
  const PrivateKey key = PrivateKey::make().value();
  v1::EnrolRequest request;
  request.set_secret(admission->invite(now(), 3600, "a test").value().secret.reveal());
  request.set_csr_pem(key.request_pem().value());
  link_config.certificate_pem = enrol_over_grpc(link_config, request).value().certificate_pem();
  link_config.key_pem = key.pem().value().reveal();

  const Synthetic worker;
  EXPECT_TRUE(make_grpc_link(link_config)->describe(Synthetic::describe_request())->wants_model());
  const auto stub = v1::Exchange::NewStub(make_channel(link_config));
  {
    grpc::ClientContext context;
    v1::FoundReply reply;
    const auto writer = stub->Found(&context, &reply);
    v1::FoundPart part;
    *part.mutable_header() = worker.header();
    EXPECT_TRUE(writer->Write(part));
    const std::string bytes = worker.bytes();
    for (size_t at = 0; at < bytes.size(); at += 20) {
      const std::string data = bytes.substr(at, 20);
      v1::Chunk& chunk = *part.mutable_chunk();
      chunk.set_offset(static_cast<int64_t>(at));
      chunk.set_total(std::ssize(bytes));
      chunk.set_checksum(checksum_of(data));
      chunk.set_data(data);
      writer->Write(part);
    }
    writer->WritesDone();
    const grpc::Status status = writer->Finish();
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  ASSERT_TRUE(founding->wait(0));
  config.listen = link_config.address;
  server.reset();

  // The same place, and now a run is there.
  OpaqueRun run(files);
  server = listen_grpc(config, run.reception(), gatekeeper).value();
  const auto work = worker.work(*make_grpc_link(link_config));
  ASSERT_TRUE(work.ok()) << work.status();
  EXPECT_EQ(work->first, worker.initial);
  EXPECT_EQ(work->applied, kBudgetSteps / 4);
  EXPECT_EQ(run.wait(), Cluster::End::kFinished);
  server.reset();  // its calls look at the run to their end
}

}  // namespace
}  // namespace rubato
