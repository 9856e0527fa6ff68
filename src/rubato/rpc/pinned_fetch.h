// A worker's first contact: it knows an address and the fingerprint of an authority from its join
// string, and asks the machine there for the certificate behind that fingerprint.
//
// A TLS connection is opened that trusts nobody and says nothing: from the chain that the peer
// presents, the authority's certificate is picked by its SHA-256, and it has to have signed the
// peer's own for kCoordinatorName. Everything else then happens on connections that have this
// certificate as their only root.
//
// Blocks its thread. The deadline is a timer of the system: no clock is read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "rubato/base/address.h"
#include "rubato/base/status.h"

namespace rubato {

/// The authority's certificate as PEM. `timeout_ms` holds for each address that the host's name
/// stands for, from connecting to the end of the handshake; looking the name up takes what the
/// system's resolver takes. PermissionDenied `[join] ..` with both fingerprints when it is another
/// authority, or with the reason when the peer's certificate is not of this one or not valid now;
/// Unavailable with the address when nobody answers there in time, or not in TLS.
StatusOr<std::string> fetch_pinned_authority(const Address& address, std::string_view fingerprint,
                                             int64_t timeout_ms, int64_t now_unix_s);

}  // namespace rubato
