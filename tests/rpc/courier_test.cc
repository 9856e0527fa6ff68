// Transfers that break in every way, and go on where they broke until an answer comes.
#include "rubato/rpc/courier.h"

#include <cstring>

#include "tests/rpc/refusals.h"
#include "tests/rpc/scripted_link.h"
#include <gtest/gtest.h>

#include "rubato/base/digest.h"
#include "rubato/rpc/wire.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

using Code = absl::StatusCode;
using Sink = std::function<Status(const Chunk&)>;
constexpr int64_t kParams = 64;

Chunk chunk_of(std::string_view bytes, int64_t offset, int64_t count) {
  const auto data = bytes.substr(static_cast<size_t>(offset), static_cast<size_t>(count));
  return make_chunk(offset, std::ssize(bytes), data, nullptr);
}

class CourierTest : public testing::Test {
 protected:
  CourierTest() {
    name_.set_name("fp32");
    codec_ = *codec_from_proto(name_);
    for (int64_t i = 0; i < kParams; ++i) values_.push_back(static_cast<float>(i) / 8);
    encoded_.resize(values_.size() * sizeof(float));
    std::memcpy(encoded_.data(), values_.data(), encoded_.size());
    environment_.clock = [this] { return now_ += kNanosPerSecond; };  // no pause is a long one
    environment_.note = [](const Notice&) {};
    environment_.stop = &stop_;
    header_.set_task(5);
    header_.set_incarnation(2);
  }
  StatusOr<std::vector<float>> fetch(const std::function<bool()>& is_wanted = [] { return true; }) {
    std::vector<float> values(kParams);
    RUBATO_RETURN_IF_ERROR(courier_.fetch_parameters(7, *codec_, name_, values, is_wanted));
    return values;
  }
  StatusOr<UpdateVerdict> push(const std::function<bool()>& is_wanted = [] { return true; }) {
    const auto bytes = std::as_bytes(std::span(encoded_));
    const auto delta = std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end());
    return courier_.push(header_, delta, *codec_, is_wanted);
  }
  // Gives the rest from the offset that is asked for, in chunks of 40 bytes; attempt by attempt it
  // is spoilt by the next of `spoils`.
  void serve(std::vector<std::function<Status(Chunk&)>> spoils) {
    link_.on_fetch = [this, spoils, attempt = size_t{0}](const v1::FetchRequest& request,
                                                         const Sink& sink) mutable -> Status {
      offsets_.push_back(request.offset());
      const auto spoil = attempt < spoils.size() ? spoils[attempt] : nullptr;
      ++attempt;
      for (int64_t at = request.offset(); at < std::ssize(encoded_); at += 40) {
        Chunk chunk = chunk_of(encoded_, at, 40);
        if (spoil && at >= 80) RUBATO_RETURN_IF_ERROR(spoil(chunk));
        RUBATO_RETURN_IF_ERROR(sink(chunk));
      }
      return absl::OkStatus();
    };
  }

  v1::Codec name_;
  std::shared_ptr<const Codec> codec_;
  std::vector<float> values_;
  std::string encoded_;
  std::vector<int64_t> offsets_;
  ScriptedLink link_;
  std::atomic<Nanos> now_{0};
  std::atomic<bool> stop_{false};
  WorkerEnvironment environment_;
  Courier courier_{link_, environment_};
  v1::DeltaHeader header_;
};

// ---- down

TEST_F(CourierTest, ParametersComeInOnePiece) {
  serve({});
  EXPECT_EQ(*fetch(), values_);
  EXPECT_EQ(offsets_, std::vector<int64_t>{0});
}

TEST_F(CourierTest, BrokenTransfersGoOnWhereTheyBroke) {
  serve({[](Chunk&) -> Status { return absl::UnavailableError("a cut"); },
         [](Chunk& chunk) -> Status {
           chunk.checksum ^= 1;
           return absl::OkStatus();
         },
         [](Chunk& chunk) -> Status {
           chunk.total = 9999;
           return absl::OkStatus();
         },
         [](Chunk& chunk) -> Status {
           chunk.offset += 40;
           return absl::OkStatus();
         },
         [](Chunk& chunk) -> Status {
           chunk.data = {};
           return absl::OkStatus();
         }});
  const auto got = fetch();
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(*got, values_);
  EXPECT_EQ(offsets_, (std::vector<int64_t>{0, 80, 80, 80, 80, 80}));
}

