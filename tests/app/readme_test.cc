// The README's promises: every command it shows under "Use it on your own text" runs as it stands,
// in its order, from an empty directory with somebody's text; only the training is made short.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/store/temporary_directory.h"
#include <gtest/gtest.h>

#include "rubato/app/program.h"
#include "rubato/base/text.h"

namespace rubato {
namespace {

namespace fs = std::filesystem;

// The lines of the first fenced block behind a heading.
std::vector<std::string> block_behind(const std::string& heading) {
  std::ifstream file(std::string(RUBATO_SOURCE_DIR) + "/README.md");
  std::vector<std::string> lines;
  bool behind = false, inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line == heading) behind = true;
    if (!behind) continue;
    if (line.starts_with("```")) {
      if (inside) break;
      inside = true;
    } else if (inside) {
      lines.push_back(line);
    }
  }
  return lines;
}

// Words as a shell would see them, with its quotes and the one pattern that the README uses.
std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false;
  for (const char c : line + " ") {
    if (c == '"') {
      quoted = !quoted;
    } else if (c != ' ' || quoted) {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  const auto pattern = std::ranges::find(words, "novels/*.txt");
  if (pattern != words.end()) {
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator("novels")) files.push_back(entry.path());
    std::ranges::sort(files);
    words.insert(words.erase(pattern), files.begin(), files.end());
  }
  return words;
}

class InDirectory {
 public:
  explicit InDirectory(const std::string& path) : before_(fs::current_path()) {
    fs::current_path(path);
  }
  ~InDirectory() { fs::current_path(before_); }

 private:
  fs::path before_;
};

TEST(Readme, ItsCommandsRunInTheirOrder) {
  const TemporaryDirectory temporary;
  const InDirectory inside(temporary.path());
  const fs::path source = RUBATO_SOURCE_DIR;
  fs::create_directory_symlink(source / "recipes", "recipes");
  fs::create_directory("novels");
  int novel = 0;
  for (const auto& entry : fs::recursive_directory_iterator(source / "src"))
    if (entry.path().extension() == ".cc") fs::copy(entry, cat("novels/", novel++, ".txt"));
  int ran = 0;
  for (const std::string& line : block_behind("## Use it on your own text")) {
    std::vector<std::string> words = words_of(line);
    ASSERT_FALSE(words.empty());
    if (words[0] == "./run") continue;  // it built this test
    ASSERT_EQ(words[0], "build/release/rubato") << line;
    words.erase(words.begin());
    if (words[0] == "train" || words[0] == "compare") {
      for (const char* shorter :
           {"train.budget_local_steps=160", "pretrain.steps=40", "eval.sequences=8"}) {
        words.insert(words.end(), {"--set", shorter});
      }
    }
    std::ostringstream out, err;
    EXPECT_EQ(run_program(words, {out, err}), kExitOk) << line << "\n" << err.str();
    EXPECT_NE(out.str(), "") << line;
    ++ran;
  }
  EXPECT_GE(ran, 7);
}

}  // namespace
}  // namespace rubato
