// What others make of our files: llama.cpp through node-llama-cpp, Hugging Face's readers of
// headers, and Python's safetensors, sentencepiece and tokenizers. They are installed into the
// build tree when a test first asks for them; where their registries are out of reach these tests
// skip.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/interchange/tiny_model.h"
#include "tests/store/temporary_directory.h"
#include "tests/text/sample_text.h"
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

#include "rubato/interchange/gguf_file.h"
#include "rubato/interchange/hf_directory.h"
#include "rubato/lm/generate.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using nlohmann::json;

constexpr int kCannotBeHad = 77;  // install.sh's exit code
constexpr int64_t kPageTokens = 400;
const std::string kScripts = cat(RUBATO_SOURCE_DIR, "/tests/interchange/clients/");

int shell(const std::string& command) {
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string contents(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// Lines of a page that no tokenizer likes, and the page.
std::vector<std::string> hard_texts() {
  const std::string page = contents(cat(RUBATO_SOURCE_DIR, "/tests/data/hard-unicode.txt"));
  std::vector<std::string> texts = {page};
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);)
    if (!line.empty()) texts.push_back(line);
  return texts;
}

std::vector<int32_t> encoded(const TinyModel& model, const std::string& text) {
  std::vector<int32_t> tokens;
  EXPECT_TRUE(model.tokenizer->encode(text, tokens).ok());
  return tokens;
}

// A page of the project's own text behind BOS.
std::vector<int32_t> page_of(const TinyModel& model) {
  std::vector<int32_t> tokens = encoded(model, sample_passages()[0] + sample_passages()[1]);
  tokens.insert(tokens.begin(), Tokenizer::kBos);
  tokens.resize(std::min<size_t>(tokens.size(), kPageTokens));
  return tokens;
}

// Our own distribution behind every token of `tokens` [nats].
std::vector<std::vector<double>> log_probs(const TinyModel& model,
                                           const std::vector<int32_t>& tokens) {
  const auto decoder =
      IncrementalDecoder::make(model.config, model.params, std::ssize(tokens), 1).value();
  std::vector<std::vector<double>> rows;
  for (const int32_t token : tokens) {
    const std::span<const float> logits = decoder->feed(token);
    const double top = *std::ranges::max_element(logits);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit - top);
    std::vector<double>& row = rows.emplace_back();
    for (const float logit : logits) row.push_back(logit - top - std::log(sum));
  }
  return rows;
}

class Clients : public testing::Test {
 protected:
  // The directory with what `kind` needs; "" and a skip when it cannot be had.
  std::string installed(const std::string& kind) {
    const std::string directory = cat(RUBATO_BINARY_DIR, "/clients/", kind);
    const int code = shell(cat("'", kScripts, "install.sh' ", kind, " '", directory, "'"));
    if (code != kCannotBeHad) {
      EXPECT_EQ(code, 0) << contents(directory + "/install.log");
      return code == 0 ? directory : "";
    }
    skip(cat("what the test runs cannot be installed; see ", directory, "/install.log"));
    return "";
  }

  json run_node(const std::string& script, const std::string& arguments) {
    const std::string directory = installed("node");
    if (directory.empty()) return {};
    // Modules are looked for beside the script.
    return answer(cat("cp '", kScripts, "node/", script, "' '", directory, "/' && cd '", directory,
                      "' && node ", script, " ", arguments));
  }

  json run_python(const std::string& script, const std::string& arguments) {
    const std::string directory = installed("python");
    if (directory.empty()) return {};
    return answer(
        cat("'", directory, "/bin/python' '", kScripts, "python/", script, "' ", arguments));
  }

  // {} when the test is skipped or has failed.
  json llama_cpp(const TinyModel& model, WeightType type, const json& request) {
    const std::string file = path("model.gguf");
    std::filesystem::remove(file);
    EXPECT_TRUE(write_gguf(files_, file, model.portable(kPageTokens + 64), type).ok());
    write_request(request);
    return run_node("llama_cpp.mjs", cat("'", file, "' '", path("request.json"), "'"));
  }

