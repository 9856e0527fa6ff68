// A stream of bytes over gRPC and nothing else: no parsing, no checksums, no disk. What the
// exchange is measured against (rubato bench exchange).
#pragma once

#include <cstdint>
#include <memory>

#include "rubato/base/status.h"
#include "rubato/rpc/endpoints.h"

namespace rubato {

/// A listening server that swallows and spouts.
class BareServer {
 public:
  virtual ~BareServer() = default;
  virtual int port() const = 0;
};

/// Unavailable `[bench] ..` when the address cannot be listened at.
StatusOr<std::unique_ptr<BareServer>> listen_bare(const ServerConfig& config);

/// One connection to it. One thread.
class BareLink {
 public:
  virtual ~BareLink() = default;
  /// Returns when the server has them all.
  virtual Status upload(int64_t bytes) = 0;
  virtual Status download(int64_t bytes) = 0;
};

std::unique_ptr<BareLink> make_bare_link(const LinkConfig& config);

}  // namespace rubato
