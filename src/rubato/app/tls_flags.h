// --tls-cert, --tls-key, --tls-ca: the same three at both ends.
#pragma once

#include "rubato/rpc/given_identity.h"

namespace CLI {
class App;
}

namespace rubato {

/// `insecure` is the name of the flag that excludes them; it has been added before.
void add_tls_flags(CLI::App& command, GivenFiles& files, const char* insecure);

}  // namespace rubato