  void write_request(const json& request) { std::ofstream(path("request.json")) << request; }
  std::string path(const std::string& name) const { return temporary_.path() + "/" + name; }

  PosixFileSystem files_;

 private:
  void skip(const std::string& why) { GTEST_SKIP() << why; }
  json answer(const std::string& command) {
    const int code = shell(cat("(", command, ") > '", path("answer"), "' 2> '", path("log"), "'"));
    EXPECT_EQ(code, 0) << command << "\n" << contents(path("log"));
    return code == 0 ? json::parse(contents(path("answer"))) : json();
  }

  TemporaryDirectory temporary_;
};

struct Difference {
  double nats = 0;         // largest of a log-probability
  double probability = 0;  // largest of a probability
};

Difference difference(const std::vector<std::vector<double>>& ours, const json& theirs) {
  // What they return is a float of a probability; below this its logarithm is coarse.
  constexpr double kLeast = 1e-30;
  Difference most;
  EXPECT_EQ(ours.size(), theirs.size());
  for (size_t t = 0; t < ours.size(); ++t) {
    EXPECT_EQ(ours[t].size(), theirs[t].size());
    for (size_t v = 0; v < ours[t].size(); ++v) {
      const double a = ours[t][v], b = theirs[t][v].get<double>();
      most.probability = std::max(most.probability, std::abs(std::exp(a) - std::exp(b)));
      if (a > std::log(kLeast)) most.nats = std::max(most.nats, std::abs(a - b));
    }
  }
  return most;
}

struct Shape {
  const char* name;
  ModelConfig config;
};

const Shape kShapes[] = {
    {"tied", {.layers = 3, .width = 64, .heads = 4, .kv_heads = 4, .head_dim = 16, .ffn = 96}},
    {"grouped, untied, heads wider than the model", grouped_untied_shape()},
    {"grouped, tied, heads narrower than the model",
     {.layers = 2, .width = 96, .heads = 6, .kv_heads = 2, .head_dim = 8, .ffn = 128}},
};

TEST_F(Clients, LlamaCppTokenizesAsWeDo) {
  const json texts = hard_texts();
  for (const bool only_bytes : {false, true}) {
    const TinyModel model = tiny_model({}, only_bytes);
    const json answer =
        llama_cpp(model, WeightType::kF32, {{"texts", texts}, {"tokens", {1}}, {"generate", 0}});
    if (answer.is_null()) return;
    ASSERT_EQ(answer["ids"].size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(answer["ids"][i].get<std::vector<int32_t>>(), encoded(model, texts[i]))
          << texts[i] << (only_bytes ? " in bytes" : "");
      EXPECT_EQ(answer["decoded"][i], texts[i]);
    }
  }
}

TEST_F(Clients, LlamaCppHasOurDistributionOverAPage) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(shape.name);
    const TinyModel model = tiny_model(shape.config);
    const std::vector<int32_t> page = page_of(model);
    const json answer = llama_cpp(model, WeightType::kF32,
                                  {{"texts", json::array()}, {"tokens", page}, {"generate", 0}});
    if (answer.is_null()) return;
    const Difference most = difference(log_probs(model, page), answer["log_probs"]);
    RecordProperty(shape.name, cat(most.nats, " nats"));
    EXPECT_LT(most.nats, 1e-3);
    EXPECT_LT(most.probability, 1e-4);
  }
}

TEST_F(Clients, LlamaCppRunsSmallerTypes) {
  const TinyModel model = tiny_model(kShapes[0].config);
  const std::vector<int32_t> page = page_of(model);
  for (const auto& [type, bound] : {std::pair(WeightType::kF16, 0.05), {WeightType::kQ8_0, 1.0}}) {
    const json answer =
        llama_cpp(model, type, {{"texts", json::array()}, {"tokens", page}, {"generate", 0}});
    if (answer.is_null()) return;
    const Difference most = difference(log_probs(model, page), answer["log_probs"]);
    EXPECT_LT(most.nats, bound) << weight_type_name(type);
    EXPECT_GT(most.nats, 1e-5) << "what was rounded is not what was not";
  }
}

