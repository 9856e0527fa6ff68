#include "rubato/text/prepare.h"

#include <filesystem>
#include <fstream>
#include <map>

#include "tests/store/temporary_directory.h"
#include "tests/text/sample_text.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/store/memory_file_system.h"
#include "rubato/text/token_dataset.h"
#include "rubato/text/tokenizer.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

void put(FileSystem& files, const std::string& path, std::string_view text) {
  ASSERT_TRUE(files.make_directories(parent_path(path)).ok());
  ASSERT_TRUE(files.replace_file(path, text).ok());
}

/// Two sources of `documents` documents each, every document with its number in it.
void put_sources(FileSystem& files, int documents) {
  for (int i = 0; i < documents; ++i) {
    const std::string body(static_cast<size_t>(20 + i % 7), static_cast<char>('a' + i % 26));
    put(files, cat("/in/one/", 100 + i, ".txt"), cat("first ", i, " ", body, "\n"));
    put(files, cat("/in/two/", 100 + i, ".txt"), cat("second ", i, " ", body, "\n"));
  }
}

PrepareOptions two_sources() {
  PrepareOptions options;
  options.inputs = {"/in/one", "/in/two"};
  options.out_dir = "/out";
  options.validation_fraction = 0.1;
  options.seed = 7;
  return options;
}

/// The documents of a stream of tokens.
std::vector<std::string> documents_of(const TokenDataset& data, std::vector<int32_t> tokens) {
  std::vector<std::string> documents;
  for (const int32_t token : tokens) {
    if (token == Tokenizer::kBos) {
      documents.emplace_back();
    } else {
      documents.back() += data.tokenizer().bytes_of(token);
    }
  }
  return documents;
}

std::vector<std::string> shard_documents(const TokenDataset& data, int64_t shard) {
  std::vector<int32_t> tokens(static_cast<size_t>(data.shard_tokens(ShardId(shard))));
  data.read_shard(ShardId(shard), 0, tokens);
  return documents_of(data, std::move(tokens));
}

std::vector<std::string> validation_documents(const TokenDataset& data) {
  std::vector<int32_t> tokens(static_cast<size_t>(data.validation_tokens()));
  data.read_validation(0, tokens);
  return documents_of(data, std::move(tokens));
}

std::map<std::string, std::string> contents(FileSystem& files, const std::string& directory) {
  std::map<std::string, std::string> contents;
  const auto entries = files.list(directory);
  EXPECT_TRUE(entries.ok()) << entries.status();
  for (const DirectoryEntry& entry : *entries) {
    contents[entry.name] = files.read_file(join_path(directory, entry.name)).value();
  }
  return contents;
}

TEST(Prepare, EveryDocumentIsInExactlyOnePlace) {
  for (const std::string split : {"iid", "by-source"}) {
    MemoryFileSystem files;
    put_sources(files, 50);
    PrepareOptions options = two_sources();
    options.split = split;
    if (split == "iid") options.shards = 3;
    const auto summary = prepare_text(files, options);
    ASSERT_TRUE(summary.ok()) << summary.status();
    EXPECT_EQ(summary->documents, 100);
    const auto data = TokenDataset::open(files, "/out").value();
    std::multiset<std::string> seen;
    for (int64_t shard = 0; shard < data->num_shards(); ++shard) {
      for (const auto& text : shard_documents(*data, shard)) seen.insert(text);
    }
    const auto validation = validation_documents(*data);
    EXPECT_EQ(validation.size(), 10u) << "one in ten";
    int64_t validation_bytes = 0;
    for (const auto& text : validation) {
      seen.insert(text);
      validation_bytes += static_cast<int64_t>(text.size());
    }
    EXPECT_EQ(data->validation_bytes(), validation_bytes);
    std::multiset<std::string> want;
    for (const std::string source : {"/in/one", "/in/two"}) {
      for (const auto& [name, text] : contents(files, source)) want.insert(text);
    }
    EXPECT_EQ(seen, want) << split;
  }
}

