#include "rubato/rpc/mailbox.h"

#include <thread>

#include <gtest/gtest.h>

namespace rubato {
namespace {

v1::ToWorker message(int64_t number) {
  v1::ToWorker out;
  out.mutable_heartbeat_ack()->set_sent_ns(number);
  return out;
}

int64_t number_of(const std::optional<v1::ToWorker>& message) {
  return message ? message->heartbeat_ack().sent_ns() : -1;
}

TEST(Mailbox, GivesMessagesInTheirOrder) {
  Mailbox box;
  for (int64_t i = 0; i < 5; ++i) box.put(message(i));
  for (int64_t i = 0; i < 5; ++i) EXPECT_EQ(number_of(box.take()), i);
}

TEST(Mailbox, WhatWasInItWhenItClosedCanStillBeTaken) {
  Mailbox box;
  box.put(message(1));
  box.close();
  box.put(message(2));
  EXPECT_TRUE(box.closed());
  EXPECT_EQ(number_of(box.take()), 1);
  EXPECT_FALSE(box.take().has_value());
  EXPECT_FALSE(box.take().has_value());
}

TEST(Mailbox, ClosingWakesWhoeverWaits) {
  Mailbox box;
  std::thread taker([&] { EXPECT_FALSE(box.take().has_value()); });
  box.close();
  taker.join();
}

TEST(Mailbox, AWaitingTakerGetsWhatComes) {
  Mailbox box;
  std::thread taker([&] {
    for (int64_t i = 0; i < 1000; ++i) EXPECT_EQ(number_of(box.take()), i);
  });
  for (int64_t i = 0; i < 1000; ++i) box.put(message(i));
  taker.join();
}

TEST(Mailbox, OneThatNobodyEmptiesCloses) {
  Mailbox box;
  for (size_t i = 0; i < Mailbox::kMostMessages; ++i) box.put(message(1));
  EXPECT_FALSE(box.closed());
  box.put(message(1));
  EXPECT_TRUE(box.closed());
  EXPECT_FALSE(box.take().has_value()) << "its memory is given back";
}

}  // namespace
}  // namespace rubato