TEST_F(CourierTest, AStreamThatEndsEarlyIsAskedForTheRest) {
  link_.on_fetch = [this](const v1::FetchRequest& request, const Sink& sink) {
    offsets_.push_back(request.offset());
    return sink(chunk_of(encoded_, request.offset(), 128));
  };
  EXPECT_EQ(*fetch(), values_);
  EXPECT_EQ(offsets_, (std::vector<int64_t>{0, 128}));
}

TEST_F(CourierTest, AnAnswerEndsAFetch) {
  link_.on_fetch = [](const v1::FetchRequest&, const Sink&) -> Status {
    return absl::NotFoundError("[versions] gone");
  };
  EXPECT_TRUE(absl::IsNotFound(fetch().status()));
}

TEST_F(CourierTest, AChunkThatCutsAValueIsAnAnswerToo) {
  link_.on_fetch = [this](const v1::FetchRequest&, const Sink& sink) {
    return sink(chunk_of(encoded_, 0, 41));
  };
  EXPECT_TRUE(absl::IsInvalidArgument(fetch().status()));
}

TEST_F(CourierTest, PatienceEnds) {
  environment_.patience = 5 * kNanosPerSecond;
  int attempts = 0;
  link_.on_fetch = [&](const v1::FetchRequest&, const Sink&) -> Status {
    ++attempts;
    return absl::UnavailableError("nobody");
  };
  EXPECT_TRUE(absl::IsUnavailable(fetch().status()));
  EXPECT_GE(attempts, 2);
}

TEST_F(CourierTest, NobodyWantsTheParametersAnyMore) {
  int attempts = 0;
  link_.on_fetch = [&](const v1::FetchRequest&, const Sink&) -> Status {
    ++attempts;
    return absl::UnavailableError("nobody");
  };
  EXPECT_TRUE(absl::IsAborted(fetch([&] { return attempts < 2; }).status()));
  EXPECT_EQ(attempts, 2);
}

// ---- files

class CourierFileTest : public CourierTest {
 protected:
  CourierFileTest() {
    file_.set_name("a.tokens");
    file_.set_bytes(std::ssize(encoded_));
    file_.set_digest(digest_of(std::string_view(encoded_)));
  }
  Status fetch_file() { return courier_.fetch_file(file_, files_, "/data/sub/a.tokens"); }
  v1::RunFile file_;
  MemoryFileSystem files_;
};

TEST_F(CourierFileTest, IsThereWhenItIsWholeAndKeptAfterwards) {
  serve({[](Chunk&) -> Status { return absl::UnavailableError("a cut"); }});
  ASSERT_TRUE(fetch_file().ok());
  files_.restart(CrashKeeps::kNothing);
  EXPECT_EQ(*files_.read_file("/data/sub/a.tokens"), encoded_);
  EXPECT_FALSE(files_.exists("/data/sub/a.tokens.part"));
  offsets_.clear();
  EXPECT_TRUE(fetch_file().ok());
  EXPECT_TRUE(offsets_.empty()) << "it is there already";
  ASSERT_TRUE(files_.replace_file("/data/sub/a.tokens", "something else").ok());
  EXPECT_TRUE(fetch_file().ok());
  EXPECT_EQ(*files_.read_file("/data/sub/a.tokens"), encoded_);
}

TEST_F(CourierFileTest, OfAnotherDigestIsNone) {
  serve({});
  file_.set_digest(std::string(32, 'f'));
  expect_refusal(fetch_file(), Code::kDataLoss, "a.tokens: got digest");
  EXPECT_FALSE(files_.exists("/data/sub/a.tokens"));
}

