#include "tests/lm/reference_model.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "tests/lm/reference_blocks.h"

#include "rubato/base/rng.h"

namespace rubato::reference {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// What the backward pass reads again; q and k after rotation.
struct LayerTrace {
  Matrix in, normed, q, k, v, mixed;        // attention half
  Matrix middle, normed2, gate, up, gated;  // feed-forward half
};

struct Trace {
  std::vector<LayerTrace> layers;
  Matrix out, normed, probabilities;  // (T, D), (T, D), (T, V)
  std::vector<double> losses;         // [T]
};

// The flat buffer by tensor name. `Values` is Weights or Gradients.
template <class Values>
class Tensors {
 public:
  Tensors(const Layout& layout, Values flat) : layout_(layout), flat_(flat) {}
  Values operator()(const std::string& name) const {
    const TensorSpec* tensor = layout_.find(name);
    RUBATO_CHECK(tensor != nullptr, name);
    return flat_.subspan(tensor->offset, tensor->size);
  }
  Values operator()(int64_t layer, const std::string& name) const {
    return (*this)(cat("model.layers.", layer, ".", name, ".weight"));
  }

 private:
  const Layout& layout_;
  Values flat_;
};

const char* head_name(const ModelConfig& c) {
  return c.tied ? "model.embed_tokens.weight" : "lm_head.weight";
}

LayerTrace layer_forward(const ModelConfig& c, const Tensors<Weights>& w, int64_t l, Matrix in) {
  LayerTrace a;
  a.in = std::move(in);
  a.normed = rms_norm(a.in, w(l, "input_layernorm"), c.norm_eps);
  a.q = linear(a.normed, w(l, "self_attn.q_proj"), c.heads * c.head_dim);
  a.k = linear(a.normed, w(l, "self_attn.k_proj"), c.kv_heads * c.head_dim);
  a.v = linear(a.normed, w(l, "self_attn.v_proj"), c.kv_heads * c.head_dim);
  rotate(a.q, c.head_dim, c.rope_theta, +1);
  rotate(a.k, c.head_dim, c.rope_theta, +1);
  a.mixed = attention(c, a.q, a.k, a.v);
  a.middle = linear(a.mixed, w(l, "self_attn.o_proj"), c.width);
  add(a.in, a.middle);
  a.normed2 = rms_norm(a.middle, w(l, "post_attention_layernorm"), c.norm_eps);
  a.gate = linear(a.normed2, w(l, "mlp.gate_proj"), c.ffn);
  a.up = linear(a.normed2, w(l, "mlp.up_proj"), c.ffn);
  a.gated = a.up;
  for (size_t i = 0; i < a.gated.values.size(); ++i)
    a.gated.values[i] *= a.gate.values[i] * sigmoid(a.gate.values[i]);
  return a;
}

// dx: the gradient of the layer's output on entry, of its input on return.
void layer_backward(const ModelConfig& c, const Tensors<Weights>& w, const Tensors<Gradients>& g,
                    int64_t l, const LayerTrace& a, Matrix& dx) {
  Matrix dgated(a.in.rows, c.ffn), dgate = dgated, dup = dgated, dnormed2(a.in.rows, c.width);
  linear_backward(a.gated, w(l, "mlp.down_proj"), dx, dgated, g(l, "mlp.down_proj"));
  for (size_t i = 0; i < dgated.values.size(); ++i) {
    const double x = a.gate.values[i], s = sigmoid(x);
    dup.values[i] = dgated.values[i] * x * s;
    dgate.values[i] = dgated.values[i] * a.up.values[i] * s * (1 + x * (1 - s));
  }
  linear_backward(a.normed2, w(l, "mlp.gate_proj"), dgate, dnormed2, g(l, "mlp.gate_proj"));
  linear_backward(a.normed2, w(l, "mlp.up_proj"), dup, dnormed2, g(l, "mlp.up_proj"));
  rms_norm_backward(a.middle, w(l, "post_attention_layernorm"), c.norm_eps, dnormed2, dx,
                    g(l, "post_attention_layernorm"));

  Matrix dmixed(a.in.rows, a.mixed.cols), dq = dmixed, dk(a.in.rows, a.k.cols), dv = dk;
  Matrix dnormed(a.in.rows, c.width);
  linear_backward(a.mixed, w(l, "self_attn.o_proj"), dx, dmixed, g(l, "self_attn.o_proj"));
  attention_backward(c, a.q, a.k, a.v, dmixed, dq, dk, dv);
  rotate(dq, c.head_dim, c.rope_theta, -1);
  rotate(dk, c.head_dim, c.rope_theta, -1);
  linear_backward(a.normed, w(l, "self_attn.q_proj"), dq, dnormed, g(l, "self_attn.q_proj"));
  linear_backward(a.normed, w(l, "self_attn.k_proj"), dk, dnormed, g(l, "self_attn.k_proj"));
  linear_backward(a.normed, w(l, "self_attn.v_proj"), dv, dnormed, g(l, "self_attn.v_proj"));
  rms_norm_backward(a.in, w(l, "input_layernorm"), c.norm_eps, dnormed, dx,
                    g(l, "input_layernorm"));
}

// One sequence: tokens [T + 1].
Trace forward(const ModelConfig& c, const Tensors<Weights>& w, std::span<const int32_t> tokens) {
  const int64_t length = static_cast<int64_t>(tokens.size()) - 1;
  const Weights embedding = w("model.embed_tokens.weight");
  Matrix x(length, c.width);
  for (int64_t t = 0; t < length; ++t) {
    for (int64_t i = 0; i < c.width; ++i) x.at(t, i) = embedding[tokens[t] * c.width + i];
  }
  Trace trace;
  for (int64_t l = 0; l < c.layers; ++l) {
    const LayerTrace& layer = trace.layers.emplace_back(layer_forward(c, w, l, std::move(x)));
    x = linear(layer.gated, w(l, "mlp.down_proj"), c.width);
    add(layer.middle, x);
  }
  trace.out = std::move(x);
  trace.normed = rms_norm(trace.out, w("model.norm.weight"), c.norm_eps);
  trace.probabilities = linear(trace.normed, w(head_name(c)), c.vocab);
  for (int64_t t = 0; t < length; ++t) {
    const double logit = trace.probabilities.at(t, tokens[t + 1]);
    trace.losses.push_back(softmax(trace.probabilities, t, c.vocab) - logit);
  }
  return trace;
}

// Adds the gradient of scale * (sum of the sequence's losses).
void backward(const ModelConfig& c, const Tensors<Weights>& w, const Tensors<Gradients>& g,
              std::span<const int32_t> tokens, const Trace& trace, double scale) {
  const int64_t length = trace.out.rows;
  Matrix dlogits = trace.probabilities, dnormed(length, c.width), dx = dnormed;
  for (int64_t t = 0; t < length; ++t) dlogits.at(t, tokens[t + 1]) -= 1;
  for (double& value : dlogits.values) value *= scale;
  linear_backward(trace.normed, w(head_name(c)), dlogits, dnormed, g(head_name(c)));
  rms_norm_backward(trace.out, w("model.norm.weight"), c.norm_eps, dnormed, dx,
                    g("model.norm.weight"));
  for (int64_t l = c.layers - 1; l >= 0; --l) layer_backward(c, w, g, l, trace.layers[l], dx);
  const Gradients dembedding = g("model.embed_tokens.weight");
  for (int64_t t = 0; t < length; ++t) {
    for (int64_t i = 0; i < c.width; ++i) dembedding[tokens[t] * c.width + i] += dx.at(t, i);
  }
}

}  // namespace

