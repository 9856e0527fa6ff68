// PEM: DER between BEGIN and END lines, in base64.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rubato/base/status.h"

namespace rubato {

/// The DER of the one block of that label ("CERTIFICATE") that `pem` consists of; spaces around it
/// are passed over. InvalidArgument `[x509] WHO: got X, want Y` when there is anything else, when
/// it is encrypted, or above 64 KiB.
StatusOr<std::string> pem_to_der(std::string_view who, std::string_view label,
                                 std::string_view pem);
struct PemBlock {
  std::string label, der;
  bool is_encrypted = false;
};
/// All blocks in a text of up to 1 MiB, at least one; what stands between them is passed over.
/// InvalidArgument as above.
StatusOr<std::vector<PemBlock>> pem_blocks(std::string_view who, std::string_view text);
/// The DER is not empty.
std::string der_to_pem(std::string_view label, std::string_view der);

}  // namespace rubato