TEST(Prepare, BySourceGivesEachSourceItsShard) {
  MemoryFileSystem files;
  put_sources(files, 20);
  PrepareOptions options = two_sources();
  options.split = "by-source";
  ASSERT_TRUE(prepare_text(files, options).ok());
  const auto data = TokenDataset::open(files, "/out").value();
  EXPECT_THAT(data->shard_names(), ElementsAre("one", "two"));
  for (const auto& text : shard_documents(*data, 0)) EXPECT_THAT(text, HasSubstr("first"));
  for (const auto& text : shard_documents(*data, 1)) EXPECT_THAT(text, HasSubstr("second"));
}

TEST(Prepare, DealtShardsAreAboutEqualAndMixed) {
  MemoryFileSystem files;
  put_sources(files, 100);
  PrepareOptions options = two_sources();
  options.shards = 4;
  ASSERT_TRUE(prepare_text(files, options).ok());
  const auto data = TokenDataset::open(files, "/out").value();
  int64_t smallest = data->shard_tokens(ShardId(0)), largest = smallest;
  for (int64_t shard = 0; shard < 4; ++shard) {
    smallest = std::min(smallest, data->shard_tokens(ShardId(shard)));
    largest = std::max(largest, data->shard_tokens(ShardId(shard)));
    int first = 0, second = 0;
    for (const auto& text : shard_documents(*data, shard)) {
      (text.starts_with("first") ? first : second) += 1;
    }
    EXPECT_GT(first, 10);
    EXPECT_GT(second, 10);
  }
  EXPECT_LT(static_cast<double>(largest), 1.08 * static_cast<double>(smallest));
}

TEST(Prepare, TheSameTextAndOptionsGiveTheSameBytes) {
  std::map<std::string, std::string> first;
  for (const std::string out : {"/a", "/b/c/d"}) {
    MemoryFileSystem files;
    put_sources(files, 40);
    put(files, "/in/two/long.txt", sample_passages()[0] + sample_passages()[2]);
    PrepareOptions options = two_sources();
    options.out_dir = out;
    options.vocab = 320;
    const auto summary = prepare_text(files, options);
    ASSERT_TRUE(summary.ok()) << summary.status();
    if (first.empty()) {
      first = contents(files, out);
    } else {
      EXPECT_EQ(contents(files, out), first);
    }
  }
}

TEST(Prepare, AnotherSeedHoldsBackOtherDocuments) {
  std::vector<std::vector<std::string>> held_back;
  for (const uint64_t seed : {1, 2}) {
    MemoryFileSystem files;
    put_sources(files, 40);
    PrepareOptions options = two_sources();
    options.seed = seed;
    ASSERT_TRUE(prepare_text(files, options).ok());
    held_back.push_back(validation_documents(*TokenDataset::open(files, "/out").value()));
  }
  EXPECT_NE(held_back[0], held_back[1]);
}

TEST(Prepare, OnTheProjectsOwnTextOnDisk) {
  const TemporaryDirectory temporary;
  const std::string out = temporary.path() + "/prepared";
  PrepareOptions options;
  options.inputs = {sample_directory()};
  options.out_dir = out;
  options.vocab = 400;
  options.validation_fraction = 0.34;
  const auto summary = prepare_text(options);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_GT(summary->bytes_per_token(), 1.2);
  EXPECT_EQ(summary->documents, 3);
  const auto data = TokenDataset::open(out);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->vocab_size(), 400);
  EXPECT_EQ(shard_documents(**data, 0).size(), 2u);
  EXPECT_EQ(validation_documents(**data).size(), 1u);
}

TEST(Prepare, FindsTheSameWorkDoneAndRefusesEverythingElse) {
  MemoryFileSystem files;
  put_sources(files, 20);
  const PrepareOptions options = two_sources();
  const auto first = prepare_text(files, options);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(first->reused);
  const auto again = prepare_text(files, options);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->reused);
  EXPECT_EQ(again->tokens, first->tokens);

  const auto before = contents(files, "/out");
  PrepareOptions other = options;
  other.seed = 8;
  EXPECT_EQ(prepare_text(files, other).status().code(), absl::StatusCode::kAlreadyExists);
  put(files, "/in/one/100.txt", "changed");
  EXPECT_EQ(prepare_text(files, options).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(contents(files, "/out"), before);

  put(files, "/elsewhere/letter.txt", "not ours");
  other.out_dir = "/elsewhere";
  const auto status = prepare_text(files, other).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(status.message()), HasSubstr("other content"));
}

