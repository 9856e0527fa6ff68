// Addresses as people write them, and what cannot be one.
#include "rubato/base/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rubato {
namespace {

TEST(Address, IsReadAndWritten) {
  for (const auto& [text, host, port] :
       {std::tuple{"localhost:1", "localhost", 1},
        {"Train-1.Example.org:65535", "train-1.example.org", 65535},
        {"10.0.0.7:7070", "10.0.0.7", 7070},
        {"[::1]:7070", "::1", 7070},
        {"[2001:DB8::ffff:1.2.3.4]:80", "2001:db8::ffff:1.2.3.4", 80},
        {"my_service:80", "my_service", 80}}) {
    const auto address = parse_address(text);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(*address, (Address{host, port}));
    EXPECT_EQ(*parse_address(to_text(*address)), *address);
  }
  EXPECT_EQ(to_text({"::1", 7070}), "[::1]:7070");
  EXPECT_EQ(to_text({"host", 7070}), "host:7070");
}

TEST(Address, WhatIsNoneIsRefused) {
  using namespace std::string_view_literals;
  for (const std::string_view text : {""sv,
                                      "host"sv,
                                      "host:"sv,
                                      "host:0"sv,
                                      "host:65536"sv,
                                      "host:080"sv,
                                      "host:80x"sv,
                                      "host:+80"sv,
                                      ":80"sv,
                                      "::1:80"sv,
                                      "[::1]"sv,
                                      "[host]:80"sv,
                                      "[]:80"sv,
                                      "-o:80"sv,
                                      "a b:80"sv,
                                      "a/b:80"sv,
                                      "[fe80::1%eth0]:80"sv,
                                      "[::1\0x]:80"sv,
                                      "ho\0st:80"sv,
                                      "a,b:80"sv,
                                      "host:99999999999999999999"sv}) {
    const auto address = parse_address(text);
    EXPECT_TRUE(absl::IsInvalidArgument(address.status())) << text;
    EXPECT_THAT(std::string(address.status().message()),
                testing::HasSubstr(", want HOST:PORT or [IPV6]:PORT"));
  }
  EXPECT_FALSE(is_host(std::string(254, 'a')));
}

}  // namespace
}  // namespace rubato
