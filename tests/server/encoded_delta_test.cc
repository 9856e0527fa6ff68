// The model fed with encodings: the bits of the decoded floats, for every codec, alone and in
// groups, and no buffer for either.
#include "rubato/server/encoded_delta.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include <gtest/gtest.h>

#include "rubato/base/rng.h"
#include "rubato/server/server_model.h"

namespace {
std::atomic<size_t> largest_new{0};
}

// Replaces the program's allocation functions; all that is added is a look at the size.
void* operator new(std::size_t size) {
  if (size > largest_new) largest_new = size;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace rubato {
namespace {

using Floats = std::vector<float>;

// Tensors that begin nowhere near a block of a codec.
Layout odd_layout() {
  Layout layout;
  layout.add("bias", {13}, TensorRole::kBias);
  layout.add("wide", {300, 301}, TensorRole::kMatrix);
  layout.add("norm", {4095}, TensorRole::kNorm);
  return layout;
}

Floats normals(int64_t size, uint64_t key) {
  Rng rng(23, RngStream::kTest, key);
  Floats values(static_cast<size_t>(size));
  for (float& value : values) value = static_cast<float>(0.01 * rng.normal());
  return values;
}

ServerModel model_of(const std::vector<std::string>& links, const std::string& rule,
                     ThreadPool* pool) {
  const Layout layout = odd_layout();
  auto chain =
      OuterChain::make({links, rule, {}}, layout, {.num_workers = 3, .num_params = layout.size()});
  RUBATO_CHECK(chain.ok(), std::string(chain.status().message()));
  return {normals(layout.size(), 1), std::move(chain).value(), pool};
}

// A delta in its two forms.
struct Sent {
  Sent(const Codec& codec, uint64_t key)
      : encoded(static_cast<size_t>(codec.encoded_bytes(odd_layout().size()))),
        decoded(normals(odd_layout().size(), key)) {
    codec.encode(decoded, encoded);
    codec.decode(encoded, 0, decoded);
  }
  std::vector<std::byte> encoded;
  Floats decoded;
};

StateImage state_of(ServerModel& model) {
  StateImage image;
  StateSaver saver(image);
  model.walk_state(saver);
  return image;
}

TEST(EncodedDelta, GivesTheBitsOfTheDecodedFloats) {
  ThreadPool pool(3);
  const int64_t size = odd_layout().size();
  const std::vector<std::pair<std::vector<std::string>, std::string>> chains = {
      {{}, "nesterov"}, {{"weight", "clip"}, "delayed_nesterov"}, {{}, "adam"}};
  for (const CodecEntry* entry : codec_entries()) {
    const auto codec = make_codec(entry->name).value();
    const std::vector<Sent> sent = {{*codec, 10}, {*codec, 11}, {*codec, 12}};
    for (const auto& [links, rule] : chains) {
      SCOPED_TRACE(cat(entry->name, " ", rule));
      ServerModel plain = model_of(links, rule, nullptr), encoded = model_of(links, rule, &pool);
      for (const std::vector<double>& weights :
           std::vector<std::vector<double>>{{1}, {0.5}, {0.5, 0.25, 0.25}, {1}}) {
        std::vector<PlainDelta> floats;
        std::vector<EncodedDelta> bytes;
        std::vector<ServerModel::Delta> of_floats, of_bytes;
        floats.reserve(weights.size());
        bytes.reserve(weights.size());
        Apply effect;
        for (size_t i = 0; i < weights.size(); ++i) {
          effect.members.push_back({TaskId(static_cast<int64_t>(i)), weights[i]});
          of_floats.push_back({&floats.emplace_back(sent[i].decoded)});
          of_bytes.push_back({&bytes.emplace_back(*codec, sent[i].encoded, size)});
        }
        plain.apply(effect, of_floats);
        encoded.apply(effect, of_bytes);
      }
      EXPECT_EQ(
          std::memcmp(plain.theta().data(), encoded.theta().data(), plain.theta().size_bytes()), 0);
      EXPECT_EQ(state_of(plain), state_of(encoded));
    }
  }
}

TEST(EncodedDelta, AGroupOfThemTakesNoBuffer) {
  const auto codec = make_codec("int4").value();
  const std::vector<Sent> sent(8, Sent(*codec, 10));
  ServerModel model = model_of({"clip"}, "nesterov", nullptr);
  std::vector<EncodedDelta> bytes;
  std::vector<ServerModel::Delta> deltas;
  bytes.reserve(sent.size());
  Apply effect;
  for (const Sent& one : sent) {
    effect.members.push_back({TaskId(0), 0.125});
    deltas.push_back({&bytes.emplace_back(*codec, one.encoded, odd_layout().size())});
  }
  largest_new = 0;
  model.apply(effect, deltas);
  EXPECT_LE(largest_new, 256u) << "a few words a member, whatever the size of the model";
}

TEST(EncodedDeltaDeathTest, WantsTheRightNumberOfBytes) {
  const auto codec = make_codec("bf16").value();
  const std::vector<std::byte> bytes(10);
  EXPECT_DEATH(EncodedDelta(*codec, bytes, 6), "CHECK failed");
}

}  // namespace
}  // namespace rubato