TEST(Prepare, TakesTheTokenizerOfAModel) {
  MemoryFileSystem files;
  put_sources(files, 40);
  const auto tokenizer = Tokenizer::train(sample_passages(), 400).value();
  put(files, "/model/tokenizer.model", tokenizer->model());
  PrepareOptions options = two_sources();
  for (const char* given : {"/model/tokenizer.model", "/model"}) {
    options.tokenizer = given;  // the file and its directory are the same
    const auto summary = prepare_text(files, options);
    ASSERT_TRUE(summary.ok()) << summary.status();
    EXPECT_EQ(summary->reused, options.tokenizer == "/model");
  }
  const auto data = TokenDataset::open(files, "/out");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->tokenizer().model(), tokenizer->model());
  EXPECT_EQ(shard_documents(**data, 0).size() + validation_documents(**data).size(), 80u);

  const auto code = [&] { return prepare_text(files, options).status().code(); };
  options.tokenizer.clear();
  EXPECT_EQ(code(), absl::StatusCode::kAlreadyExists) << "these are not bytes";
  options.out_dir = "/other";
  options.tokenizer = "/in/one/100.txt";
  EXPECT_EQ(code(), absl::StatusCode::kInvalidArgument) << "no model";
  options.tokenizer = "/model";
  options.vocab = 300;
  EXPECT_EQ(code(), absl::StatusCode::kInvalidArgument) << "to take and to learn";
  EXPECT_FALSE(files.exists("/other"));
}

TEST(Prepare, AFullDiskLeavesNothingHalfWritten) {
  int failures = 0;
  for (const int64_t room : {0, 100, 4000, 5000, 8000, 12000, 1000000}) {
    MemoryFileSystem files;
    put_sources(files, 60);
    files.fill_after(room);
    const auto summary = prepare_text(files, two_sources());
    if (summary.ok()) {
      EXPECT_TRUE(TokenDataset::open(files, "/out").ok());
      continue;
    }
    ++failures;
    EXPECT_EQ(summary.status().code(), absl::StatusCode::kResourceExhausted) << summary.status();
    EXPECT_FALSE(files.exists("/out"));
    EXPECT_FALSE(files.exists("/out.partial"));
  }
  EXPECT_GE(failures, 4);
  EXPECT_LE(failures, 6);
}

TEST(Prepare, APowerCutLeavesTheWholeOrNothing) {
  int64_t work = 0;
  {
    MemoryFileSystem files;
    put_sources(files, 12);
    const int64_t before = files.work_done();
    ASSERT_TRUE(prepare_text(files, two_sources()).ok());
    work = files.work_done() - before;
  }
  for (int64_t cut = 0; cut <= work; cut += 1 + work / 97) {
    for (const CrashKeeps keeps :
         {CrashKeeps::kNothing, CrashKeeps::kNames, CrashKeeps::kNamesAndHalf}) {
      MemoryFileSystem files;
      put_sources(files, 12);
      files.cut_power_after(cut);
      (void)prepare_text(files, two_sources());
      files.restart(keeps);
      if (files.exists("/out")) {
        EXPECT_TRUE(TokenDataset::open(files, "/out").ok()) << cut;
      } else {
        EXPECT_TRUE(prepare_text(files, two_sources()).ok()) << "again after the cut at " << cut;
      }
    }
  }
}

TEST(Prepare, AnInterruptLeavesNothing) {
  MemoryFileSystem files;
  put_sources(files, 20);
  const auto status =
      prepare_text(files, two_sources(), [](const PrepareProgress& progress) {
        return progress.stage == PrepareStage::kEncoding && progress.bytes_done > 500
                   ? absl::CancelledError("stopped")
                   : absl::OkStatus();
      }).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(files.exists("/out"));
  EXPECT_FALSE(files.exists("/out.partial"));
}

