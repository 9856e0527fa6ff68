// A join string reads as it was written, and no change to it goes unnoticed.
#include "rubato/rpc/join_string.h"

#include <sstream>

#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "rubato/rpc/crypto.h"
#include "rubato/store/memory_file_system.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kSecret[] = "abcdefghijklmnopqrstuvwxyz234567";

JoinString sample() {
  JoinString join;
  join.addresses = {{"train.example.org", 7070}, {"192.168.1.7", 7070}, {"2001:db8::1", 65535}};
  join.fingerprint = to_hex(sha256("an authority"));
  join.secret = Secret(kSecret);
  return join;
}

std::string message_of(std::string_view text) {
  const auto join = parse_join_string(text);
  EXPECT_TRUE(absl::IsInvalidArgument(join.status())) << join.status();
  return std::string(join.status().message());
}

TEST(JoinString, ReadsAsItWasWritten) {
  const std::string text = sample().text().value();
  EXPECT_THAT(text, testing::StartsWith(
                        "rubato1/train.example.org:7070,192.168.1.7:7070,2001:db8::1:65535/"));
  const auto again = parse_join_string("  " + text + "\r\n");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->addresses, sample().addresses);
  EXPECT_EQ(again->fingerprint, sample().fingerprint);
  EXPECT_EQ(again->secret.reveal(), kSecret);
  EXPECT_EQ(again->text().value(), text);
}

TEST(JoinString, IsOneWordForEveryShell) {
  EXPECT_EQ(sample().text()->find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789._-:,/"),
            std::string::npos);
}

TEST(JoinString, EveryChangedCharacterIsFound) {
  const std::string text = sample().text().value();
  for (size_t i = 0; i < text.size(); ++i) {
    for (int c = 1; c < 256; ++c) {
      std::string changed = text;
      changed[i] = static_cast<char>(c);
      // A space at either end is passed over, but then the end itself is missing.
      EXPECT_TRUE(changed == text || !parse_join_string(changed).ok()) << i << " " << c;
    }
  }
}

TEST(JoinString, EveryLostAddedOrSwappedCharacterIsFound) {
  const std::string text = sample().text().value();
  for (size_t i = 0; i < text.size(); ++i) {
    std::string lost = text;
    lost.erase(i, 1);
    EXPECT_FALSE(parse_join_string(lost).ok()) << i;
    EXPECT_FALSE(parse_join_string(text.substr(0, i)).ok()) << i;
    for (const char c : {'a', '0', '/', ':', ',', ' '}) {
      std::string added = text;
      added.insert(i, 1, c);
      if (c == ' ' && i == 0) continue;  // spaces around are none of it
      EXPECT_FALSE(parse_join_string(added).ok()) << i << c;
    }
    if (i + 1 == text.size() || text[i] == text[i + 1]) continue;
    std::string swapped = text;
    std::swap(swapped[i], swapped[i + 1]);
    EXPECT_FALSE(parse_join_string(swapped).ok()) << i;
  }
}

TEST(JoinString, ErrorsSayWhatIsWrong) {
  std::string text = sample().text().value();
  EXPECT_EQ(message_of(" \n"),
            "[join] got an empty join string, want rubato1/HOST:PORT/FINGERPRINT/SECRET/CHECK");
  EXPECT_THAT(message_of("http://example.org"),
              HasSubstr("got text that does not begin with rubato1/, want a join string"));
  EXPECT_THAT(message_of("rubato2" + text.substr(7)),
              HasSubstr("got a join string of format rubato2, want rubato1;"));
  EXPECT_THAT(message_of(text.substr(0, text.rfind('/'))),
              HasSubstr("got a join string of 4 parts, want 5,"));
  EXPECT_THAT(message_of(text.substr(0, text.size() - 1)), HasSubstr("without its 8 check digits"));
  EXPECT_THAT(message_of(std::string(5000, 'a')), HasSubstr("of 5000 characters, want at most"));
  text[10] = text[10] == 'x' ? 'y' : 'x';
  EXPECT_THAT(message_of(text), HasSubstr("does not match its check digits, want it as"));
}

