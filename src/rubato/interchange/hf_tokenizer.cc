#include "rubato/interchange/hf_tokenizer.h"

#include <algorithm>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include <nlohmann/json.hpp>

#include "rubato/text/tokenizer.h"

namespace rubato {
namespace {

using Json = nlohmann::ordered_json;
using Piece = SentencepieceModel::Piece;
using Kind = SentencepieceModel::Kind;
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

struct Merge {
  float score;
  size_t left, right;  // pieces
};

// The pairs that make a piece, those of larger scores first.
std::vector<Merge> merges_of(std::span<const Piece> pieces) {
  std::unordered_map<std::string_view, size_t> known;
  for (size_t id = 0; id < pieces.size(); ++id)
    if (pieces[id].kind == Kind::kNormal) known.emplace(pieces[id].text, id);
  std::vector<Merge> merges;
  for (const auto& [text, id] : known) {
    for (size_t cut = 1; cut < text.size(); ++cut) {
      const auto left = known.find(text.substr(0, cut)), right = known.find(text.substr(cut));
      if (left == known.end() || right == known.end()) continue;
      merges.push_back({pieces[id].score, left->second, right->second});
    }
  }
  std::ranges::sort(merges, [](const Merge& a, const Merge& b) {
    return std::tuple(-a.score, a.left, a.right) < std::tuple(-b.score, b.left, b.right);
  });
  return merges;
}

Json special_token(const Piece& piece, int32_t id) {
  return {{"id", id},        {"content", piece.text}, {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false},   {"special", true}};
}

Json bos_in_front(const std::string& bos) {
  const Json first = {{"SpecialToken", {{"id", bos}, {"type_id", 0}}}},
             second = {{"SpecialToken", {{"id", bos}, {"type_id", 1}}}},
             a = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
             b = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
  const Json specials = {
      {bos,
       {{"id", bos}, {"ids", Json::array({Tokenizer::kBos})}, {"tokens", Json::array({bos})}}}};
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({first, a})},
          {"pair", Json::array({first, a, second, b})},
          {"special_tokens", specials}};
}

Json bpe(std::span<const Piece> pieces) {
  Json vocabulary = Json::object(), merges = Json::array();
  // Appended without a look-up, which an ordered object makes by walking through it.
  auto& entries = vocabulary.get_ref<Json::object_t&>();
  for (size_t id = 0; id < pieces.size(); ++id) entries.emplace_back(pieces[id].text, id);
  for (const Merge& merge : merges_of(pieces)) {
    merges.push_back(Json::array({pieces[merge.left].text, pieces[merge.right].text}));
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", pieces[Tokenizer::kUnknown].text},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", true},
          {"byte_fallback", true},
          {"ignore_merges", false},
          {"vocab", std::move(vocabulary)},
          {"merges", std::move(merges)}};
}

}  // namespace

std::string tokenizer_json(std::span<const Piece> pieces) {
  const Json spaces_marked = {
      {"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpaceMark}};
  const Json marks_spaced = {
      {"type", "Replace"}, {"pattern", {{"String", kSpaceMark}}}, {"content", " "}};
  const Json decoder = {
      {"type", "Sequence"},
      {"decoders", Json::array({marks_spaced, {{"type", "ByteFallback"}}, {{"type", "Fuse"}}})}};
  Json specials = Json::array();
  for (const int32_t id : {Tokenizer::kUnknown, Tokenizer::kBos, Tokenizer::kEos})
    specials.push_back(special_token(pieces[static_cast<size_t>(id)], id));
  const Json json = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", std::move(specials)},
                     {"normalizer", spaces_marked},
                     {"pre_tokenizer", nullptr},
                     {"post_processor", bos_in_front(pieces[Tokenizer::kBos].text)},
                     {"decoder", decoder},
                     {"model", bpe(pieces)}};
  return json.dump(2) + "\n";
}

std::string tokenizer_config_json(std::span<const Piece> pieces, int64_t context_tokens) {
  const Json json = {{"tokenizer_class", "LlamaTokenizer"},
                     {"unk_token", pieces[Tokenizer::kUnknown].text},
                     {"bos_token", pieces[Tokenizer::kBos].text},
                     {"eos_token", pieces[Tokenizer::kEos].text},
                     {"add_bos_token", true},
                     {"add_eos_token", false},
                     {"add_prefix_space", false},
                     {"legacy", false},
                     {"clean_up_tokenization_spaces", false},
                     {"model_max_length", context_tokens}};
  return json.dump(2) + "\n";
}

}  // namespace rubato
