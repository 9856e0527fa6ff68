#include "rubato/bench/peers_bench.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "rubato_embedded_peers.h"

namespace rubato {
namespace {

namespace fs = std::filesystem;

std::string quoted(const std::string& word) {
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// What `command` prints, to both streams.
StatusOr<std::string> output_of(const std::string& command, std::string_view who) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return absl::InternalError(cat("[", who, "] no shell to run it in"));
  std::string text;
  std::array<char, 4096> piece;
  for (size_t n; (n = fread(piece.data(), 1, piece.size(), pipe)) > 0;)
    text.append(piece.data(), n);
  if (pclose(pipe) == 0) return text;
  constexpr size_t kWords = 400;
  return absl::FailedPreconditionError(cat(
      "[", who, "] did not run: .. ", text.substr(text.size() - std::min(text.size(), kWords))));
}

// The word behind `key` in what a peer printed.
StatusOr<std::string> word_behind(std::string_view key, const std::string& text,
                                  std::string_view who) {
  const size_t at = text.find(cat("\n", key, " ")) == std::string::npos && !text.starts_with(key)
                        ? std::string::npos
                        : text.find(cat(key, " ")) + key.size() + 1;
  if (at == std::string::npos)
    return absl::FailedPreconditionError(cat("[", who, "] got no ", key, " from it"));
  return text.substr(at, text.find('\n', at) - at);
}

// A folder for a peer's program, gone with the object.
class Workshop {
 public:
  static StatusOr<Workshop> open() {
    std::string path = fs::temp_directory_path() / "rubato-peers-XXXXXX";
    if (mkdtemp(path.data()) == nullptr)
      return absl::UnavailableError(cat("[peers] got no folder like ", path));
    return Workshop(std::move(path));
  }
  Workshop(Workshop&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  ~Workshop() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  std::string file(std::string_view name) const { return cat(path_, "/", name); }
  std::string write(std::string_view name, std::string_view text) const {
    std::ofstream(file(name)) << text;
    return file(name);
  }

 private:
  explicit Workshop(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

struct PeerSpeed {
  double tokens_per_s = 0;
  std::string settings;
};

double tokens_of(const EngineShape& shape) {
  return static_cast<double>(shape.batch * shape.sequence_length);
}

// With the flags of llm.c's own Makefile.
StatusOr<std::string> build_llm_c(const Workshop& workshop, const std::string& folder) {
  const std::string program = workshop.file("llm_c_step");
  RUBATO_RETURN_IF_ERROR(
      output_of(
          cat("cc -Ofast -march=native -fopenmp -DOMP -w -I", quoted(folder), " ",
              quoted(workshop.write("llm_c_step.c", kLlmCStep)), " -o ", quoted(program), " -lm"),
          "llm.c")
          .status());
  return program;
}

StatusOr<PeerSpeed> run_llm_c(const std::string& program, const EngineShape& shape,
                              const PeerOptions& options) {
  const ModelConfig& m = shape.model;
  RUBATO_ASSIGN_OR_RETURN(
      const std::string text,
      output_of(cat("OMP_NUM_THREADS=", options.threads, " ", quoted(program), " ", m.layers, " ",
                    m.width, " ", m.heads, " ", m.vocab, " ", shape.batch, " ",
                    shape.sequence_length, " ", options.seconds),
                "llm.c"));
  RUBATO_ASSIGN_OR_RETURN(const std::string seconds, word_behind("RESULT", text, "llm.c"));
  return PeerSpeed{tokens_of(shape) / std::atof(seconds.c_str()),
                   cat("-Ofast -march=native, ", options.threads, " threads")};
}

// The best of one and all threads, with glibc's memory settings as they are and such that nothing
// is given back to the system between two steps.
StatusOr<PeerSpeed> run_torch(const Workshop& workshop, const std::string& mode,
                              const EngineShape& shape, const PeerOptions& options) {
  const std::string who = cat("PyTorch ", mode);
  const std::string script = workshop.write("torch_step.py", kTorchStep);
  const ModelConfig& m = shape.model;
  PeerSpeed best;
  for (const std::string& memory :
       {std::string(), std::string("MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_="
                                   "4294967296 MALLOC_TOP_PAD_=268435456 ")}) {
    for (int threads = options.threads;; threads = 1) {
      RUBATO_ASSIGN_OR_RETURN(
          const std::string text,
          output_of(cat(memory, quoted(options.python), " ", quoted(script), " ", m.layers, " ",
                        m.width, " ", m.heads, " ", m.kv_heads, " ", m.head_dim, " ", m.ffn, " ",
                        m.vocab, " ", shape.batch, " ", shape.sequence_length, " ", options.seconds,
                        " ", mode, " ", threads),
                    who));
      RUBATO_ASSIGN_OR_RETURN(const std::string seconds, word_behind("RESULT", text, who));
      RUBATO_ASSIGN_OR_RETURN(const std::string version, word_behind("VERSION", text, who));
      const double speed = tokens_of(shape) / std::atof(seconds.c_str());
      if (speed > best.tokens_per_s) {
        best = {speed, cat(version, ", ", threads, " threads, memory ",
                           memory.empty() ? "as it is" : "kept")};
      }
      if (threads == 1) break;
    }
  }
  return best;
}

}  // namespace

StatusOr<std::vector<PeerRow>> bench_peers(std::span<const EngineShape> shapes,
                                           const std::shared_ptr<const InnerOptimizer>& optimizer,
                                           const PeerOptions& options) {
  RUBATO_ASSIGN_OR_RETURN(const Workshop workshop, Workshop::open());
  std::string llm_c;
  if (!options.llm_c.empty()) {
    RUBATO_ASSIGN_OR_RETURN(llm_c, build_llm_c(workshop, options.llm_c));
  }
  std::vector<std::string> peers;
  if (!llm_c.empty()) peers.push_back("llm.c");
  if (!options.python.empty()) peers.insert(peers.end(), {"PyTorch eager", "PyTorch compile"});
  if (peers.empty()) return std::vector<PeerRow>();
  const EngineBenchOptions own{.threads = options.threads, .seconds = options.seconds};
  std::vector<PeerRow> rows;
  for (const EngineShape& shape : shapes) {
    const auto ours = [&]() -> StatusOr<double> {
      RUBATO_ASSIGN_OR_RETURN(const auto measured, bench_engine({&shape, 1}, optimizer, own));
      return measured.front().tokens_per_s;
    };
    RUBATO_ASSIGN_OR_RETURN(double before, ours());
    for (const std::string& peer : peers) {
      RUBATO_ASSIGN_OR_RETURN(
          const PeerSpeed speed,
          peer == "llm.c" ? run_llm_c(llm_c, shape, options)
                          : run_torch(workshop, peer.substr(peer.find(' ') + 1), shape, options));
      RUBATO_ASSIGN_OR_RETURN(const double after, ours());
      const double best = std::max(before, after);
      rows.push_back(
          {shape.name, peer, speed.settings, best, speed.tokens_per_s, best / speed.tokens_per_s});
      before = after;
    }
  }
  return rows;
}

}  // namespace rubato
