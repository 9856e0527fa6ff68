#include "rubato/store/state_file.h"

#include <cstring>

namespace rubato {
namespace {

template <class T>
std::string bytes_of(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class... Lists>
std::vector<TensorInfo> concatenate(const Lists&... lists) {
  std::vector<TensorInfo> all;
  (all.insert(all.end(), lists.begin(), lists.end()), ...);
  return all;
}

Status write_all(SafetensorsWriter& writer, const std::vector<TensorInfo>& infos,
                 const std::vector<std::string>& data) {
  for (size_t i = 0; i < infos.size(); ++i)
    RUBATO_RETURN_IF_ERROR(writer.write(infos[i].name, data[i]));
  return absl::OkStatus();
}

}  // namespace

void StateOutline::plane(std::string_view name, std::span<float> values) {
  plane_infos_.push_back(
      tensor_info(std::string(name), TensorType::kF32, {static_cast<int64_t>(values.size())}));
}
void StateOutline::counter(std::string_view name, int64_t& value) {
  value_infos_.push_back(tensor_info(std::string(name), TensorType::kI64, {}));
  values_.push_back(bytes_of(value));
}
void StateOutline::scalar(std::string_view name, double& value) {
  value_infos_.push_back(tensor_info(std::string(name), TensorType::kF64, {}));
  values_.push_back(bytes_of(value));
}
void StateOutline::record(std::string_view name, std::string& bytes) {
  record_infos_.push_back(
      tensor_info(std::string(name), TensorType::kU8, {static_cast<int64_t>(bytes.size())}));
  records_.push_back(bytes);
}

std::vector<TensorInfo> StateOutline::tensors() const {
  return concatenate(value_infos_, plane_infos_, record_infos_);
}

Status StateOutline::write_values(SafetensorsWriter& writer) const {
  return write_all(writer, value_infos_, values_);
}

Status StateOutline::write_records(SafetensorsWriter& writer) const {
  return write_all(writer, record_infos_, records_);
}

void PlaneWriter::plane(std::string_view name, std::span<float> values) {
  if (status_.ok()) status_ = writer_.write(name, values);
}

const char* StateFileRestorer::get(std::string_view name, TensorType type, int64_t want_bytes) {
  const TensorInfo* tensor = reader_.find(name);
  const auto fail = [&](std::string_view got, std::string_view want) {
    status_.Update(absl::FailedPreconditionError(cat("[checkpoint] ", reader_.path(), ": got ", got,
                                                     " for ", name, ", want ", want,
                                                     "; it is of a run with another state")));
    return nullptr;
  };
  if (tensor == nullptr) return fail("nothing", type_name(type));
  const std::string got = cat(type_name(tensor->type), " with ", tensor->bytes, " bytes");
  if (tensor->type != type) return fail(got, type_name(type));
  if (want_bytes >= 0 && tensor->bytes != want_bytes)
    return fail(got, cat(type_name(type), " with ", want_bytes, " bytes"));
  RUBATO_CHECK(read_.emplace(name, tensor).second, "two parts of one state are called ", name);
  return reader_.data(*tensor).data();
}

void StateFileRestorer::plane(std::string_view name, std::span<float> values) {
  const int64_t want = static_cast<int64_t>(values.size_bytes());
  const char* data = get(name, TensorType::kF32, want);
  if (data != nullptr && want > 0) std::memcpy(values.data(), data, values.size_bytes());
}
void StateFileRestorer::counter(std::string_view name, int64_t& value) {
  if (const char* data = get(name, TensorType::kI64, sizeof value))
    std::memcpy(&value, data, sizeof value);
}
void StateFileRestorer::scalar(std::string_view name, double& value) {
  if (const char* data = get(name, TensorType::kF64, sizeof value))
    std::memcpy(&value, data, sizeof value);
}
void StateFileRestorer::record(std::string_view name, std::string& bytes) {
  if (const char* data = get(name, TensorType::kU8, -1))
    bytes.assign(data, static_cast<size_t>(read_.find(name)->second->bytes));
}

Status StateFileRestorer::finish() const {
  if (!status_.ok()) return status_;
  for (const TensorInfo& tensor : reader_.tensors()) {
    if (!read_.contains(tensor.name))
      return absl::FailedPreconditionError(
          cat("[checkpoint] ", reader_.path(), ": got ", tensor.name,
              ", want no such part; it is of a run with another state"));
  }
  return absl::OkStatus();
}

}  // namespace rubato
