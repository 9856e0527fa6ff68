#include "rubato/store/checkpoint.h"

#include "tests/store/temporary_directory.h"
#include "tests/store/tiny_run.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rubato/store/memory_file_system.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CheckpointTest : public ::testing::TestWithParam<bool> {
 protected:
  CheckpointTest() {
    if (GetParam()) {
      files_ = std::make_unique<PosixFileSystem>();
      run_dir_ = join_path(directory_.path(), "run");
    } else {
      files_ = std::make_unique<MemoryFileSystem>();
      run_dir_ = "runs/run";
    }
  }
  std::string at(int64_t step) const { return checkpoint_path(run_dir_, step); }
  std::vector<std::string> listed() { return *list_checkpoints(*files_, run_dir_); }
  void overwrite(const std::string& path, std::string_view bytes) {
    ASSERT_TRUE(files_->replace_file(path, bytes).ok());
  }

  TemporaryDirectory directory_;
  std::unique_ptr<FileSystem> files_;
  std::string run_dir_;
};

INSTANTIATE_TEST_SUITE_P(Both, CheckpointTest, ::testing::Bool(), [](const auto& kind) {
  return kind.param ? std::string("posix") : std::string("memory");
});

TEST_P(CheckpointTest, WhatIsWrittenIsRead) {
  TinyRun run = TinyRun::at(7);
  ASSERT_EQ(run.write(*files_, run_dir_), absl::OkStatus());
  const auto found = TinyRun::read(*files_, at(7));
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(*found, run);
  const auto reader = open_checkpoint(*files_, at(7));
  EXPECT_EQ(reader->meta().build_id, "build");
  EXPECT_EQ(reader->meta().recipe_digest, "recipe");
  EXPECT_EQ(reader->meta().data_digest, "data");
  EXPECT_EQ(reader->meta().notes.at("tokens"), "896");
  EXPECT_EQ(reader->directory(), at(7));
}

TEST_P(CheckpointTest, TheModelFileIsPlainSafetensorsInTheLayoutsNames) {
  TinyRun run = TinyRun::at(2);
  ASSERT_TRUE(run.write(*files_, run_dir_).ok());
  const auto reader = SafetensorsReader::open(*files_, join_path(at(2), "model.safetensors"));
  ASSERT_TRUE(reader.ok()) << reader.status();
  ASSERT_EQ(reader->tensors().size(), 2u);
  EXPECT_EQ(reader->tensors()[0].name, "model.embed_tokens.weight");
  EXPECT_EQ(reader->tensors()[0].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(reader->metadata().at("format"), "pt");
}

TEST_P(CheckpointTest, TheStateFileHoldsTheGrammarOfTheDocs) {
  TinyRun run = TinyRun::at(2);
  ASSERT_TRUE(run.write(*files_, run_dir_).ok());
  const auto reader = SafetensorsReader::open(*files_, join_path(at(2), "state.safetensors"));
  std::vector<std::string> words;
  for (const TensorInfo& tensor : reader->tensors())
    words.push_back(
        cat(tensor.name, " ", type_name(tensor.type), " [", join(tensor.shape, ","), "]"));
  EXPECT_THAT(words, ElementsAre("arrivals I64 []", "scale F64 []", "outer/momentum F32 [9]",
                                 "nothing F32 [0]", "worker 0.adam F32 [4]",
                                 cat("coordinator.ledger U8 [", run.ledger.size(), "]")));
}

TEST_P(CheckpointTest, CheckpointsAreListedNewestFirst) {
  EXPECT_THAT(listed(), IsEmpty());
  for (const int64_t step : {3, 20, 100, 0})
    ASSERT_TRUE(TinyRun::at(step).write(*files_, run_dir_).ok());
  EXPECT_THAT(listed(), ElementsAre(at(100), at(20), at(3), at(0)));
}

TEST_P(CheckpointTest, WhatIsNoCheckpointIsNotListed) {
  ASSERT_TRUE(TinyRun::at(1).write(*files_, run_dir_).ok());
  for (const std::string name :
       {"step-", "step-x", "step-07", "step--1", "step-2", "other", ".tmp-step-9"})
    ASSERT_TRUE(files_->make_directories(join_path(parent_path(at(1)), name)).ok());
  EXPECT_THAT(listed(), ElementsAre(at(1)));
  EXPECT_EQ(open_checkpoint(*files_, at(2)).status().code(), absl::StatusCode::kNotFound);
}

TEST_P(CheckpointTest, AnIncompleteOneIsNotListed) {
  for (const int64_t step : {1, 2, 3, 4})
    ASSERT_TRUE(TinyRun::at(step).write(*files_, run_dir_).ok());
  ASSERT_TRUE(files_->remove_file(join_path(at(4), "state.safetensors")).ok());
  overwrite(join_path(at(3), "model.safetensors"), "short");
  overwrite(join_path(at(2), "manifest.json"), "{");
  EXPECT_THAT(listed(), ElementsAre(at(1)));
  EXPECT_THAT(std::string(TinyRun::read(*files_, at(4)).status().message()),
              HasSubstr("state.safetensors: got no file, want "));
}

TEST_P(CheckpointTest, TheSameStepIsReplaced) {
  ASSERT_TRUE(TinyRun::at(5).write(*files_, run_dir_).ok());
  TinyRun other = TinyRun::at(5);
  other.theta[0] = 99;
  ASSERT_EQ(other.write(*files_, run_dir_), absl::OkStatus());
  EXPECT_EQ(*TinyRun::read(*files_, at(5)), other);
  EXPECT_EQ(files_->list(parent_path(at(5)))->size(), 1u);
}

TEST_P(CheckpointTest, LeftoversAreRemovedByTheNextOne) {
  const std::string parent = parent_path(at(0));
  ASSERT_TRUE(files_->make_directories(join_path(parent, ".tmp-step-1/x")).ok());
  ASSERT_TRUE(files_->make_directories(join_path(parent, ".old-step-1")).ok());
  ASSERT_TRUE(TinyRun::at(5).write(*files_, run_dir_).ok());
  EXPECT_EQ(files_->list(parent)->size(), 1u);
}

TEST_P(CheckpointTest, AnUnknownVersionIsRefusedByNameAndStillListed) {
  ASSERT_TRUE(TinyRun::at(5).write(*files_, run_dir_).ok());
  const std::string path = join_path(at(5), "manifest.json");
  std::string text = *files_->read_file(path);
  const std::string version = "\"format_version\": 1";
  ASSERT_NE(text.find(version), std::string::npos);
  text.replace(text.find(version), version.size(), "\"format_version\": 3");
  overwrite(path, text);
  const Status status = open_checkpoint(*files_, at(5)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), cat("[checkpoint] ", path, ": got format 3, want 1"));
  EXPECT_THAT(listed(), ElementsAre(at(5)));
}

