// Codecs are agreed with each worker: what it gets, what it may then send, and that a run of mixed
// codecs replays to the same bits.
#include "rubato/rpc/codec_agreement.h"

#include <map>
#include <set>

#include "tests/rpc/cluster_rig.h"
#include "tests/rpc/peer_rig.h"
#include "tests/rpc/refusals.h"
#include "tests/sim/fixtures.h"
#include <gtest/gtest.h>

#include "rubato/rpc/replay.h"
#include "rubato/rpc/wire.h"

namespace rubato {
namespace {

using Code = absl::StatusCode;
using Names = std::vector<std::string>;

v1::Hello hello_of(const Names& up, const Names& down) {
  v1::Hello hello;
  for (const std::string& name : up) hello.add_up_codecs(name);
  for (const std::string& name : down) hello.add_down_codecs(name);
  return hello;
}

MachineConfig config_of(Choice up, Choice down) {
  MachineConfig config;
  config.up_codec = std::move(up);
  config.down_codec = std::move(down);
  return config;
}

TEST(CodecAgreement, FollowsTheOrderOfPreference) {
  struct Case {
    std::string recipe;
    Names listed;
    std::string agreed;
  };
  const Case cases[] = {{"top_k", {"fp32", "int8", "top_k"}, "top_k"},
                        {"top_k", {"int4", "int8", "bf16"}, "bf16"},
                        {"top_k", {"int4", "int8"}, "int8"},
                        {"int8", {"int4"}, "int4"},
                        {"int8", {"gzip", "\n"}, "fp32"},
                        {"int8", {"top_k"}, "fp32"},
                        {"int8", {}, "fp32"},
                        {"fp32", {"int8", "bf16"}, "fp32"}};
  for (const Case& c : cases) {
    const auto agreement = CodecAgreement::make(config_of({c.recipe, {}}, {"fp32", {}}), false);
    ASSERT_TRUE(agreement.ok()) << agreement.status();
    const auto agreed = agreement->agree(hello_of(c.listed, {}));
    ASSERT_TRUE(agreed.ok()) << agreed.status();
    EXPECT_EQ(agreed->up.name.name(), c.agreed) << c.recipe;
    EXPECT_EQ(agreed->up.codec->name(), c.agreed);
    EXPECT_EQ(agreed->down.name.name(), "fp32");
  }
}

TEST(CodecAgreement, EverySubstituteIsACodec) {
  for (const std::string_view name : kUpSubstitutes)
    EXPECT_TRUE(make_codec(std::string(name)).ok()) << name;
}

TEST(CodecAgreement, OptionsAreTheRecipesOrTheDefaults) {
  const auto agreement =
      CodecAgreement::make(config_of({"int8", {{"block", int64_t{64}}}}, {"fp32", {}}), false);
  const auto own = agreement->agree(hello_of({"int8"}, {}));
  EXPECT_EQ(own->up.codec->block_values(), 64);
  EXPECT_EQ(own->up.name.options().at("block"), 64);
  const auto other = agreement->agree(hello_of({"int4"}, {}));
  EXPECT_EQ(other->up.name.options_size(), 0);
  EXPECT_EQ(other->up.codec->block_values(), (*make_codec("int4"))->block_values());
}

TEST(CodecAgreement, ParametersGoAsTheRecipeSaysOrAsTheyAre) {
  const auto agreement = CodecAgreement::make(config_of({"fp32", {}}, {"bf16", {}}), false);
  EXPECT_EQ(agreement->agree(hello_of({}, {"bf16"}))->down.name.name(), "bf16");
  EXPECT_EQ(agreement->agree(hello_of({}, {"int8"}))->down.name.name(), "fp32");
  for (const char* name : {"bf16", "fp32"}) {
    v1::Codec codec;
    codec.set_name(name);
    EXPECT_EQ((*agreement->find_down(codec))->name(), name);
  }
  v1::Codec other;
  other.set_name("int8");
  expect_refusal(agreement->find_down(other).status(), Code::kInvalidArgument,
                 "[fetch] codec: got int8, want bf16 or fp32");
}

TEST(CodecAgreement, TheVirtualClockInsistsOnTheRecipe) {
  const auto agreement = CodecAgreement::make(config_of({"int8", {}}, {"bf16", {}}), true);
  EXPECT_TRUE(agreement->agree(hello_of({"int8"}, {"bf16"})).ok());
  expect_refusal(agreement->agree(hello_of({"bf16"}, {"bf16"})).status(), Code::kFailedPrecondition,
                 "up_codecs: got 1 others, want int8, the recipe's");
  expect_refusal(agreement->agree(hello_of({"int8"}, {})).status(), Code::kFailedPrecondition,
                 "down_codecs: got 0 others, want bf16, the recipe's: on the virtual clock");
}

// ---- one peer

PeerRigOptions mixed_options() {
  PeerRigOptions options;
  options.up_codec = {"top_k", {}};
  options.down_codec = {"bf16", {}};
  return options;
}

v1::Hello peer_hello(const PeerRig& rig, const char* up) {
  v1::Hello hello = rig.hello();
  hello.clear_up_codecs();
  hello.add_up_codecs(up);
  hello.set_has_state(true);  // it goes on where it was
  return hello;
}

TEST(AgreedCodec, IsWhatADeltaMustHave) {
  PeerRig rig(mixed_options());
  const auto session = rig.reception().attend(WorkerId(0), peer_hello(rig, "int8"));
  ASSERT_TRUE(session.ok()) << session.status();
  const v1::Welcome& welcome = (*session)->welcome().welcome();
  EXPECT_EQ(welcome.up_codec().name(), "int8");
  EXPECT_EQ(welcome.down_codec().name(), "fp32");
  const v1::Task task = PeerRig::next_task(**session);
  expect_refusal(rig.push(0, rig.delta(task)).status(), Code::kInvalidArgument,
                 "[push] codec: got fp32, want int8");
  v1::Codec recipe;
  recipe.set_name("top_k");
  expect_refusal(rig.push(0, rig.delta_by(recipe, task)).status(), Code::kInvalidArgument,
                 "codec: got top_k, want int8");
  const auto reply = rig.push(0, rig.delta_by(welcome.up_codec(), task), 1 << 20);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->verdict(), v1::PushReply::VERDICT_APPLIED);
  ASSERT_TRUE(rig.stop().ok());
  const UpdateRecord& update = rig.log().updates.at(0);
  EXPECT_EQ(update.bytes_down, 32 * 4);
  EXPECT_EQ(update.bytes_up, (*make_codec("int8"))->encoded_bytes(32));
}

TEST(AgreedCodec, OutlivesTheSessionUntilTheNextHello) {
  PeerRig rig(mixed_options());
  v1::Codec int8;
  int8.set_name("int8");
  PeerDelta delta;
  {
    const auto session = rig.reception().attend(WorkerId(0), peer_hello(rig, "int8"));
    delta = rig.delta_by(int8, PeerRig::next_task(**session));
  }
  // Between two sessions, then from a coordinator that knows nothing of any.
  EXPECT_TRUE(rig.reception().push(WorkerId(0), delta.header).ok());
  rig.forget_sessions();
  expect_refusal(rig.push(0, delta).status(), Code::kUnavailable, "want its hello first");
  const auto session = rig.reception().attend(WorkerId(0), peer_hello(rig, "int8"));
  ASSERT_TRUE(session.ok());
  EXPECT_EQ(rig.push(0, delta, 1 << 20)->verdict(), v1::PushReply::VERDICT_APPLIED);
  const v1::Task next = PeerRig::next_task(**session);
  const auto changed = rig.reception().attend(WorkerId(0), peer_hello(rig, "bf16"));
  ASSERT_TRUE(changed.ok());
  expect_refusal(rig.push(0, rig.delta_by(int8, next)).status(), Code::kInvalidArgument,
                 "codec: got int8, want bf16");
}

// The journal says by which codec each delta is to be read: another one's file moves nothing.
TEST(AgreedCodec, IsInTheJournal) {
  PeerRig rig(mixed_options());
  const auto session = rig.reception().attend(WorkerId(0), peer_hello(rig, "int8"));
  const v1::Task task = PeerRig::next_task(**session);
  v1::Codec int8;
  int8.set_name("int8");
  ASSERT_TRUE(rig.push(0, rig.delta_by(int8, task), 1 << 20).ok());
  ASSERT_TRUE(rig.stop().ok());
  const auto replay_now = [&] {
    return replay(rig.files(), rig.cluster().config(), rig.workload().layout(), ReplayFrom::kOldest,
                  nullptr);
  };
  ASSERT_TRUE(replay_now().ok());
  EXPECT_EQ(replay_now()->state_digest, rig.cluster().state_digest());

  const auto delta = rig.cluster().spool().read(TaskId(task.id()));
  ASSERT_TRUE(delta.ok()) << delta.status();
  DeltaMeta meta = delta->header.meta;
  meta.codec_options = "block = 64.0\n";
  const std::string forged =
      encode_delta_header(TaskId(task.id()), meta) + std::string(delta->payload);
  ASSERT_TRUE(rig.files().replace_file(delta->path, forged).ok());
  expect_refusal(replay_now().status(), Code::kDataLoss, "got a delta of codec int8 block = 64.0");
}

// ---- a cluster

TEST(MixedCodecs, TrainTogetherAndReplayToTheSameBits) {
  SimulationConfig training = toy_config();
  training.coordinator.budget_steps = 1200;
  training.coordinator.schedule_steps = 1200;
  training.coordinator.save_every_steps = 300;
  training.up_codec = {"top_k", {}};
  training.down_codec = {"bf16", {}};
  const auto workload = quadratic_workload();
  PosixFileSystem files;
  ClusterConfig config = cluster_config(training, *workload, fresh_directory("mixed-codecs"));
  config.keep_deltas = true;
  config.start_workers = 4;
  ClusterRig rig(training, *workload, config, files);
  ASSERT_TRUE(rig.open().ok());
  rig.start();
  const Names lists[] = {{"top_k", "int8"}, {"int8", "int4"}, {"int4"}, {}};
  for (int64_t id = 0; id < 4; ++id) {
    rig.add_worker(id, kNanosPerSecond / 1000, {}, [&list = lists[id]](v1::Hello& hello) {
      *hello.mutable_up_codecs() = {list.begin(), list.end()};
      if (list.empty()) hello.clear_down_codecs();
    });
  }
  const auto end = rig.wait();
  ASSERT_TRUE(end.ok()) << end.status();
  for (const Status& status : rig.join_workers()) EXPECT_TRUE(status.ok()) << status;

  std::map<WorkerId, std::set<std::pair<int64_t, int64_t>>> sizes;
  for (const UpdateRecord& update : rig.sink().log().updates) {
    EXPECT_TRUE(update.verdict == "applied" || update.verdict.starts_with("discarded"));
    sizes[update.worker].insert({update.bytes_up, update.bytes_down});
  }
  const int64_t params = workload->layout().size();
  const char* const agreed[] = {"top_k", "int8", "int4", "fp32"};
  for (int64_t id = 0; id < 4; ++id) {
    const int64_t up = (*make_codec(agreed[id]))->encoded_bytes(params);
    const std::set<std::pair<int64_t, int64_t>> want = {{up, params * (id == 3 ? 4 : 2)}};
    EXPECT_EQ(sizes[WorkerId(id)], want) << agreed[id];
  }
  EXPECT_EQ(rig.notices().of("codec").size(), 3u);
  for (const ReplayFrom from : {ReplayFrom::kOldest, ReplayFrom::kNewest}) {
    const auto replayed = replay(files, config, workload->layout(), from, nullptr);
    ASSERT_TRUE(replayed.ok()) << replayed.status();
    EXPECT_EQ(replayed->state_digest, rig.cluster().state_digest());
  }
}

TEST(MixedCodecs, AreNoneOnTheVirtualClock) {
  PeerRigOptions options = mixed_options();
  options.script = {ScriptedWorker{}};
  PeerRig rig(options);
  expect_refusal(rig.reception().attend(WorkerId(0), rig.hello()).status(),
                 Code::kFailedPrecondition, "want top_k, the recipe's: on the virtual clock");
  EXPECT_EQ(rig.cluster().roster().attending(), 0);
}

}  // namespace
}  // namespace rubato
