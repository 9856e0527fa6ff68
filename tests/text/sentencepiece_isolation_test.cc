// Sentencepiece brings protobuf 3.14 along, this program is linked with another one: neither may
// see the other's symbols, whichever is used first and from whichever thread.
#include <thread>

#include "tests/text/sample_text.h"
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include "rubato/text/sentencepiece_loader.h"
#include "rubato/text/tokenizer.h"

namespace rubato {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// A message with strings, nested messages, repeated and packed fields, there and back.
void use_protobuf() {
  google::protobuf::FileDescriptorProto file;
  google::protobuf::Struct::descriptor()->file()->CopyTo(&file);
  for (int i = 0; i < 100; ++i) {
    file.add_dependency("file " + std::to_string(i) + std::string(i, '.'));
    file.add_public_dependency(i);
  }
  const std::string bytes = file.SerializeAsString();
  google::protobuf::FileDescriptorProto again;
  ASSERT_TRUE(again.ParseFromString(bytes));
  EXPECT_EQ(again.SerializeAsString(), bytes);
  EXPECT_EQ(again.dependency(99), file.dependency(99));
  EXPECT_FALSE(again.ParseFromString("not a message"));

  const std::string json = R"({"loss":[2.5,{"name":"delta"},null,true]})";
  google::protobuf::Struct value;
  std::string printed;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json, &value).ok());
  ASSERT_TRUE(google::protobuf::util::MessageToJsonString(value, &printed).ok());
  EXPECT_EQ(printed, json);
}

void use_sentencepiece() {
  const auto tokenizer = Tokenizer::train(sample_passages(), 400).value();
  std::vector<int32_t> tokens;
  ASSERT_TRUE(tokenizer->encode(sample_passages()[0], tokens).ok());
  EXPECT_EQ(tokenizer->decode(tokens), sample_passages()[0]);
  EXPECT_EQ(Tokenizer::from_model(tokenizer->model()).value()->vocab_size(), 400);
  EXPECT_FALSE(Tokenizer::from_model(tokenizer->model().substr(0, 3000)).ok());
}

TEST(SentencepieceIsolation, LivesBesideAnotherProtobuf) {
  use_protobuf();
  use_sentencepiece();
  use_protobuf();
  use_sentencepiece();
}

TEST(SentencepieceIsolation, ManyThreadsMayBeFirst) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([i] {
      if (i % 2 == 0) use_protobuf();
      use_sentencepiece();
      use_protobuf();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(SentencepieceIsolation, TheProgramSeesNoSymbolOfTheLibrary) {
  ASSERT_TRUE(sentencepiece_library().ok());
  EXPECT_EQ(dlsym(RTLD_DEFAULT, "_ZN13sentencepiece23SentencePieceProcessorC1Ev"), nullptr);
  EXPECT_EQ(dlsym(RTLD_DEFAULT, kSentencepieceFactoryName), nullptr);
}

TEST(SentencepieceIsolation, AMissingModuleIsOneClearLine) {
  const auto status = load_sentencepiece("librubato_no\nsuch.so").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("[tokenizer] got no module librubato_no?such.so"),
                    HasSubstr("cannot open shared object file"), HasSubstr("want it in "),
                    Not(HasSubstr("\n"))));
}

TEST(SentencepieceIsolation, ALibraryThatIsNoModuleIsRefused) {
  const auto status = load_sentencepiece("libm.so.6").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr(kSentencepieceFactoryName));
}

}  // namespace
}  // namespace rubato
