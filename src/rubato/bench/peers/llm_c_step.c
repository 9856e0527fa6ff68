/* The time of one training step of llm.c (karpathy/llm.c, train_gpt2.c) for a GPT-2 of a given shape:
 * forward, backward, AdamW. Compiled by `rubato bench peers` beside a source folder that the user
 * names; nothing of llm.c is part of this project.
 *   llm_c_step LAYERS WIDTH HEADS VOCAB BATCH LENGTH SECONDS    prints the median step in seconds */
#define TESTING /* leaves out its main() */
#include "train_gpt2.c"

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static void make_model(GPT2* model, char** sizes) {
  memset(model, 0, sizeof *model);
  model->config.num_layers = atoi(sizes[0]);
  model->config.channels = atoi(sizes[1]);
  model->config.num_heads = atoi(sizes[2]);
  model->config.vocab_size = atoi(sizes[3]);
  model->config.padded_vocab_size = (model->config.vocab_size + 127) / 128 * 128;
  model->config.max_seq_len = atoi(sizes[5]);
  fill_in_parameter_sizes(model->param_sizes, model->config);
  for (int i = 0; i < NUM_PARAMETER_TENSORS; ++i) model->num_parameters += model->param_sizes[i];
  model->params_memory = malloc_and_point_parameters(&model->params, model->param_sizes);
  unsigned state = 1;
  for (size_t i = 0; i < model->num_parameters; ++i) {
    state = state * 1664525u + 1013904223u;
    model->params_memory[i] = 0.02f * ((float)(state >> 8) / 8388608.0f - 1.0f);
  }
}

int main(int argc, char** argv) {
  enum { kLeastSteps = 5, kMostSteps = 10000 };
  static double seconds[kMostSteps];
  if (argc != 8) return 2;
  GPT2 model;
  make_model(&model, argv + 1);
  const int batch = atoi(argv[5]), length = atoi(argv[6]);
  const double wanted = atof(argv[7]);
  int* tokens = malloc(sizeof(int) * (size_t)(batch * length + 1));
  for (int i = 0; i <= batch * length; ++i) tokens[i] = (i * 7919) % model.config.vocab_size;
  int steps = 0;
  double spent = 0;
  /* The first step allocates and is not counted. */
  for (int t = 0; steps < kMostSteps && (spent < wanted || steps < kLeastSteps); ++t) {
    const double begin = now_s();
    gpt2_forward(&model, tokens, tokens + 1, (size_t)batch, (size_t)length);
    gpt2_zero_grad(&model);
    gpt2_backward(&model);
    gpt2_update(&model, 1e-4f, 0.9f, 0.95f, 1e-8f, 0.1f, t + 1);
    if (t == 0) continue;
    seconds[steps] = now_s() - begin;
    spent += seconds[steps++];
  }
  qsort(seconds, (size_t)steps, sizeof *seconds, by_size);
  printf("RESULT %.9f\n", seconds[steps / 2]);
  return 0;
}