Model::Model(const ModelConfig& config, int64_t sequence_length)
    : config_(config), layout_(model_layout(config)), length_(sequence_length) {
  RUBATO_CHECK(validate(config).ok() && sequence_length >= 1);
}

std::vector<double> Model::token_losses(std::span<const double> params,
                                        std::span<const int32_t> tokens) const {
  const Tensors<Weights> weights(layout_, params);
  std::vector<double> losses;
  for (size_t at = 0; at < tokens.size(); at += length_ + 1) {
    const Trace trace = forward(config_, weights, tokens.subspan(at, length_ + 1));
    losses.insert(losses.end(), trace.losses.begin(), trace.losses.end());
  }
  return losses;
}

double Model::loss(std::span<const double> params, std::span<const int32_t> tokens) const {
  const std::vector<double> losses = token_losses(params, tokens);
  double sum = 0;
  for (double value : losses) sum += value;
  return sum / static_cast<double>(losses.size());
}

double Model::loss_and_gradient(std::span<const double> params, std::span<const int32_t> tokens,
                                std::span<double> gradient) const {
  RUBATO_CHECK(static_cast<int64_t>(tokens.size()) % (length_ + 1) == 0 && !tokens.empty());
  std::fill(gradient.begin(), gradient.end(), 0.0);
  const Tensors<Weights> weights(layout_, params);
  const Tensors<Gradients> gradients(layout_, gradient);
  const int64_t sequences = static_cast<int64_t>(tokens.size()) / (length_ + 1);
  const double scale = 1 / static_cast<double>(sequences * length_);
  double sum = 0;
  for (int64_t b = 0; b < sequences; ++b) {
    const std::span<const int32_t> sequence = tokens.subspan(b * (length_ + 1), length_ + 1);
    const Trace trace = forward(config_, weights, sequence);
    for (double value : trace.losses) sum += value;
    backward(config_, weights, gradients, sequence, trace, scale);
  }
  return sum * scale;
}