TEST_F(CourierFileTest, OfAnotherLengthIsAskedForUntilPatienceEnds) {
  environment_.patience = 5 * kNanosPerSecond;
  serve({});
  file_.set_bytes(std::ssize(encoded_) + 1);
  expect_refusal(annotate(fetch_file(), "[test]"), Code::kDataLoss, "a.tokens");
  EXPECT_FALSE(files_.exists("/data/sub/a.tokens"));
}

TEST_F(CourierFileTest, AFullDiskIsNotTriedAgain) {
  serve({});
  files_.fill_after(100);
  EXPECT_TRUE(absl::IsResourceExhausted(fetch_file()));
  EXPECT_EQ(offsets_.size(), 1u);
}

// ---- up

class CourierPushTest : public CourierTest {
 protected:
  using Source = std::function<bool(Chunk&)>;
  CourierPushTest() {
    link_.on_push_offset = [this](const v1::PushOffsetRequest& request) {
      EXPECT_EQ(request.task(), 5);
      EXPECT_EQ(request.incarnation(), 2);
      v1::PushOffsetReply reply;
      reply.set_offset(offset_);
      return reply;
    };
    link_.on_push = [this](const v1::DeltaHeader&, const Source& source) {
      return receive(source);
    };
  }
  // Takes what comes as a coordinator does, and breaks as often as `cuts` says.
  StatusOr<v1::PushReply> receive(const Source& source) {
    Chunk chunk;
    while (source(chunk)) {
      RUBATO_RETURN_IF_ERROR(check_chunk(chunk, std::ssize(got_), std::ssize(encoded_)));
      got_ += chunk.data;
      if (cuts_-- > 0) {
        got_.resize(100);
        offset_ = 100;
        return absl::UnavailableError("a cut");
      }
    }
    if (got_.size() != encoded_.size()) return absl::InvalidArgumentError("[spool] bytes missing");
    return verdict_;
  }

  int64_t offset_ = 0;
  int cuts_ = 0;
  std::string got_;
  v1::PushReply verdict_ = to_proto(UpdateVerdict{});
};

TEST_F(CourierPushTest, GoesOnWhereItBroke) {
  cuts_ = 3;
  const auto verdict = push();
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_EQ(verdict->kind, UpdateVerdict::Kind::kApplied);
  EXPECT_EQ(got_, encoded_);
}

TEST_F(CourierPushTest, SendsNothingOfWhatIsThere) {
  offset_ = std::ssize(encoded_);
  got_ = encoded_;
  EXPECT_TRUE(push().ok());
}

TEST_F(CourierPushTest, AnOffsetThatNobodyCouldHaveReadsNothingElse) {
  for (const int64_t offset :
       {std::numeric_limits<int64_t>::min(), int64_t{-1}, std::numeric_limits<int64_t>::max()}) {
    offset_ = offset;
    got_ = offset < 0 ? "" : encoded_;
    EXPECT_TRUE(push().ok()) << offset;
    EXPECT_EQ(got_, encoded_);
  }
}

TEST_F(CourierPushTest, GivesTheDoorsVerdict) {
  verdict_ = to_proto(UpdateVerdict{UpdateVerdict::Kind::kRejected, RejectReason::kNotFinite});
  EXPECT_EQ(push()->reason, RejectReason::kNotFinite);
}

TEST_F(CourierPushTest, AReplyWithoutAVerdictIsAnAnswer) {
  verdict_.Clear();
  EXPECT_TRUE(absl::IsInvalidArgument(push().status()));
}

TEST_F(CourierPushTest, IsGivenUpWhenNobodyWantsIt) {
  cuts_ = 1000;
  int asked = 0;
  const Status status = push([&] { return ++asked < 3; }).status();
  expect_refusal(status, Code::kAborted, "[exchange] given up");
}

TEST_F(CourierPushTest, AStopLeavesItSomeTime) {
  cuts_ = 1000;
  stop_ = true;
  EXPECT_TRUE(absl::IsUnavailable(push().status()));
  EXPECT_LT(cuts_, 999) << "one more try at least";
}

}  // namespace
}  // namespace rubato
