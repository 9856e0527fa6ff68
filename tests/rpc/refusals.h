// What every refusal of a peer is: the right code, and one line that says who speaks.
#pragma once

#include <algorithm>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/base/status.h"

namespace rubato {

inline void expect_refusal(const Status& status, absl::StatusCode code, const std::string& words) {
  EXPECT_EQ(status.code(), code) << status;
  const std::string message(status.message());
  EXPECT_THAT(message, ::testing::HasSubstr(words));
  EXPECT_THAT(message, ::testing::StartsWith("["));
  EXPECT_LE(message.size(), 600u);
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20; };
  EXPECT_TRUE(std::ranges::none_of(message, control)) << message;
}

}  // namespace rubato
