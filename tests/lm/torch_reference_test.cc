// The engine against PyTorch's autograd, where Debian's python3-torch is installed: the same
// parameters and tokens go to torch_reference.py, loss and gradient come back.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "tests/lm/reference_model.h"
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rubato/lm/engine.h"

namespace rubato {
namespace {

constexpr int kNoTorch = 77;    // torch_reference.py's exit code
constexpr int kNoPython = 127;  // the shell's

struct TorchAnswer {
  int exit_code = -1;
  double loss = 0;
  std::vector<double> gradient;
};

void write_case(const std::string& path, const ModelConfig& config, int64_t length,
                std::span<const int32_t> tokens, std::span<const float> params) {
  std::ofstream out(path);
  out.precision(17);  // a double, hence a float, comes back as it was
  out << "layers " << config.layers << "\nwidth " << config.width << "\nheads " << config.heads
      << "\nkv_heads " << config.kv_heads << "\nhead_dim " << config.head_dim << "\nffn "
      << config.ffn << "\nvocab " << config.vocab << "\ntied " << (config.tied ? 1 : 0)
      << "\nrope_theta " << config.rope_theta << "\nnorm_eps " << config.norm_eps
      << "\nsequence_length " << length << "\ntokens";
  for (int32_t token : tokens) out << ' ' << token;
  out << "\nparams";
  for (double value : params) out << ' ' << value;
  out << '\n';
}

TorchAnswer run_torch(const std::string& case_path) {
  const std::string answer_path = case_path + ".answer";
  const std::string command =
      cat("/usr/bin/python3 '", RUBATO_SOURCE_DIR, "/tests/lm/torch_reference.py' '", case_path,
          "' > '", answer_path, "'");
  const int status = std::system(command.c_str());
  TorchAnswer answer;
  answer.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  std::ifstream in(answer_path);
  in >> answer.loss;
  for (double value; in >> value;) answer.gradient.push_back(value);
  std::remove(answer_path.c_str());
  return answer;
}

void expect_engine_agrees(const std::string& name, const ModelConfig& config, int64_t sequences,
                          int64_t length) {
  const Layout layout = model_layout(config);
  const std::vector<float> params = reference::lively_params(layout, 11, 0.2);
  const auto tokens = reference::random_tokens(config.vocab, sequences, length, 12);
  const std::string path = cat(testing::TempDir(), "rubato_torch_", getpid(), "_", name);
  write_case(path, config, length, tokens, params);
  const TorchAnswer torch = run_torch(path);
  std::remove(path.c_str());
  if (torch.exit_code == kNoTorch || torch.exit_code == kNoPython)
    GTEST_SKIP() << "python3-torch is not installed";
  SCOPED_TRACE(name);
  ASSERT_EQ(torch.exit_code, 0);
  ASSERT_EQ(static_cast<int64_t>(torch.gradient.size()), layout.size());

  auto engine = Engine::make(
      {.model = config, .sequence_length = length, .max_batch = sequences, .threads = 2});
  ASSERT_TRUE(engine.ok()) << engine.status();
  const StepResult result = (*engine)->loss_and_gradient(params, tokens, 2);
  EXPECT_NEAR(result.loss, torch.loss, 1e-5 * torch.loss);
  EXPECT_EQ(reference::disagreements(layout, (*engine)->gradient(), torch.gradient, 1e-4, 1e-6),
            "");
  // The reference in double shares its precision with PyTorch and must agree far better.
  std::vector<double> gradient(params.size());
  const double loss = reference::Model(config, length)
                          .loss_and_gradient(reference::widen(params), tokens, gradient);
  EXPECT_NEAR(loss, torch.loss, 1e-12);
  for (size_t i = 0; i < gradient.size(); ++i) ASSERT_NEAR(gradient[i], torch.gradient[i], 1e-12);
}

TEST(TorchReference, EngineAgreesWithPyTorch) {
  expect_engine_agrees("tied",
                       {.layers = 3,
                        .width = 40,
                        .heads = 6,
                        .kv_heads = 2,
                        .head_dim = 10,
                        .ffn = 52,
                        .vocab = 97,
                        .tied = true},
                       3, 29);
  if (IsSkipped()) return;
  expect_engine_agrees("untied",
                       {.layers = 2,
                        .width = 36,
                        .heads = 3,
                        .kv_heads = 3,
                        .head_dim = 16,
                        .ffn = 44,
                        .vocab = 131,
                        .tied = false,
                        .rope_theta = 500.0,
                        .norm_eps = 1e-3},
                       2, 33);
}

}  // namespace
}  // namespace rubato
