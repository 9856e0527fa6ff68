// The rules of the house, read from the code as text: who may include whom, how long a file may be,
// and words that have no place outside one. The table of layers is src/rubato/CMakeLists.txt
// itself.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace rubato {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = RUBATO_SOURCE_DIR;

struct Source {
  std::string path;  // from the root of the tree
  std::string room;  // its directory below src/rubato or tests
  std::vector<std::string> lines;
};

std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<Source> sources_below(const std::string& top) {
  std::vector<Source> sources;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(kRoot / top)) {
    const std::string extension = entry.path().extension();
    if (extension != ".h" && extension != ".cc") continue;
    const fs::path inside = fs::relative(entry.path(), kRoot / top);
    sources.push_back(
        {fs::relative(entry.path(), kRoot), inside.begin()->string(), lines_of(entry.path())});
  }
  std::ranges::sort(sources, {}, &Source::path);
  return sources;
}

const std::vector<Source>& project_sources() {
  static const std::vector<Source> sources = sources_below("src/rubato");
  return sources;
}

std::map<std::string, std::set<std::string>> layer_table() {
  std::stringstream text;
  for (const std::string& line : lines_of(kRoot / "src/rubato/CMakeLists.txt")) {
    if (line.find_first_not_of(' ') != std::string::npos &&
        line[line.find_first_not_of(' ')] != '#')
      text << line << ' ';
  }
  std::map<std::string, std::set<std::string>> table;
  const std::string all = text.str();
  const std::regex entry(R"(rubato_library\((\w+)([^)]*)\))");
  for (std::sregex_iterator it(all.begin(), all.end(), entry), end; it != end; ++it) {
    std::stringstream words((*it)[2].str());
    std::set<std::string>& deps = table[(*it)[1].str()];
    bool in_deps = false;
    for (std::string word; words >> word;) {
      if (word == "DEPS" || word == "LIBS") {
        in_deps = word == "DEPS";
      } else if (in_deps) {
        deps.insert(word);
      }
    }
  }
  return table;
}

TEST(Tidy, ADirectoryIncludesOnlyWhatTheTableAllows) {
  const auto table = layer_table();
  ASSERT_GE(table.size(), 14u);
  const std::regex include(R"(^\s*#\s*include\s+\"rubato/(\w+)/)");
  int checked = 0;
  for (const Source& source : project_sources()) {
    const auto room = table.find(source.room);
    ASSERT_NE(room, table.end()) << source.path << " lies in no room of src/rubato/CMakeLists.txt";
    for (const std::string& line : source.lines) {
      std::smatch match;
      if (!std::regex_search(line, match, include)) continue;
      ++checked;
      const std::string other = match[1];
      if (other == "v1") {  // what protoc makes of the public protocol
        EXPECT_EQ(source.room, "rpc") << source.path << " includes the protocol's messages";
        continue;
      }
      EXPECT_TRUE(other == source.room || room->second.contains(other))
          << source.path << " includes " << other << "/, which " << source.room << "/ may not";
    }
  }
  EXPECT_GT(checked, 100);
}

TEST(Tidy, LayersHaveNoCycles) {
  const auto table = layer_table();
  std::set<std::string> below;
  // The table is written bottom up: each room may name only rooms that stand before it in some
  // order.
  for (size_t before = below.size() + 1; before != below.size();) {
    before = below.size();
    for (const auto& [room, deps] : table) {
      if (std::ranges::all_of(deps, [&](const std::string& dep) { return below.contains(dep); }))
        below.insert(room);
    }
  }
  for (const auto& [room, deps] : table)
    EXPECT_TRUE(below.contains(room)) << room << " is part of a cycle";
}

struct Ban {
  std::string pattern;
  std::set<std::string> allowed;  // rooms, or files from the root
  std::string why;
};

