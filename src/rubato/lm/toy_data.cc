// Generation of the toy task's points.
#include "rubato/lm/toy_data.h"

#include <cmath>
#include <new>
#include <numeric>

#include "rubato/base/parallel.h"
#include "rubato/base/rng.h"

namespace rubato {
namespace {

constexpr int64_t kPointsPerPiece = 512;               // what a thread generates at a time
constexpr uint64_t kCentreKey = uint64_t{1} << 48;     // behind every point's key
constexpr uint64_t kClusterOrder = 0, kEvalOrder = 1;  // keys of kPermutation

// Fisher and Yates; the first `count` are a uniform draw without replacement.
std::vector<int64_t> shuffled(int64_t size, int64_t count, uint64_t seed, uint64_t key) {
  std::vector<int64_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  Rng draws(seed, RngStream::kPermutation, key);
  for (int64_t i = 0; i < count; ++i)
    std::swap(order[i], order[i + static_cast<int64_t>(draws.below(size - i))]);
  order.resize(count);
  return order;
}

std::vector<double> random_centres(int64_t count, int64_t inputs, uint64_t seed) {
  std::vector<double> centres;
  for (int64_t k = 0; k < count; ++k) {
    Rng draws(seed, RngStream::kSyntheticData, kCentreKey + k);
    std::vector<double> centre(inputs);
    double squares = 0;
    for (double& value : centre) {
      value = draws.normal();
      squares += value * value;
    }
    for (double value : centre) centres.push_back(value / std::sqrt(squares));
  }
  return centres;
}

Status check_options(const ToyDataOptions& options) {
  const auto refuse = [](std::string_view name, auto got, auto... want) {
    return absl::InvalidArgumentError(cat("[toy] ", name, ": got ", got, ", want ", want...));
  };
  if (options.inputs < 1) return refuse("inputs", options.inputs, "at least 1");
  if (options.points < 1) return refuse("points", options.points, "at least 1");
  if (options.clusters_per_class < 1)
    return refuse("clusters_per_class", options.clusters_per_class, "at least 1");
  if (!(options.noise >= 0)) return refuse("noise", options.noise, "at least 0");
  if (options.eval_points < 1) return refuse("eval_points", options.eval_points, "at least 1");
  if (!options.evaluate_held_out && options.eval_points > options.points)
    return refuse("eval_points", options.eval_points, "at most the ", options.points,
                  " training points");
  return absl::OkStatus();
}

}  // namespace

StatusOr<ToyData> ToyData::make(const ToyDataOptions& options, int threads) {
  RUBATO_RETURN_IF_ERROR(check_options(options));
  try {
    ToyData data(options);
    data.assign_clusters();
    data.choose_evaluation();
    data.generate_points(threads);
    return data;
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        cat("[toy] got no memory for ", options.points + options.eval_points, " points of ",
            options.inputs, " floats, want ",
            (options.points + options.eval_points) * options.inputs * 4, " bytes; fewer points"));
  }
}

std::span<const float> ToyData::point(int64_t index) const {
  return std::span(values_).subspan(index * options_.inputs, options_.inputs);
}

void ToyData::assign_clusters() {
  const int64_t held_out = options_.evaluate_held_out ? options_.eval_points : 0;
  const int64_t clusters = kToyClasses * options_.clusters_per_class;
  clusters_ = shuffled(options_.points, options_.points, options_.seed, kClusterOrder);
  for (int64_t i = 0; i < held_out; ++i) clusters_.push_back(i);
  for (int64_t& cluster : clusters_) {
    cluster %= clusters;
    labels_.push_back(static_cast<uint8_t>(cluster / options_.clusters_per_class));
  }
}

void ToyData::choose_evaluation() {
  if (options_.evaluate_held_out) {
    eval_indices_.resize(options_.eval_points);
    std::iota(eval_indices_.begin(), eval_indices_.end(), options_.points);
  } else {
    eval_indices_ = shuffled(options_.points, options_.eval_points, options_.seed, kEvalOrder);
  }
}

void ToyData::generate_points(int threads) {
  const int64_t inputs = options_.inputs, total = static_cast<int64_t>(clusters_.size());
  const std::vector<double> centres =
      random_centres(kToyClasses * options_.clusters_per_class, inputs, options_.seed);
  values_.resize(total * inputs);
  ThreadPool pool(threads);
  pool.for_each((total + kPointsPerPiece - 1) / kPointsPerPiece, [&](int64_t piece) {
    const int64_t end = std::min(total, (piece + 1) * kPointsPerPiece);
    for (int64_t p = piece * kPointsPerPiece; p < end; ++p) {
      Rng draws(options_.seed, RngStream::kSyntheticData, p);
      const double* centre = centres.data() + clusters_[p] * inputs;
      float* x = values_.data() + p * inputs;
      for (int64_t j = 0; j < inputs; ++j)
        x[j] = static_cast<float>(centre[j] + options_.noise * draws.normal());
    }
  });
}

}  // namespace rubato