TEST(JoinString, PartsThatAreNoneAreNotWritten) {
  const auto refused = [](auto change, std::string_view words) {
    JoinString join = sample();
    change(join);
    const auto text = join.text();
    EXPECT_TRUE(absl::IsInvalidArgument(text.status())) << text.status();
    EXPECT_THAT(std::string(text.status().message()), HasSubstr(std::string(words)));
  };
  refused([](JoinString& join) { join.addresses.clear(); }, "an address 1 that is none");
  refused([](JoinString& join) { join.addresses[1].port = 70000; }, "an address 2 that is none");
  refused([](JoinString& join) { join.addresses[2].host = "fe80::1%eth0"; },
          "an address 3 that is none");
  refused([](JoinString& join) { join.addresses[0].host = "Example.org"; },
          "an address 1 that is none");
  refused([](JoinString& join) { join.addresses.resize(9, {"a", 1}); }, "got 9 addresses");
  refused([](JoinString& join) { join.fingerprint.pop_back(); }, "a fingerprint that is none");
  refused([](JoinString& join) { join.secret = Secret("ABC"); }, "a secret that is none");
}

TEST(JoinString, TheSecretIsInNoMessage) {
  const std::string text = sample().text().value();
  EXPECT_EQ(sample().redacted(),
            cat("rubato1/train.example.org:7070,192.168.1.7:7070,[2001:db8::1]:65535/",
                sample().fingerprint.substr(0, 16), "../***"));
  for (size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = '!';
    EXPECT_THAT(message_of(changed), Not(HasSubstr("abcdefgh")));
    changed[i] = text[i] == '/' ? ':' : '/';
    EXPECT_THAT(message_of(changed), Not(HasSubstr("abcdefgh")));
  }
  EXPECT_THAT(message_of(kSecret), Not(HasSubstr("abcdefgh")));
}

TEST(JoinFile, IsReadAndItsReadersCounted) {
  MemoryFileSystem files;
  const std::string text = cat(*sample().text(), "\n");
  ASSERT_TRUE(files.replace_private_file("/join", text).ok());
  auto file = read_join_file(files, "/join");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->warning.ok()) << file->warning;
  EXPECT_EQ(file->join.secret.reveal(), kSecret);

  files.set_file_access("/join", FileAccess::kGroup);
  file = read_join_file(files, "/join");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->warning.message(),
            "[join] /join: got a file that others may read, want its secret kept; chmod 600 /join");

  EXPECT_TRUE(absl::IsNotFound(read_join_file(files, "/none").status()));
  ASSERT_TRUE(files.replace_file("/join", std::string(100'000, 'x')).ok());
  EXPECT_THAT(std::string(read_join_file(files, "/join").status().message()),
              HasSubstr("/join: [join] got a join string of 4098 characters"));
}

TEST(JoinFile, OrTheFirstLineOfAStream) {
  std::istringstream in(cat(*sample().text(), "\nand more"));
  const auto join = read_join_line(in);
  ASSERT_TRUE(join.ok()) << join.status();
  EXPECT_EQ(join->secret.reveal(), kSecret);
  std::istringstream endless(std::string(100'000, 'x')), empty;
  EXPECT_TRUE(absl::IsInvalidArgument(read_join_line(endless).status()));
  EXPECT_GT(endless.tellg(), 0) << "it was not read to its end";
  EXPECT_TRUE(absl::IsInvalidArgument(read_join_line(empty).status()));
}

TEST(JoinFile, OfTheMachineTellsModesApart) {
  TemporaryDirectory directory;
  PosixFileSystem files;
  const std::string path = join_path(directory.path(), "join");
  ASSERT_TRUE(files.replace_private_file(path, *sample().text()).ok());
  EXPECT_TRUE(read_join_file(files, path)->warning.ok());
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(read_join_file(files, path)->warning));
}

}  // namespace
}  // namespace rubato
