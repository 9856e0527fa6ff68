// What the coordinator's side makes of bytes and numbers, for the tests of the worker in Python:
//   reference encode CODEC BLOCK        floats on stdin -> their encoding; BLOCK 0: the default
//   reference decode CODEC BLOCK COUNT  an encoding on stdin -> floats
//   reference order SEED SHARD EPOCH SIZE   -> permuted_index of each position, a line each
//   reference rate MAX MIN WARMUP TOTAL     -> the learning rate before each of TOTAL steps
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "rubato/base/status.h"
#include "rubato/codec/codec.h"
#include "rubato/schedule/learning_rate.h"
#include "rubato/schedule/permutation.h"

namespace rubato {
namespace {

std::string standard_input() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

std::unique_ptr<const Codec> codec_of(char** words) {
  std::map<std::string, OptionValue> options;
  if (const int64_t block = std::atoll(words[1]); block > 0) options["block"] = block;
  auto codec = make_codec(words[0], options);
  RUBATO_CHECK(codec.ok(), codec.status().message());
  return std::move(*codec);
}

void write(const void* bytes, size_t count) {
  RUBATO_CHECK(std::fwrite(bytes, 1, count, stdout) == count);
}

void encode(char** words) {
  const std::string bytes = standard_input();
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  const auto codec = codec_of(words);
  std::vector<std::byte> encoded(
      static_cast<size_t>(codec->encoded_bytes(static_cast<int64_t>(values.size()))));
  codec->encode(values, encoded);
  write(encoded.data(), encoded.size());
}

void decode(char** words) {
  const std::string bytes = standard_input();
  const auto codec = codec_of(words);
  std::vector<float> values(static_cast<size_t>(std::atoll(words[2])));
  const auto encoded = std::as_bytes(std::span(bytes));
  const Status checked = codec->check(encoded, std::ssize(values));
  RUBATO_CHECK(checked.ok(), checked.message());
  codec->decode(encoded, 0, values);
  write(values.data(), values.size() * sizeof(float));
}

void order(char** words) {
  const int64_t size = std::atoll(words[3]);
  for (int64_t i = 0; i < size; ++i) {
    std::printf("%lld\n", static_cast<long long>(permuted_index(
                              std::strtoull(words[0], nullptr, 10), ShardId(std::atoll(words[1])),
                              std::atoll(words[2]), i, size)));
  }
}

void rate(char** words) {
  const LearningRate rate{std::atof(words[0]), std::atof(words[1]), std::atoll(words[2])};
  const int64_t total = std::atoll(words[3]);
  for (int64_t i = 0; i < total; ++i) std::printf("%.17g\n", rate.at(i, total));
}

}  // namespace
}  // namespace rubato

int main(int argc, char** argv) {
  const std::map<std::string, std::pair<int, void (*)(char**)>> commands = {
      {"encode", {4, rubato::encode}},
      {"decode", {5, rubato::decode}},
      {"order", {6, rubato::order}},
      {"rate", {6, rubato::rate}},
  };
  const auto it = commands.find(argc > 1 ? argv[1] : "");
  if (it == commands.end() || argc != it->second.first) return 2;
  it->second.second(argv + 2);
  return 0;
}
