#include "rubato/interchange/portable_model.h"

#include <limits>

#include "tests/interchange/tiny_model.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;
using Kind = SentencepieceModel::Kind;

TEST(PortableModel, TheSpaceOfTheBytesIsThePieceThatOthersLookFor) {
  const TinyModel model = tiny_model({}, true);
  const auto pieces = portable_pieces(*model.tokenizer);
  ASSERT_TRUE(pieces.ok()) << pieces.status();
  ASSERT_EQ(pieces->size(), 259u);
  EXPECT_EQ((*pieces)[3 + ' '].text, "\xE2\x96\x81");
  EXPECT_EQ((*pieces)[3 + ' '].kind, Kind::kNormal);
  EXPECT_EQ((*pieces)[3 + 'A'].text, "<0x41>");
}

TEST(PortableModel, PiecesOfABpeStayWithFallingScores) {
  const TinyModel model = tiny_model();
  const auto pieces = portable_pieces(*model.tokenizer);
  ASSERT_TRUE(pieces.ok()) << pieces.status();
  EXPECT_EQ((*pieces)[3 + ' '].text, "<0x20>");
  EXPECT_EQ((*pieces)[3 + ' '].kind, Kind::kByte);
  EXPECT_EQ((*pieces)[259].score, 0) << "the first merge";
  for (size_t id = 260; id < pieces->size(); ++id)
    EXPECT_LT((*pieces)[id].score, (*pieces)[id - 1].score);
}

TEST(PortableModel, WhatIsNoModelOfItsVocabularyIsRefused) {
  TinyModel model = tiny_model();
  EXPECT_TRUE(check_portable(model.portable()).ok());
  model.params[5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(std::string(check_portable(model.portable()).message()), HasSubstr("not finite"));
  model.params.pop_back();
  EXPECT_THAT(std::string(check_portable(model.portable()).message()), HasSubstr("parameters"));
  model = tiny_model();
  model.tokenizer = Tokenizer::bytes().value();
  EXPECT_THAT(std::string(check_portable(model.portable()).message()),
              HasSubstr("a tokenizer of 259 pieces, want 400"));
}

TEST(PortableModel, WhatIsTakenIsNeverWrittenOver) {
  MemoryFileSystem files;
  ASSERT_TRUE(files.make_directories("taken").ok());
  bool called = false;
  const auto fill = [&](const std::string&) {
    called = true;
    return absl::OkStatus();
  };
  for (const char* path : {"taken", "taken/"}) {
    EXPECT_EQ(make_directory(files, path, fill).code(), absl::StatusCode::kAlreadyExists);
    EXPECT_EQ(make_file(files, path, fill).code(), absl::StatusCode::kAlreadyExists);
  }
  EXPECT_FALSE(called);
}

TEST(PortableModel, WhatAnInterruptedOneLeftIsReplaced) {
  MemoryFileSystem files;
  ASSERT_TRUE(files.make_directories("out.partial").ok());
  ASSERT_TRUE(files.replace_file("out.partial/old", "old").ok());
  ASSERT_TRUE(make_directory(files, "out", [&](const std::string& partial) {
                return files.replace_file(join_path(partial, "new"), "new");
              }).ok());
  EXPECT_TRUE(files.exists("out/new"));
  EXPECT_FALSE(files.exists("out/old"));
  EXPECT_FALSE(files.exists("out.partial"));
}

}  // namespace
}  // namespace rubato
