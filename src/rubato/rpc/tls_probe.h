// One TLS handshake for what the peer shows in it, and nothing after it. Trusts nobody.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rubato/base/address.h"
#include "rubato/base/status.h"

namespace rubato {

/// The chain that the peer presents, as DER, its own certificate first. The terms of
/// fetch_pinned_authority: Unavailable when there is no peer that speaks TLS 1.2 or later;
/// HTTP/2 is offered, since a coordinator listens for nothing else.
StatusOr<std::vector<std::string>> probe_tls(const Address& address, int64_t timeout_ms);

}  // namespace rubato
