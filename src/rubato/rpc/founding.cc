#include "rubato/rpc/founding.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <set>

#include "rubato/rpc/reception.h"
#include "rubato/rpc/wire.h"

namespace rubato {
namespace {

// More than any model has; a layout is read before its sender has sent anything else.
constexpr int kMostTensors = 10'000;
constexpr int kMostDimensions = 8;
constexpr int64_t kMostParams = int64_t{1} << 40;
constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

Status wrong(std::string_view who, std::string_view what, std::string_view got,
             std::string_view want) {
  return absl::InvalidArgumentError(cat("[", who, "] ", what, ": got ", got, ", want ", want));
}

StatusOr<TensorRole> role_from_proto(v1::Tensor::Role role, const std::string& name) {
  switch (role) {
    case v1::Tensor::ROLE_MATRIX:
      return TensorRole::kMatrix;
    case v1::Tensor::ROLE_EMBEDDING:
      return TensorRole::kEmbedding;
    case v1::Tensor::ROLE_NORM:
      return TensorRole::kNorm;
    case v1::Tensor::ROLE_BIAS:
      return TensorRole::kBias;
    default:
      return wrong("layout", cat(name, ": role"), cat(static_cast<int>(role)),
                   "1 to 4: matrix, embedding, norm or bias");
  }
}

Status no_model_yet() {
  return absl::FailedPreconditionError(
      "[founding] got a call for a run that has no model yet, want its layout and parameters "
      "first; describe says so");
}

}  // namespace

StatusOr<Layout> layout_from_proto(const v1::Layout& message) {
  if (message.tensors_size() < 1 || message.tensors_size() > kMostTensors)
    return wrong("layout", "tensors", cat(message.tensors_size()), cat("1 to ", kMostTensors));
  Layout layout;
  std::set<std::string> names;
  for (const v1::Tensor& tensor : message.tensors()) {
    const std::string& name = tensor.name();
    RUBATO_RETURN_IF_ERROR(check_text("layout", "name", name));
    if (name.empty() || !names.insert(name).second)
      return wrong("layout", "name", cat("\"", name, "\" twice, or nothing"), "a name of its own");
    if (tensor.dtype() != v1::Tensor::DTYPE_F32)
      return wrong("layout", cat(name, ": dtype"), cat(static_cast<int>(tensor.dtype())), "1: F32");
    if (tensor.shape_size() > kMostDimensions)
      return wrong("layout", cat(name, ": dimensions"), cat(tensor.shape_size()),
                   cat("at most ", kMostDimensions));
    int64_t size = 1;
    for (const int64_t extent : tensor.shape()) {
      if (extent < 1 || __builtin_mul_overflow(size, extent, &size) || size > kMostParams)
        return wrong("layout", cat(name, ": a size"), cat(extent),
                     cat("1 or more, ", kMostParams, " in all"));
    }
    if (layout.size() + size > kMostParams)
      return wrong("layout", "parameters", cat("more than ", kMostParams), "fewer");
    RUBATO_ASSIGN_OR_RETURN(const TensorRole role, role_from_proto(tensor.role(), name));
    layout.add(name, {tensor.shape().begin(), tensor.shape().end()}, role);
  }
  RUBATO_RETURN_IF_ERROR(check_digest("layout", "digest", message.digest()));
  if (message.digest() == layout_digest(layout)) return layout;
  return wrong("layout", "digest", message.digest(), cat(layout_digest(layout), ", its own"));
}

// ---- an upload

Status Found::add(const Chunk& chunk) {
  RUBATO_RETURN_IF_ERROR(check_chunk(chunk, offset_, bytes_));
  if (chunk.bytes() % kFloatBytes != 0)
    return wrong("founding", "a chunk", cat(chunk.bytes(), " bytes"), "whole floats of 4 bytes");
  for (size_t at = 0; at < chunk.data.size(); at += sizeof(float)) {
    float value = 0;
    std::memcpy(&value, chunk.data.data() + at, sizeof value);
    if (!std::isfinite(value)) return wrong("founding", "a parameter", cat(value), "finite ones");
  }
  RUBATO_RETURN_IF_ERROR(writer_.append(chunk.data));
  digester_.update(chunk.data);
  offset_ += chunk.bytes();
  return absl::OkStatus();
}

StatusOr<v1::FoundReply> Found::finish() {
  if (offset_ != bytes_) {
    return absl::DataLossError(
        cat("[founding] got ", offset_, " of ", bytes_, " bytes, want all; begin anew"));
  }
  if (digester_.hex() != digest_) {
    return absl::DataLossError(cat("[founding] got parameters of digest ", digester_.hex(),
                                   ", want the announced ", digest_, "; begin anew"));
  }
  RUBATO_RETURN_IF_ERROR(writer_.commit());
  done_();
  return v1::FoundReply();
}

// ---- the desk

StatusOr<v1::RunDescription> Founding::describe(const v1::DescribeRequest& request) const {
  RUBATO_ASSIGN_OR_RETURN(const int protocol, common_protocol(request.protocol()));
  RUBATO_RETURN_IF_ERROR(check_text("describe", "build", request.build()));
  v1::RunDescription description = config_.description;
  description.set_protocol(protocol);
  description.set_wants_model(true);
  return description;
}

StatusOr<std::unique_ptr<Found>> Founding::found(WorkerId worker, const v1::FoundHeader& header) {
  const std::string& recipe = config_.description.recipe_digest();
  if (header.recipe_digest() != recipe) {
    RUBATO_RETURN_IF_ERROR(check_text("founding", "recipe_digest", header.recipe_digest()));
    return absl::FailedPreconditionError(cat("[founding] recipe_digest: got ",
                                             header.recipe_digest(), ", want ", recipe,
                                             "; ask what the run is and begin anew"));
  }
  RUBATO_ASSIGN_OR_RETURN(const Layout layout, layout_from_proto(header.layout()));
  RUBATO_RETURN_IF_ERROR(check_digest("founding", "digest", header.digest()));
  const int64_t bytes = layout.size() * kFloatBytes;
  if (header.bytes() != bytes)
    return wrong("founding", "bytes", cat(header.bytes()), cat(bytes, ", 4 a parameter"));
  if (config_.check_room) RUBATO_RETURN_IF_ERROR(config_.check_room(layout));

  const std::lock_guard lock(mutex_);
  if (founded_) {
    return absl::AlreadyExistsError(
        "[founding] got a model for a run that has one, want none; ask what the run is");
  }
  if (!turn_.expired()) {
    return absl::UnavailableError(
        "[founding] got a model while another worker sends its own, want one at a time; ask what "
        "the run is and try again");
  }
  const auto turn = std::make_shared<const int>(0);
  turn_ = turn;
  RUBATO_ASSIGN_OR_RETURN(ModelFileWriter writer,
                          ModelFileWriter::create(files_, config_.directory, layout));
  config_.note({.event = "founding",
                .text = cat("worker ", worker, " sends the run's model: ", layout.size(),
                            " parameters in ", layout.tensors().size(), " tensors"),
                .facts = {{"worker", worker.value()}, {"parameters", layout.size()}}});
  const auto done = [this, worker] {
    config_.note({.event = "founded",
                  .text = cat("the run begins with the model of worker ", worker),
                  .facts = {{"worker", worker.value()}}});
    const std::lock_guard done_lock(mutex_);
    founded_ = true;
    changed_.notify_all();
  };
  return std::unique_ptr<Found>(new Found(std::move(writer), header.digest(), bytes, done, turn));
}

StatusOr<std::unique_ptr<Session>> Founding::attend(WorkerId, const v1::Hello&) {
  return no_model_yet();
}
StatusOr<Fetch> Founding::fetch(WorkerId, const v1::FetchRequest&) const { return no_model_yet(); }
StatusOr<v1::PushOffsetReply> Founding::push_offset(WorkerId, const v1::PushOffsetRequest&) const {
  return no_model_yet();
}
StatusOr<std::unique_ptr<Push>> Founding::push(WorkerId, const v1::DeltaHeader&) {
  return no_model_yet();
}

bool Founding::wait(Nanos timeout) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::nanoseconds(timeout), [this] { return founded_; });
}

}  // namespace rubato
