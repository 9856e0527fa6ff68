// Where a program listens: a host and a port. Hosts are names, IPv4 or IPv6 addresses, in lower
// case; IPv6 stands in brackets for people and for gRPC.
#pragma once

#include <string>
#include <string_view>

#include "rubato/base/status.h"

namespace rubato {

struct Address {
  std::string host;  // no brackets
  int port = 0;      // 1 .. 65535
  friend bool operator==(const Address&, const Address&) = default;
};

/// `HOST:PORT` or `[IPV6]:PORT`, as people write it. InvalidArgument in one line; the host is
/// checked for what it may consist of, not looked up.
StatusOr<Address> parse_address(std::string_view text);

/// A name of letters, digits, '.', '-' and '_', or an IPv4 or IPv6 address without a zone; in lower
/// case and at most 253 characters.
bool is_host(std::string_view text);
bool is_ipv6(std::string_view host);

/// `host:port` or `[ipv6]:port`.
std::string to_text(const Address& address);

}  // namespace rubato
