// admission.json reads as it was written; what does not fit is refused with its reason.
#include "rubato/rpc/admission_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace rubato {
namespace {

using ::testing::HasSubstr;

AdmissionTable sample() {
  AdmissionTable table;
  table.next_invitation = 3;
  table.next_worker = 2;
  const std::string salt(32, '5'), hash(64, 'a');
  table.invitations = {{0, "first", 100, 200, salt, hash, WorkerId(0)},
                       {2, "", 100, 200, salt, hash}};
  table.workers = {
      {WorkerId(0), "first", 150, std::string(64, 'b'), false, {{"0c", 300}, {"0d", 400}}, hash},
      {WorkerId(1), "", 160, std::string(64, 'c'), true, {}}};
  return table;
}

TEST(AdmissionTable, ReadsAsItWasWritten) {
  const std::string text = encode_admission(sample());
  const auto again = parse_admission("file", text);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, sample());
  EXPECT_EQ(encode_admission(*again), text);
  EXPECT_EQ(*parse_admission("file", encode_admission({})), AdmissionTable());
  EXPECT_EQ(again->find(WorkerId(1))->key_digest, std::string(64, 'c'));
  EXPECT_EQ(again->find(WorkerId(2)), nullptr);
  EXPECT_EQ(again->find_key(std::string(64, 'b'))->id, WorkerId(0));
}

TEST(AdmissionTable, AnotherVersionIsRefusedByName) {
  nlohmann::json root = nlohmann::json::parse(encode_admission(sample()));
  root["format_version"] = 2;
  const auto table = parse_admission("file", root.dump());
  EXPECT_TRUE(absl::IsFailedPrecondition(table.status())) << table.status();
  EXPECT_EQ(table.status().message(), "[admission] file: got format 2, want 1");
}

TEST(AdmissionTable, WhatDoesNotFitIsRefused) {
  const auto refused = [](auto change, std::string_view got) {
    nlohmann::json root = nlohmann::json::parse(encode_admission(sample()));
    change(root);
    const auto table = parse_admission("file", root.dump());
    EXPECT_TRUE(absl::IsDataLoss(table.status())) << table.status();
    EXPECT_THAT(std::string(table.status().message()), HasSubstr(std::string(got)));
  };
  using nlohmann::json;
  refused([](json& root) { root["format"] = "other"; }, "does not say format rubato-admission");
  refused([](json& root) { root.erase("workers"); }, "does not read");
  refused([](json& root) { root["workers"] = 3; }, "workers that are no list");
  refused([](json& root) { root["next_worker"] = 1; }, "not in the order of their ids");
  refused([](json& root) { root["next_worker"] = -1; }, "next_worker that is no natural number");
  refused([](json& root) { root["next_worker"] = 2.5; }, "next_worker that is no natural number");
  refused([](json& root) { std::swap(root["workers"][0], root["workers"][1]); },
          "not in the order");
  refused([](json& root) { root["workers"][1]["key_digest"] = std::string(64, 'b'); },
          "two workers of one key");
  refused([](json& root) { root["workers"][0]["revoked"] = 1; }, "does not read");
  refused([](json& root) { root["workers"][0]["label"] = "a\nb"; }, "a label that is too long");
  refused([](json& root) { root["workers"][0]["certificates"][0]["serial"] = "abc"; },
          "a serial that is not 1 to 20 bytes");
  refused([](json& root) { root["workers"][0]["certificates"][0]["serial"] = "XY"; },
          "serial that is not 2 hexadecimal");
  refused([](json& root) { root["invitations"][1]["id"] = 0; }, "not in the order of their ids");
  refused([](json& root) { root["invitations"][1]["used_by"] = 7; }, "used by nobody there");
  refused([](json& root) { root["invitations"][1]["salt"] = "00"; },
          "salt that is not 32 hexadecimal digits");
  refused([](json& root) { root["more"] = json::parse("[[[[[[[]]]]]]]"); }, "does not say format");
  EXPECT_TRUE(absl::IsDataLoss(parse_admission("file", "").status()));
  EXPECT_TRUE(absl::IsDataLoss(parse_admission("file", "[]").status()));
}

TEST(AdmissionTable, LabelsAreOneLineOfText) {
  EXPECT_TRUE(is_label(""));
  EXPECT_TRUE(is_label("Zoë's laptop"));
  EXPECT_FALSE(is_label(std::string(81, 'a')));
  EXPECT_FALSE(is_label("a\tb"));
  EXPECT_FALSE(is_label("\xc3"));
}

}  // namespace
}  // namespace rubato