TEST_P(CheckpointTest, AnotherModelIsRefusedByItsFirstTensor) {
  TinyRun run = TinyRun::at(5);
  ASSERT_TRUE(run.write(*files_, run_dir_).ok());
  const auto reader = open_checkpoint(*files_, at(5));
  const auto refusal = [&](const Layout& layout) {
    std::vector<float> theta(static_cast<size_t>(layout.size()), 5.0f);
    const Status status = reader->read_theta(layout, theta);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(theta, std::vector<float>(theta.size(), 5.0f));
    return std::string(status.message());
  };
  const std::string who =
      cat("[checkpoint] ", at(5), "/model.safetensors: checkpoint of another model: ");
  EXPECT_EQ(refusal(tiny_layout(4)), who +
                                         "got model.embed_tokens.weight [2,3], want "
                                         "model.embed_tokens.weight [4,3]");
  Layout longer = tiny_layout();
  longer.add("lm_head.weight", {2, 3}, TensorRole::kMatrix);
  EXPECT_EQ(refusal(longer), who + "got no more tensors, want lm_head.weight [2,3]");
  EXPECT_EQ(refusal(Layout()), who + "got model.embed_tokens.weight [2,3], want no more tensors");
}

TEST_P(CheckpointTest, StateOfAnotherShapeIsRefusedByName) {
  TinyRun run = TinyRun::at(5);
  ASSERT_TRUE(run.write(*files_, run_dir_).ok());
  const auto reader = open_checkpoint(*files_, at(5));
  const auto refusal = [&](const StateVisit& visit) {
    const Status status = reader->restore(visit);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    return std::string(status.message());
  };
  std::vector<float> two(2);
  int64_t count = 0;
  const std::string who = cat("[checkpoint] ", at(5), "/state.safetensors: ");
  EXPECT_EQ(refusal([&](StateWalk& walk) { walk.plane("outer/momentum", two); }),
            who +
                "got F32 with 36 bytes for outer/momentum, want F32 with 8 bytes; it is of a run "
                "with another state");
  EXPECT_EQ(refusal([&](StateWalk& walk) { walk.counter("scale", count); }),
            who + "got F64 with 8 bytes for scale, want I64; it is of a run with another state");
  EXPECT_EQ(refusal([&](StateWalk& walk) { walk.counter("new", count); }),
            who + "got nothing for new, want I64; it is of a run with another state");
  EXPECT_EQ(refusal([&](StateWalk& walk) { walk.counter("arrivals", count); }),
            who + "got scale, want no such part; it is of a run with another state");
}

