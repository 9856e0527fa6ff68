// The header of a safetensors file, written and read. Exceptions of the JSON library end here.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <set>

#include <nlohmann/json.hpp>

#include "rubato/store/safetensors.h"

namespace rubato {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr int64_t kLengthBytes = 8;
/// The limit of the format's own reader: beyond it a header is a mistake or an attack.
constexpr int64_t kMaxHeaderBytes = 100'000'000;
/// The data starts at a multiple of this, so that mapped doubles are aligned.
constexpr int64_t kAlignment = 8;
constexpr int kMaxDepth = 3;  // object of objects of arrays
constexpr char kMetadataKey[] = "__metadata__";

struct TypeRow {
  TensorType type;
  std::string_view name;
  int64_t bytes;
};
constexpr std::array<TypeRow, 10> kTypes{{{TensorType::kF64, "F64", 8},
                                          {TensorType::kF32, "F32", 4},
                                          {TensorType::kF16, "F16", 2},
                                          {TensorType::kBf16, "BF16", 2},
                                          {TensorType::kI64, "I64", 8},
                                          {TensorType::kI32, "I32", 4},
                                          {TensorType::kI16, "I16", 2},
                                          {TensorType::kI8, "I8", 1},
                                          {TensorType::kU8, "U8", 1},
                                          {TensorType::kBool, "BOOL", 1}}};

using nlohmann::json;

/// A number of the header that may be an offset or an extent.
std::optional<int64_t> natural(const json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const uint64_t number = value.get<uint64_t>();
  if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return static_cast<int64_t>(number);
}

/// Bytes of a tensor, or nothing when they do not fit into 63 bits or an extent is negative.
std::optional<int64_t> bytes_of(TensorType type, const std::vector<int64_t>& shape) {
  int64_t bytes = type_bytes(type);
  for (const int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, extent, &bytes)) return std::nullopt;
  }
  return bytes;
}

/// The words of a name in a message: short, and one line whatever is in it.
std::string in_quotes(std::string_view name) {
  std::string text = "\"";
  for (const char c : name.substr(0, 80)) text += static_cast<unsigned char>(c) < 32 ? '?' : c;
  return text + (name.size() > 80 ? "..\"" : "\"");
}

/// Parses strictly: nothing when it is no JSON, too deep, or an object has a key twice (which the
/// library would take silently).
std::optional<json> parse_strictly(std::string_view text, std::string& problem) {
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key) {
      const std::string& key = value.get_ref<const std::string&>();
      if (!keys.back().insert(key).second) problem = cat("the name ", in_quotes(key), " twice");
    }
    if (depth > kMaxDepth) problem = "JSON nested too deep";
    return problem.empty();
  };
  json parsed = json::parse(text, watch, /*allow_exceptions=*/false);
  if (!problem.empty()) return std::nullopt;
  if (!parsed.is_object()) {
    problem = "a header that is no JSON object";
    return std::nullopt;
  }
  return parsed;
}

/// One entry of the header; `problem` says why there is none.
std::optional<TensorInfo> parse_tensor(const std::string& name, const json& entry,
                                       std::string& problem) {
  const auto fail = [&](std::string_view what) {
    problem = cat("tensor ", in_quotes(name), " with ", what);
    return std::nullopt;
  };
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") ||
      !entry.contains("shape") || !entry.contains("data_offsets"))
    return fail("other parts than dtype, shape and data_offsets");
  TensorInfo tensor{.name = name, .type = {}, .shape = {}, .offset = 0, .bytes = 0};
  const json &type = entry["dtype"], &shape = entry["shape"], &range = entry["data_offsets"];
  if (!type.is_string()) return fail("a dtype that is no text");
  const auto row = std::ranges::find(kTypes, type.get_ref<const std::string&>(), &TypeRow::name);
  if (row == kTypes.end())
    return fail(cat("unknown dtype ", in_quotes(type.get_ref<const std::string&>())));
  tensor.type = row->type;
  if (!shape.is_array()) return fail("a shape that is no array");
  for (const json& extent : shape) {
    const auto number = natural(extent);
    if (!number) return fail("an extent that is no natural number");
    tensor.shape.push_back(*number);
  }
  if (!range.is_array() || range.size() != 2 || !natural(range[0]) || !natural(range[1]))
    return fail("data_offsets that are not two natural numbers");
  tensor.offset = *natural(range[0]);
  tensor.bytes = *natural(range[1]) - tensor.offset;
  if (tensor.bytes < 0) return fail("data_offsets that end before they begin");
  const auto want = bytes_of(tensor.type, tensor.shape);
  if (!want) return fail("a shape too large to exist");
  if (*want != tensor.bytes)
    return fail(cat(tensor.bytes, " bytes of data where its shape has ", *want));
  return tensor;
}