const std::vector<Ban> kBans = {
    {R"(\bsystem_clock\b)", {"app"}, "wall time belongs to the caller"},
    {R"(\bsteady_clock\b)", {"app", "bench"}, "time is an argument"},
    {R"(\brandom_device\b)", {}, "draws are keyed by seed and purpose: base/rng.h"},
    {R"(std::(normal|uniform_int|uniform_real|discrete|bernoulli)_distribution)",
     {},
     "our own distributions: base/rng.h"},
    {R"(std::mt19937)", {}, "our own generator: base/rng.h"},
    {R"(std::(cout|cerr)\b)", {"app"}, "libraries do not print"},
    {R"(\b(std::)?(exit|abort|_Exit|quick_exit)\()",
     {"app", "src/rubato/base/status.cc"},
     "libraries do not end the program"},
    {R"(\bgetenv\()", {"app"}, "configuration is not in the environment"},
    {R"(\b(TODO|FIXME|XXX|HACK)\b)", {}, "work that is left stands in an issue"},
    {R"(dnnl_)", {"lm"}, "GEMM only in lm/"},
    {R"(#include [<"]toml)", {"app"}, "TOML only in app/"},
    {R"(#include [<"]CLI)", {"app"}, "the command line only in app/"},
    {R"(#include [<"]sentencepiece)",
     {"src/rubato/text/sentencepiece_module.cc"},
     "sentencepiece only in its module: it brings a protobuf of its own"},
    {R"(#include [<"]mpi\.h)",
     {"src/rubato/island/mpi_module.cc"},
     "MPI only in its module: most workers have none"},
    {R"(\bdlopen\()",
     {"src/rubato/island/mpi_loader.cc", "src/rubato/text/sentencepiece_loader.cc"},
     "each module is loaded by one function"},
    {R"(#include [<"]spdlog)", {"app"}, "libraries do not log"},
    {R"(#include [<"]httplib)", {"src/rubato/web/http_server.cc"}, "HTTP behind one adapter"},
    {R"(#include [<"]grpc)", {"rpc"}, "gRPC only in rpc/"},
    {R"(#include [<"]openssl)", {"rpc"}, "OpenSSL only in rpc/"},
    {R"(\busing namespace\b)", {}, "names say where they come from"},
};

TEST(Tidy, BannedWordsStayInTheirPlace) {
  for (const Ban& ban : kBans) {
    const std::regex pattern(ban.pattern);
    for (const Source& source : project_sources()) {
      if (ban.allowed.contains(source.room) || ban.allowed.contains(source.path)) continue;
      for (size_t i = 0; i < source.lines.size(); ++i) {
        const std::string code = source.lines[i].substr(0, source.lines[i].find("//"));
        const bool comment_counts = ban.pattern.find("TODO") != std::string::npos;
        EXPECT_FALSE(std::regex_search(comment_counts ? source.lines[i] : code, pattern))
            << source.path << ":" << i + 1 << ": " << ban.why;
      }
    }
  }
}

TEST(Tidy, FilesStayShort) {
  for (const Source& source : project_sources()) {
    const bool header = source.path.ends_with(".h");
    const bool kernel = source.path.find("/kernels/") != std::string::npos;
    const size_t limit = header ? 220 : kernel ? 600 : 450;
    EXPECT_LE(source.lines.size(), limit)
        << source.path << ": if a file wants to grow, the noun is wrong";
  }
}

TEST(Tidy, EveryFileBeginsWithABannerOrItsHeader) {
  for (const Source& source : project_sources()) {
    ASSERT_FALSE(source.lines.empty()) << source.path;
    const bool banner = source.lines[0].starts_with("//");
    const bool own_header =
        source.path.ends_with(".cc") && source.lines[0].starts_with("#include \"rubato/");
    EXPECT_TRUE(banner || own_header) << source.path;
    // Highway compiles its -inl.h files once per instruction set, so they guard themselves
    // otherwise.
    if (source.path.ends_with(".h") && !source.path.ends_with("-inl.h")) {
      EXPECT_TRUE(banner) << source.path << " has no banner";
      EXPECT_NE(std::ranges::find(source.lines, "#pragma once"), source.lines.end()) << source.path;
    }
  }
}

TEST(Tidy, EveryTestProgramMirrorsARoom) {
  const auto table = layer_table();
  // About the whole tree; about the paper's claims; about what must not compile; what fuzzers of
  // all rooms share; about the worker in Python.
  const std::set<std::string> own = {"tidy", "paper", "misuse", "fuzz", "python"};
  for (const Source& source : sources_below("tests")) {
    EXPECT_TRUE(table.contains(source.room) || own.contains(source.room)) << source.path;
  }
}

TEST(Tidy, TestsAssert) {
  const std::regex claim(R"((EXPECT|ASSERT|RC_ASSERT|FAIL|ADD_FAILURE|RC_FAIL))");
  const std::regex empty(R"(EXPECT_TRUE\(true\)|ASSERT_TRUE\(true\)|SUCCEED\(\)|DISABLED_)");
  for (const Source& source : sources_below("tests")) {
    if (source.room == "tidy") continue;
    bool claims = false;
    for (const std::string& line : source.lines) {
      claims = claims || std::regex_search(line, claim);
      EXPECT_FALSE(std::regex_search(line, empty)) << source.path << ": " << line;
    }
    if (!source.path.ends_with("_test.cc")) continue;
    EXPECT_TRUE(claims) << source.path << " asserts nothing";
  }
}

}  // namespace
}  // namespace rubato
