// The kernels under a chosen instruction set, for tests: every set that this processor has must be
// as right as the fastest one. oneDNN's own choice is not touched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <hwy/targets.h>

namespace rubato {

/// AVX-512, AVX2 and the portable one (targets.h), as far as this processor has them.
inline std::vector<int64_t> instruction_sets() {
  std::vector<int64_t> found;
  for (int64_t target : {int64_t{HWY_AVX3}, int64_t{HWY_AVX2}, int64_t{HWY_STATIC_TARGET}}) {
    if ((hwy::SupportedTargets() & target) != 0) found.push_back(target);
  }
  return found;
}

inline std::string instruction_set_name(int64_t target) { return hwy::TargetName(target); }

/// While one lives, the kernels use this set.
class InstructionSet {
 public:
  explicit InstructionSet(int64_t target) { choose(target); }
  ~InstructionSet() { choose(0); }
  InstructionSet(const InstructionSet&) = delete;
  InstructionSet& operator=(const InstructionSet&) = delete;

 private:
  static void choose(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

/// Runs each test once per instruction set.
class OnEveryInstructionSet : public ::testing::TestWithParam<int64_t> {
 private:
  InstructionSet set_{GetParam()};
};

}  // namespace rubato