double AdamW::step(const Layout& layout, std::span<const double> gradient, double lr,
                   std::span<double> params) {
  first.resize(params.size(), 0.0);
  second.resize(params.size(), 0.0);
  ++steps;
  double squares = 0;
  for (double g : gradient) squares += g * g;
  const double norm = std::sqrt(squares);
  const double clip = norm > clip_norm ? clip_norm / norm : 1.0;
  const double correction1 = 1 - std::pow(beta1, static_cast<double>(steps));
  const double correction2 = 1 - std::pow(beta2, static_cast<double>(steps));
  for (const TensorSpec& tensor : layout.tensors()) {
    const bool decays = tensor.role == TensorRole::kMatrix || tensor.role == TensorRole::kEmbedding;
    for (int64_t i = tensor.offset; i < tensor.offset + tensor.size; ++i) {
      const double g = clip * gradient[i];
      first[i] = beta1 * first[i] + (1 - beta1) * g;
      second[i] = beta2 * second[i] + (1 - beta2) * g * g;
      const double decay = decays ? weight_decay * params[i] : 0.0;
      params[i] -=
          lr * (first[i] / correction1 / (std::sqrt(second[i] / correction2) + eps) + decay);
    }
  }
  return norm;
}

std::vector<double> widen(std::span<const float> values) {
  return std::vector<double>(values.begin(), values.end());
}

std::string disagreements(const Layout& layout, std::span<const float> got,
                          std::span<const double> want, double relative, double floor) {
  RUBATO_CHECK(got.size() == want.size() && layout.size() == static_cast<int64_t>(got.size()));
  std::string lines;
  for (const TensorSpec& tensor : layout.tensors()) {
    double error = 0, size = 0;
    for (int64_t i = tensor.offset; i < tensor.offset + tensor.size; ++i) {
      const double difference = static_cast<double>(got[i]) - want[i];
      error += difference * difference;
      size += want[i] * want[i];
    }
    error = std::sqrt(error);
    size = std::sqrt(size);
    if (error <= relative * size + floor) continue;
    lines += cat(tensor.name, ": |got - want| = ", error, ", |want| = ", size, "\n");
  }
  return lines;
}

std::vector<float> lively_params(const Layout& layout, uint64_t seed, double scale) {
  std::vector<float> params(static_cast<size_t>(layout.size()));
  Rng rng(seed, RngStream::kTest);
  for (const TensorSpec& tensor : layout.tensors()) {
    for (int64_t i = 0; i < tensor.size; ++i) {
      const double draw = rng.normal();
      const double value = tensor.role == TensorRole::kNorm ? 1 + 0.2 * draw : scale * draw;
      params[tensor.offset + i] = static_cast<float>(value);
    }
  }
  return params;
}

std::vector<int32_t> random_tokens(int64_t vocab, int64_t sequences, int64_t length,
                                   uint64_t seed) {
  Rng rng(seed, RngStream::kTest, 1);
  std::vector<int32_t> tokens(static_cast<size_t>(sequences * (length + 1)));
  for (int32_t& token : tokens)
    token = static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab)));
  return tokens;
}

}  // namespace rubato::reference