TEST(Prepare, ProgressEndsAtTheWhole) {
  MemoryFileSystem files;
  put_sources(files, 20);
  PrepareProgress last;
  ASSERT_TRUE(prepare_text(files, two_sources(), [&](const PrepareProgress& progress) {
                last = progress;
                return absl::OkStatus();
              }).ok());
  EXPECT_EQ(last.stage, PrepareStage::kEncoding);
  EXPECT_EQ(last.bytes_done, last.bytes_total);
  EXPECT_GT(last.bytes_total, 0);
}

struct BadCase {
  std::string what;
  std::function<void(FileSystem&, PrepareOptions&)> change;
  std::string want;
};

TEST(Prepare, BadInputIsOneClearLineAndWritesNothing) {
  const std::vector<BadCase> cases = {
      {"vocabulary", [](FileSystem&, PrepareOptions& o) { o.vocab = 100; }, "260 to 1000000"},
      {"zero", [](FileSystem&, PrepareOptions& o) { o.vocab = 0; }, "260 to 1000000"},
      {"too large a vocabulary", [](FileSystem&, PrepareOptions& o) { o.vocab = 90000; }, "90000"},
      {"split", [](FileSystem&, PrepareOptions& o) { o.split = "even"; }, "iid or by-source"},
      {"shards", [](FileSystem&, PrepareOptions& o) { o.shards = 0; }, "1 or more"},
      {"many shards", [](FileSystem&, PrepareOptions& o) { o.shards = 60; }, "one a shard"},
      {"shards by source",
       [](FileSystem&, PrepareOptions& o) {
         o.split = "by-source";
         o.shards = 3;
       },
       "want 2 as there are sources"},
      {"fraction", [](FileSystem&, PrepareOptions& o) { o.validation_fraction = 0.6; }, "0 to 0.5"},
      {"no input", [](FileSystem&, PrepareOptions& o) { o.inputs.clear(); }, "got no input"},
      {"missing", [](FileSystem&, PrepareOptions& o) { o.inputs = {"/nowhere"}; }, "/nowhere"},
      {"inside", [](FileSystem&, PrepareOptions& o) { o.out_dir = "/in/one/../two/out"; },
       "within"},
      {"UTF-8", [](FileSystem& f, PrepareOptions&) { put(f, "/in/two/900.txt", "good \xE9 bad"); },
       "/in/two/900.txt: byte 5 is not UTF-8"},
      {"empty",
       [](FileSystem& f, PrepareOptions& o) {
         put(f, "/in/empty.txt", "");
         o.inputs.push_back("/in/empty.txt");
       },
       "/in/empty.txt: got no text"},
      {"one document", [](FileSystem&, PrepareOptions& o) { o.inputs = {"/in/one/101.txt"}; },
       "2 or more"},
  };
  for (const BadCase& bad : cases) {
    MemoryFileSystem files;
    put_sources(files, 20);
    PrepareOptions options = two_sources();
    bad.change(files, options);
    const Status status = prepare_text(files, options).status();
    EXPECT_FALSE(status.ok()) << bad.what;
    const std::string message(status.message());
    EXPECT_THAT(message, HasSubstr(bad.want)) << bad.what;
    EXPECT_EQ(message.find('\n'), message.npos) << message;
    EXPECT_FALSE(files.exists("/out")) << bad.what;
    EXPECT_FALSE(files.exists("/out.partial")) << bad.what;
  }
}

TEST(Prepare, OneDocumentWithoutValidation) {
  MemoryFileSystem files;
  put_sources(files, 2);
  PrepareOptions options = two_sources();
  options.inputs = {"/in/one/101.txt"};
  options.validation_fraction = 0;
  ASSERT_TRUE(prepare_text(files, options).ok());
  const auto data = TokenDataset::open(files, "/out").value();
  EXPECT_EQ(data->validation_tokens(), 0);
  EXPECT_EQ(shard_documents(*data, 0).size(), 1u);
}

}  // namespace
}  // namespace rubato