TEST_P(CheckpointTest, DeletingRemovesOneCheckpoint) {
  for (const int64_t step : {1, 2}) ASSERT_TRUE(TinyRun::at(step).write(*files_, run_dir_).ok());
  EXPECT_TRUE(delete_checkpoint(*files_, run_dir_, 1).ok());
  EXPECT_THAT(listed(), ElementsAre(at(2)));
  EXPECT_EQ(files_->list(parent_path(at(1)))->size(), 1u);
  EXPECT_EQ(delete_checkpoint(*files_, run_dir_, 1).code(), absl::StatusCode::kNotFound);
}

TEST(CheckpointManifest, WhatALibraryWouldConvertIsDamage) {
  const CheckpointManifest manifest{TinyRun::at(5).meta(), "layout", {{"a", {3, "digest"}}}};
  const std::string good = *encode_manifest(manifest);
  EXPECT_TRUE(parse_manifest("m", good).ok());
  for (const auto& [part, other] : std::vector<std::pair<std::string, std::string>>{
           {"\"step\": 5", "\"step\": 5.0"},
           {"\"step\": 5", "\"step\": -5"},
           {"\"bytes\": 3", "\"bytes\": 18446744073709551615"}}) {
    auto root =
        nlohmann::json::parse(std::string(good).replace(good.find(part), part.size(), other));
    root.erase("manifest_digest");
    root["manifest_digest"] = digest_of(root.dump());
    const Status status = parse_manifest("m", root.dump()).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("that is no natural number")) << other;
  }
}

TEST(CheckpointManifest, NestingWithoutEndIsDamage) {
  const std::string open(200'000, '['), close(200'000, ']');
  for (const std::string key : {"notes", "format_version"}) {
    const std::string text =
        cat("{\"format\": \"rubato-checkpoint\", \"", key, "\": ", open, close, "}");
    EXPECT_TRUE(absl::IsDataLoss(parse_manifest("m", text).status())) << key;
  }
}

TEST(Checkpoint, PlanesAreReadOnlyWhileTheWalkRuns) {
  MemoryFileSystem files;
  const CheckpointMeta meta{
      .step = 1, .build_id = {}, .recipe_digest = {}, .data_digest = {}, .notes = {}};
  // A plane that lives only during its call, as a decoded delta does.
  const auto visit = [](StateWalk& walk) {
    std::vector<float> decoded{1, 2, 3};
    walk.plane("pending.0", decoded);
    for (float value : decoded) EXPECT_GT(value, 0);
    std::vector<float> next{4};
    walk.plane("pending.1", next);
  };
  ASSERT_EQ(write_checkpoint(files, "run", meta, Layout(), {}, visit), absl::OkStatus());
  const auto reader =
      SafetensorsReader::open(files, join_path(checkpoint_path("run", 1), "state.safetensors"));
  std::vector<float> first(3), second(1);
  EXPECT_TRUE(reader->read("pending.0", first).ok());
  EXPECT_TRUE(reader->read("pending.1", second).ok());
  EXPECT_EQ(first, (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(second, (std::vector<float>{4}));
}

TEST(Checkpoint, TextThatIsNotUtf8IsRefusedAndLeavesNothing) {
  MemoryFileSystem files;
  TinyRun run = TinyRun::at(1);
  CheckpointMeta meta = run.meta();
  meta.notes["k"] = "\xff";
  EXPECT_EQ(write_checkpoint(files, "run", meta, tiny_layout(), run.theta, run.visit()).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(files.list("run/checkpoints")->empty());
}

// Every single flipped byte of every file is found, and the error names that file.
TEST(Checkpoint, DecayIsFoundInEveryByteOfEveryFile) {
  MemoryFileSystem files;
  TinyRun run = TinyRun::at(3);
  ASSERT_TRUE(run.write(files, "run").ok());
  const std::string directory = checkpoint_path("run", 3);
  for (const std::string name : {"manifest.json", "model.safetensors", "state.safetensors"}) {
    const std::string path = join_path(directory, name);
    const int64_t size = *files.file_size(path);
    for (int64_t offset = 0; offset < size; ++offset) {
      for (const char mask : {'\x01', '\x10', '\x80'}) {
        files.corrupt(path, offset, mask);
        const auto found = TinyRun::read(files, directory);
        // White space between the manifest's parts means nothing, and one digit of the version is
        // another version.
        if (found.ok()) {
          EXPECT_EQ(name, "manifest.json");
          EXPECT_EQ(*found, run);
        } else if (!absl::IsFailedPrecondition(found.status())) {
          EXPECT_TRUE(absl::IsDataLoss(found.status())) << found.status();
          EXPECT_THAT(std::string(found.status().message()), HasSubstr(path));
        } else {
          EXPECT_THAT(std::string(found.status().message()), HasSubstr("want 1"));
        }
        files.corrupt(path, offset, mask);
      }
    }
  }
  EXPECT_EQ(*TinyRun::read(files, directory), run);
}

}  // namespace
}  // namespace rubato
