#include "rubato/base/state_walk.h"

#include <gtest/gtest.h>

namespace rubato {
namespace {

struct Thing {
  std::vector<float> plane;
  int64_t count = 0;
  double scale = 0;
  std::string name;
  void walk_state(StateWalk& walk) {
    walk.plane("plane", plane);
    walk.counter("count", count);
    walk.scalar("scale", scale);
    walk.record("name", name);
  }
};

TEST(StateWalk, WhatIsSavedIsRestored) {
  Thing thing{{1, 2, 3}, 4, 0.5, "words"};
  StateImage image;
  StateSaver saver(image, "thing.");
  thing.walk_state(saver);
  Thing copy{{0, 0, 0}, 0, 0, ""};
  StateRestorer restorer(image, "thing.");
  copy.walk_state(restorer);
  ASSERT_TRUE(restorer.status().ok()) << restorer.status();
  EXPECT_EQ(copy.plane, thing.plane);
  EXPECT_EQ(copy.count, 4);
  EXPECT_EQ(copy.scale, 0.5);
  EXPECT_EQ(copy.name, "words");
}

TEST(StateWalk, AnotherSizeIsAnError) {
  Thing thing{{1, 2, 3}, 4, 0.5, "words"};
  StateImage image;
  StateSaver saver(image);
  thing.walk_state(saver);
  Thing smaller{{0}, 0, 0, ""};
  StateRestorer restorer(image);
  smaller.walk_state(restorer);
  EXPECT_EQ(restorer.status().message(), "[state] plane: got 12 bytes, want 4");
}

}  // namespace
}  // namespace rubato