TEST_F(Clients, LlamaCppWritesWhatWeWrite) {
  constexpr int64_t kTokens = 40;
  const TinyModel model = tiny_model(kShapes[1].config);
  const std::vector<int32_t> prompt = page_of(model);
  const json answer =
      llama_cpp(model, WeightType::kF32,
                {{"texts", json::array()}, {"tokens", prompt}, {"generate", kTokens}});
  if (answer.is_null()) return;
  const auto ours = generate(model.config, model.params, prompt, kTokens, {.temperature = 0}, 1);
  ASSERT_TRUE(ours.ok()) << ours.status();
  EXPECT_EQ(answer["generated"].get<std::vector<int32_t>>(), *ours);
}

TEST_F(Clients, HuggingFaceReadsTheHeaders) {
  const TinyModel model = tiny_model(grouped_untied_shape());
  ASSERT_TRUE(write_gguf(files_, path("model.gguf"), model.portable(), WeightType::kF16).ok());
  ASSERT_TRUE(write_hf_directory(files_, path("hf"), model.portable(), WeightType::kF32).ok());
  const json answer =
      run_node("hugging_face.mjs", cat("'", path("model.gguf"), "' '", path("hf"), "'"));
  if (answer.is_null()) return;
  const Layout layout = model_layout(model.config);
  EXPECT_EQ(answer["gguf"]["parameters"], layout.size());
  EXPECT_EQ(answer["safetensors"]["parameters"], layout.size());
  EXPECT_EQ(answer["gguf"]["metadata"]["llama.attention.head_count_kv"], 2);
  EXPECT_EQ(answer["gguf"]["metadata"]["tokenizer.ggml.scores"].size(), 400u);
  EXPECT_EQ(answer["gguf"]["tensors"].size(), layout.tensors().size());
  for (const TensorSpec& tensor : layout.tensors()) {
    const json& header = answer["safetensors"]["tensors"][tensor.name];
    EXPECT_EQ(header["shape"], tensor.shape) << tensor.name;
    EXPECT_EQ(header["type"], "F32");
  }
  EXPECT_EQ(answer["gguf"]["tensors"]["blk.1.ffn_down.weight"]["shape"], (json{80, 48}));
}

TEST_F(Clients, PythonReadsTheDirectory) {
  const json texts = hard_texts();
  for (const bool only_bytes : {false, true}) {
    const TinyModel model = tiny_model(grouped_untied_shape(), only_bytes);
    const std::string directory = path(only_bytes ? "bytes" : "bpe");
    ASSERT_TRUE(write_hf_directory(files_, directory, model.portable(), WeightType::kF32).ok());
    write_request({{"texts", texts}});
    const json answer =
        run_python("read_directory.py", cat("'", directory, "' '", path("request.json"), "'"));
    if (answer.is_null()) return;
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::vector<int32_t> want = encoded(model, texts[i]);
      EXPECT_EQ(answer["sentencepiece"][i].get<std::vector<int32_t>>(), want) << texts[i];
      EXPECT_EQ(answer["tokenizers"][i].get<std::vector<int32_t>>(), want) << texts[i];
      EXPECT_EQ(answer["decoded"][i], texts[i]);
    }
    EXPECT_EQ(answer["with_bos"][0], Tokenizer::kBos);
    const Layout layout = model_layout(model.config);
    EXPECT_EQ(answer["tensors"].size(), layout.tensors().size());
    for (const TensorSpec& tensor : layout.tensors()) {
      const json& got = answer["tensors"][tensor.name];
      EXPECT_EQ(got["shape"], tensor.shape);
      const float* ours = model.params.data() + tensor.offset;
      EXPECT_EQ(got["values"].get<std::vector<float>>(),
                std::vector<float>(ours, ours + tensor.size))
          << tensor.name;
    }
  }
}

}  // namespace
}  // namespace rubato
