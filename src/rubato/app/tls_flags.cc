#include "rubato/app/tls_flags.h"

#include <CLI/CLI.hpp>

namespace rubato {

void add_tls_flags(CLI::App& command, GivenFiles& files, const char* insecure) {
  for (const auto& [flag, path, meaning] :
       {std::tuple("--tls-cert", &files.certificate,
                   "PEM of an existing PKI: own certificate, then those up to the authority"),
        std::tuple("--tls-key", &files.key, "its private key, PEM, not encrypted"),
        std::tuple("--tls-ca", &files.authority,
                   "PEM of the authorities that the other side's certificate is signed by")})
    command.add_option(flag, *path, meaning)->excludes(insecure);
}

}  // namespace rubato
