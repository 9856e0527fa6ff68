#include "rubato/store/binary_header.h"

#include <gtest/gtest.h>

namespace rubato {
namespace {

constexpr BinaryFormat kFormat{"RBTOTEST", "test", 1};

TEST(BinaryHeader, IsReadAsItWasWrittenAndEndsAtAMultipleOf64) {
  for (size_t size = 0; size < 200; ++size) {
    const std::string body(size, 'b');
    const std::string header = encode_header(kFormat, body);
    EXPECT_EQ(header.size() % 64, 0u);
    const auto parsed = parse_header(kFormat, "file", header + "what follows");
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->body, body);
    EXPECT_EQ(parsed->bytes, static_cast<int64_t>(header.size()));
  }
}

TEST(BinaryHeader, EveryBitIsLookedAt) {
  const std::string header = encode_header(kFormat, "body");
  for (size_t at = 0; at < header.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = header;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      const Status status = parse_header(kFormat, "file", damaged).status();
      const bool version = at >= 8 && at < 12;
      EXPECT_EQ(absl::IsDataLoss(status), !version) << at << ": " << status;
      EXPECT_EQ(absl::IsFailedPrecondition(status), version) << at << ": " << status;
    }
  }
}

TEST(BinaryHeader, ATruncatedOneIsDamaged) {
  const std::string header = encode_header(kFormat, std::string(100, 'b'));
  for (size_t size = 0; size < header.size(); ++size) {
    const Status status = parse_header(kFormat, "file", header.substr(0, size)).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << size << ": " << status;
  }
}

TEST(BinaryHeader, AnotherFormatAndAnotherVersionAreRefusedByName) {
  EXPECT_EQ(parse_header(kFormat, "file", encode_header({"RBTOELSE", "else", 1}, "")).status(),
            absl::DataLossError("[test] file: got a damaged file: want it to begin with RBTOTEST"));
  EXPECT_EQ(parse_header(kFormat, "file", encode_header({"RBTOTEST", "test", 3}, "")).status(),
            absl::FailedPreconditionError("[test] file: got format 3, want 1"));
}

}  // namespace
}  // namespace rubato
