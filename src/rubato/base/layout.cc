#include "rubato/base/layout.h"

#include "rubato/base/status.h"

namespace rubato {

void Layout::add(std::string name, std::vector<int64_t> shape, TensorRole role) {
  RUBATO_CHECK(find(name) == nullptr, "tensor ", name, " is already in the layout");
  int64_t size = 1;
  for (int64_t extent : shape) size *= extent;
  tensors_.push_back({std::move(name), std::move(shape), role, size_, size});
  size_ += size;
}

const TensorSpec* Layout::find(const std::string& name) const {
  for (const TensorSpec& tensor : tensors_) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

std::string Layout::describe() const {
  std::string text;
  for (const TensorSpec& tensor : tensors_) {
    text += cat(tensor.name, " [", join(tensor.shape, ","), "]\n");
  }
  return text;
}

}  // namespace rubato