/// The tensors in order of their data; they must cover [0, data_bytes) without gap or overlap.
std::string check_coverage(SafetensorsHeader& header) {
  auto& tensors = header.tensors;
  std::ranges::stable_sort(tensors, [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  int64_t end = 0;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.offset != end)
      return cat("tensor ", in_quotes(tensor.name), " at byte ", tensor.offset,
                 " of the data where ", end, " is next");
    end += tensor.bytes;  // no overflow: offsets are 63 bits and each equals the last end
  }
  if (end != header.data_bytes)
    return cat(header.data_bytes, " bytes of data where the tensors have ", end,
               end > header.data_bytes ? " (truncated)" : "");
  return "";
}

}  // namespace

std::string_view type_name(TensorType type) {
  return std::ranges::find(kTypes, type, &TypeRow::type)->name;
}

int64_t type_bytes(TensorType type) {
  return std::ranges::find(kTypes, type, &TypeRow::type)->bytes;
}

TensorInfo tensor_info(std::string name, TensorType type, std::vector<int64_t> shape) {
  return {
      .name = std::move(name), .type = type, .shape = std::move(shape), .offset = 0, .bytes = 0};
}

StatusOr<std::string> encode_safetensors_header(SafetensorsHeader& header) {
  // Ordered, so that names stand in the order of their data.
  nlohmann::ordered_json root = nlohmann::ordered_json::object();
  if (!header.metadata.empty()) root[kMetadataKey] = header.metadata;
  std::set<std::string_view> names{kMetadataKey};
  header.data_bytes = 0;
  for (TensorInfo& tensor : header.tensors) {
    const auto bytes = bytes_of(tensor.type, tensor.shape);
    tensor.offset = header.data_bytes;
    if (!bytes || __builtin_add_overflow(tensor.offset, *bytes, &header.data_bytes))
      return absl::InvalidArgumentError(cat("[safetensors] got ", in_quotes(tensor.name), " [",
                                            join(tensor.shape, ","), "], want a possible shape"));
    if (!names.insert(tensor.name).second)
      return absl::InvalidArgumentError(
          cat("[safetensors] got ", in_quotes(tensor.name), " twice, want every name once"));
    tensor.bytes = *bytes;
    root[tensor.name] = {{"dtype", std::string(type_name(tensor.type))},
                         {"shape", tensor.shape},
                         {"data_offsets", {tensor.offset, header.data_bytes}}};
  }
  std::string text;
  try {
    text = root.dump();
  } catch (const nlohmann::ordered_json::exception& error) {
    return absl::InvalidArgumentError(
        cat("[safetensors] got names or metadata that are not UTF-8: ", error.what()));
  }
  while ((static_cast<int64_t>(text.size()) + kLengthBytes) % kAlignment != 0) text += ' ';
  const uint64_t length = text.size();
  if (length > static_cast<uint64_t>(kMaxHeaderBytes))
    return absl::InvalidArgumentError(
        cat("[safetensors] got a header of ", length, " bytes, want <= ", kMaxHeaderBytes));
  header.data_begin = static_cast<int64_t>(length) + kLengthBytes;
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

StatusOr<SafetensorsHeader> parse_safetensors(std::string_view who, std::string_view file_bytes) {
  const auto damaged = [&](std::string_view what) {
    return absl::DataLossError(cat("[safetensors] ", who, ": got ", what,
                                   ", want a safetensors file; it is damaged or none"));
  };
  const int64_t size = static_cast<int64_t>(file_bytes.size());
  if (size < kLengthBytes) return damaged(cat("a file of ", size, " bytes"));
  uint64_t length = 0;
  std::memcpy(&length, file_bytes.data(), sizeof length);
  if (length > static_cast<uint64_t>(std::min(kMaxHeaderBytes, size - kLengthBytes)))
    return damaged(cat("a header of ", length, " bytes in a file of ", size));
  const std::string_view text = file_bytes.substr(kLengthBytes, length);
  if (!text.starts_with('{')) return damaged("a header that does not begin with {");

  std::string problem;
  const std::optional<json> root = parse_strictly(text, problem);
  if (!root) return damaged(problem);
  SafetensorsHeader header;
  header.data_begin = kLengthBytes + static_cast<int64_t>(length);
  header.data_bytes = size - header.data_begin;
  for (const auto& [name, entry] : root->items()) {
    if (name == kMetadataKey) {
      if (!entry.is_object()) return damaged("metadata that is no object");
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string())
          return damaged(cat("metadata ", in_quotes(key), " that is no text"));
        header.metadata[key] = value.get<std::string>();
      }
      continue;
    }
    std::optional<TensorInfo> tensor = parse_tensor(name, entry, problem);
    if (!tensor) return damaged(problem);
    header.tensors.push_back(*std::move(tensor));
  }
  problem = check_coverage(header);
  if (!problem.empty()) return damaged(problem);
  return header;
}

}  // namespace rubato
