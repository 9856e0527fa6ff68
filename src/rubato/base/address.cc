#include "rubato/base/address.h"

#include <algorithm>
#include <charconv>

#include <arpa/inet.h>

#include "rubato/base/one_line.h"

namespace rubato {
namespace {

Status refused(std::string_view text, std::string_view got) {
  return absl::InvalidArgumentError(cat("[address] ", shortened(one_line(text)), ": got ", got,
                                        ", want HOST:PORT or [IPV6]:PORT"));
}

}  // namespace

bool is_ipv6(std::string_view host) {
  // The system's reader stops at a NUL and knows no end but that.
  if (host.find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos) return false;
  in6_addr parsed;
  return inet_pton(AF_INET6, std::string(host).c_str(), &parsed) == 1;
}

bool is_host(std::string_view text) {
  constexpr size_t kLongest = 253;  // of a name in DNS
  if (text.empty() || text.size() > kLongest) return false;
  const auto lower = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  const auto of_name = [&](char c) { return lower(c) || c == '.' || c == '-' || c == '_'; };
  if (std::ranges::all_of(text, of_name)) return lower(text.front());
  return std::ranges::none_of(text, [](char c) { return c >= 'A' && c <= 'Z'; }) && is_ipv6(text);
}

StatusOr<Address> parse_address(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return refused(text, "no port");
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  // `::1` without brackets could be meant as an address without a port.
  if (!bracketed && host.find(':') != std::string_view::npos)
    return refused(text, "several colons outside brackets");

  Address address;
  address.host = std::string(host);
  for (char& c : address.host) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  if (bracketed != is_ipv6(address.host) || !is_host(address.host))
    return refused(text, bracketed ? "brackets without an IPv6 address" : "no host");
  const auto [end, error] = std::from_chars(port.begin(), port.end(), address.port);
  const bool plain = error == std::errc() && end == port.end() && port.front() != '0';
  if (!plain || address.port < 1 || address.port > 65535)
    return refused(text, "a port that is not 1 .. 65535");
  return address;
}

std::string to_text(const Address& address) {
  return is_ipv6(address.host) ? cat("[", address.host, "]:", address.port)
                               : cat(address.host, ":", address.port);
}

}  // namespace rubato
